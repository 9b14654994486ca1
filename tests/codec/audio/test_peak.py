"""Made sound is turned down as a whole where it would clip, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from codec.audio import turned_down
from codec.audio.peak import MOST, true_peak


def between_samples(peak: float) -> np.ndarray:
    """A tone of a quarter of the rate whose samples miss its peaks by 3 dB: (2, 4000)."""
    tone = peak * np.sin(np.pi / 2 * np.arange(4000) + np.pi / 4)
    return np.stack([0.1 * tone, tone * np.hanning(4000)]).astype(np.float32)


def test_the_peak_is_that_of_the_wave() -> None:
    sound = between_samples(1.2)
    assert np.abs(sound).max() < 0.86
    assert true_peak(sound) == pytest.approx(1.2, rel=0.01)


def test_one_gain_brings_a_loud_sound_below_full_scale() -> None:
    sound = between_samples(2.0)
    quieter, decibels = turned_down(sound)
    assert quieter.dtype == np.float32
    assert true_peak(quieter) == pytest.approx(MOST, rel=1e-4)
    assert decibels == pytest.approx(20 * np.log10(2 / MOST), abs=0.05)
    np.testing.assert_allclose(quieter, sound * 10 ** (-decibels / 20), rtol=1e-5)


@pytest.mark.parametrize("peak", [0.0, 0.05, 0.85])
def test_what_has_room_keeps_its_level(peak: float) -> None:
    sound = between_samples(peak)
    same, decibels = turned_down(sound)
    assert decibels == 0
    assert np.array_equal(same, sound)


def test_of_a_few_samples_or_none() -> None:
    assert turned_down(np.full((1, 1), 4.0, np.float32))[1] > 0
    assert turned_down(np.zeros((2, 0), np.float32))[1] == 0
