"""Ways of sampling that docs/GENERATION.md compares."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import note_lengths as tool
import pytest
import torch

from diffusion import generation
from diffusion.model.samplers import time_grid


def test_a_grid_that_ends_early() -> None:
    times = tool.ending(0.15)(12)
    usual = time_grid(12)
    assert times[-2:].tolist() == [0.15, 0]
    assert torch.equal(times[:-2], usual[: len(times) - 2])
    assert (times.diff() < 0).all()
    assert len(times) < len(usual)


def test_white_noise_meanwhile() -> None:
    noise, usual = torch.randn(2, 64), generation.colored
    with tool.white():
        assert generation.colored(noise, 1.1) is noise
    assert generation.colored is usual
    assert not torch.equal(generation.colored(noise, 1.1), noise)


class Stored:
    """Mono and stereo recordings of a label."""

    def __init__(self) -> None:
        self.clips = [
            SimpleNamespace(label="guitar", frames=frames, coded_channels=channels)
            for frames, channels in ((9, 2), (30, 1), (20, 2), (25, 1))
        ]

    def posterior(self, clip: Any, start: int, frames: int) -> tuple[torch.Tensor, None]:
        return torch.full((clip.coded_channels, 4, frames), float(clip.frames)), None


@pytest.mark.parametrize(("coded_channels", "found"), [(1, [30, 25, 30]), (2, [20, 20, 20])])
def test_windows_of_a_label_with_mono_and_stereo_recordings(
    coded_channels: int, found: list[int]
) -> None:
    stored: Any = Stored()
    z = tool.windows(stored, "guitar", 3, 16, coded_channels)
    assert z.shape == (3, coded_channels, 4, 16)
    assert z[:, 0, 0, 0].tolist() == found


@pytest.mark.parametrize("label", ["guitar", "harp"])
def test_no_window_is_long_enough(label: str) -> None:
    stored: Any = Stored()
    with pytest.raises(ValueError, match=f"no recording of '{label}' has 31 frames"):
        tool.windows(stored, label, 3, 31, None)
