"""Loudness by ITU-R BS.1770, and the gains that match several sounds."""

from __future__ import annotations

import numpy as np
import pytest

from codec.metrics.loudness import loudness, matching_gains


def sine(hertz: float, level_db: float, seconds: float = 3.0, sample_rate: int = 48000):
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return (10 ** (level_db / 20) * np.sin(2 * np.pi * hertz * time))[None].astype(np.float32)


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100, 48000, 96000])
def test_the_tone_that_the_standard_names(sample_rate: int):
    # BS.1770-4: a sine of 997 Hz at full scale in one channel is -3.01 LUFS.
    assert loudness(sine(997, 0, 3, sample_rate), sample_rate) == pytest.approx(-3.01, abs=0.05)


def test_low_tones_count_less_and_high_ones_more():
    middle, low, high = (loudness(sine(hertz, -20), 48000) for hertz in (997, 30, 8000))
    assert low < middle - 5
    assert high == pytest.approx(middle + 3.3, abs=0.3)


def test_two_channels_are_twice_the_power():
    tone = sine(997, -20)
    both = loudness(np.concatenate([tone, tone]), 48000)
    assert both == pytest.approx(loudness(tone, 48000) + 3.01, abs=0.01)


def test_pauses_do_not_count():
    tone = sine(997, -20)
    quiet = sine(997, -60, 6)
    with_pause = loudness(np.concatenate([tone, 0 * quiet, quiet], axis=1), 48000)
    assert with_pause == pytest.approx(loudness(tone, 48000), abs=0.3)


def test_silence_and_the_shortest_sounds():
    assert loudness(np.zeros((2, 48000), np.float32), 48000) is None
    assert loudness(np.zeros((1, 1), np.float32), 48000) is None
    assert loudness(sine(997, -20, 0.05), 48000) == pytest.approx(-23, abs=1.5)


def test_gains_bring_all_to_the_quietest_and_leave_silence_alone():
    assert matching_gains([-20.0, -23.0, None, -14.5]) == [-3.0, 0.0, 0.0, -8.5]
    assert matching_gains([None, None]) == [0.0, 0.0]
    sounds = [sine(997, -20), sine(300, -12), sine(5000, -31)]
    gains = matching_gains([loudness(sound, 48000) for sound in sounds])
    matched = [
        loudness(10 ** (gain / 20) * sound, 48000)
        for gain, sound in zip(gains, sounds, strict=True)
    ]
    assert max(gains) == 0
    assert matched == pytest.approx([matched[0]] * 3, abs=0.01)
