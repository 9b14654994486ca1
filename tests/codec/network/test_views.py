"""The views of a waveform: levels, places of partials, and shapes."""

import math

import pytest
import torch

from codec.network.config import FRAME
from codec.network.views import (
    FLOOR,
    LONG_BINS,
    MEDIUM_BINS,
    MEDIUM_FRAMES,
    SHORT_BANDS,
    SHORT_FRAMES,
    WAVE_BINS,
    analyze,
)

RATE = 44100


def sine(hz: float, amplitude: float = 0.3, frames: int = 12) -> torch.Tensor:
    time = torch.arange(frames * FRAME, dtype=torch.float64) / RATE
    return (amplitude * torch.sin(2 * math.pi * hz * time)).float()[None]


def test_shapes() -> None:
    views = analyze(torch.randn(2, 5 * FRAME))
    assert views.long.shape == (2, 5, 1, LONG_BINS)
    assert views.medium.shape == views.medium_offset.shape == (2, 5, MEDIUM_FRAMES, MEDIUM_BINS)
    assert views.short.shape == (2, 5, SHORT_FRAMES, SHORT_BANDS)
    assert views.wave.shape == (2, 5, MEDIUM_FRAMES, WAVE_BINS, 2)


def test_white_noise_of_unit_variance_is_level_zero() -> None:
    torch.manual_seed(0)
    views = analyze(torch.randn(1, 200 * FRAME))
    for name in ("long", "medium", "short"):
        assert getattr(views, name).exp().mean() == pytest.approx(1.0, abs=0.03), name
    assert views.wave.square().sum(-1).mean() == pytest.approx(1.0, abs=0.15)


def test_digital_silence_is_the_floor() -> None:
    views = analyze(torch.zeros(1, 3 * FRAME))
    assert views.long.max() == pytest.approx(math.log(FLOOR))
    assert torch.isfinite(views.wave).all()
    assert (views.long_offset == 0).all()


@pytest.mark.parametrize("hz", [110.0, 440.0, 1000.3, 3000.7])
def test_offsets_say_where_in_its_bin_a_partial_is(hz: float) -> None:
    views = analyze(sine(hz))
    for log_power, offset, window in (
        (views.long, views.long_offset, 4096),
        (views.medium, views.medium_offset, 2048),
    ):
        bin_hz = RATE / window
        peak = int(log_power[0, 6, 0].argmax())
        found = (peak + 1 + float(offset[0, 6, 0, peak])) * bin_hz
        assert found == pytest.approx(hz, abs=0.02 * bin_hz)


def test_a_frame_is_its_own_place() -> None:
    """A click shows in the views of its frame, and in the short view in its quarter of it."""
    click = torch.zeros(1, 6 * FRAME)
    click[0, 3 * FRAME + 700] = 1.0  # in the second quarter of frame 3
    views = analyze(click)
    assert int(views.short[0].mean(-1).flatten().argmax()) == 3 * SHORT_FRAMES + 1
    assert int(views.long[0].mean(-1).flatten().argmax()) == 3
