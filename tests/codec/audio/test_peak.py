"""Peaks of made sound are limited where they would clip, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from codec.audio import limited
from codec.audio.peak import MOST, true_peaks

RATE = 44100


def between_samples(peak: float, seconds: float = 1.0) -> np.ndarray:
    """A tone of a quarter of the rate whose samples miss its peaks by 3 dB: (2, time)."""
    time = np.arange(round(seconds * RATE))
    tone = peak * np.sin(np.pi / 2 * time + np.pi / 4) * np.hanning(len(time))
    return np.stack([0.1 * tone, tone]).astype(np.float32)


def test_peaks_are_those_of_the_wave() -> None:
    sound = between_samples(1.2)
    assert np.abs(sound).max() < 0.86
    assert true_peaks(sound).max() == pytest.approx(1.2, rel=0.01)


@pytest.mark.parametrize("peak", [0.95, 2.0, 30.0])
def test_nothing_is_beyond_full_scale(peak: float) -> None:
    sound = between_samples(peak)
    sound += peak * np.random.default_rng(0).standard_normal(sound.shape).astype(np.float32)
    quieter, decibels = limited(sound, RATE)
    assert quieter.dtype == np.float32
    assert true_peaks(quieter).max() <= MOST * 1.01
    assert np.abs(quieter).max() <= MOST + 1e-6
    assert decibels == pytest.approx(20 * np.log10(true_peaks(sound).max() / MOST), abs=1e-3)


def test_a_peak_costs_its_surroundings_alone() -> None:
    sound = 0.2 * np.random.default_rng(0).standard_normal((2, RATE)).clip(-3, 3)
    sound = sound.astype(np.float32)
    sound[1, 20000] = 3.5
    quieter, decibels = limited(sound, RATE)
    assert decibels > 11
    far = np.abs(np.arange(RATE) - 20000) > 0.06 * RATE
    assert np.array_equal(quieter[:, far], sound[:, far])
    # Both channels by one gain, without a jump: it moves within tens of milliseconds.
    gain = quieter[:, 18000:22000] / sound[:, 18000:22000]
    np.testing.assert_allclose(gain[0], gain[1], rtol=1e-3)
    assert np.abs(np.diff(gain[0])).max() < 0.01


@pytest.mark.parametrize("peak", [0.0, 0.05, 0.85])
def test_what_has_room_stays_as_it_is(peak: float) -> None:
    sound = between_samples(peak)
    same, decibels = limited(sound, RATE)
    assert decibels == 0
    assert np.array_equal(same, sound)


@pytest.mark.parametrize("samples", [1, 63, 64, 65])
def test_of_a_few_samples_or_none(samples: int) -> None:
    quieter, decibels = limited(np.full((1, samples), 4.0, np.float32), RATE)
    assert quieter.shape == (1, samples)
    assert np.abs(quieter).max() <= MOST
    assert decibels > 12
    assert limited(np.zeros((2, 0), np.float32), RATE)[1] == 0
