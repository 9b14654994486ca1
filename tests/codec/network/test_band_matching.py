"""Bands come out at the level that is expected of them."""

from __future__ import annotations

import math

import pytest
import torch

from codec.network.band_matching import BandMatching
from codec.network.config import FRAME
from codec.network.views import FLOOR, SHORT_BANDS, analyze

FRAMES = 12
INNER = slice(8, -8)
"""Hops whose window lies inside the sound."""


def levels(waveform: torch.Tensor) -> torch.Tensor:
    return analyze(waveform).short.flatten(1, 2)


@pytest.fixture(scope="module")
def noise() -> torch.Tensor:
    return torch.randn(2, FRAMES * FRAME, generator=torch.Generator().manual_seed(0))


def test_what_has_its_levels_already_stays(noise: torch.Tensor) -> None:
    torch.testing.assert_close(BandMatching()(noise, levels(noise)), noise, rtol=0, atol=1e-3)


def test_noise_takes_the_levels_of_other_noise(noise: torch.Tensor) -> None:
    """Two draws differ by 2 dB and more in a band and hop; one is brought near to the other."""
    target = levels(noise[:1])
    other = noise[1:]
    apart = (levels(other) - target)[:, INNER].abs().mean()
    matched = (levels(BandMatching()(other, target)) - target)[:, INNER].abs().mean()
    assert apart > 0.5  # nats of power
    assert matched < apart / 2.5


@pytest.mark.parametrize("decibels", [-20.0, 8.0])
def test_a_tone_takes_the_level_of_its_band(decibels: float) -> None:
    time = torch.arange(FRAMES * FRAME, dtype=torch.float64) / 44100
    tone = 0.1 * torch.sin(2 * math.pi * 1000 * time).float()[None]
    target = levels(tone) + decibels * math.log(10) / 10
    matched = BandMatching()(tone, target)[:, 4 * FRAME : -4 * FRAME]
    expected = tone[:, 4 * FRAME : -4 * FRAME] * 10 ** (decibels / 20)
    torch.testing.assert_close(matched, expected, rtol=0, atol=2e-3)


def test_what_is_nearly_empty_is_not_blown_up(noise: torch.Tensor) -> None:
    loud = torch.full((1, FRAMES * FRAME // 512, SHORT_BANDS), 5.0)
    matched = BandMatching()(1e-3 * noise[:1], loud)
    assert matched.abs().max() < 1e-3 * noise[0].abs().max() * math.e * 1.5


def test_silence_stays_silence() -> None:
    silent = torch.zeros(1, FRAMES * FRAME)
    floor = torch.full((1, FRAMES * FRAME // 512, SHORT_BANDS), math.log(FLOOR))
    assert (BandMatching()(silent, floor) == 0).all()
    assert (BandMatching()(silent, floor + 20) == 0).all()


def test_a_hop_reaches_no_further_than_it_says(noise: torch.Tensor) -> None:
    matching = BandMatching()
    target = levels(noise[:1])
    changed = target.clone()
    hop = 24
    changed[:, hop] += 3
    difference = (matching(noise[:1], changed) - matching(noise[:1], target))[0].abs()
    touched = difference.view(-1, 512).amax(-1).nonzero().flatten()
    assert touched.min() >= hop - matching.reach
    assert touched.max() <= hop + matching.reach
