"""Ways of sampling that docs/GENERATION.md compares."""

from __future__ import annotations

import note_lengths as tool
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
