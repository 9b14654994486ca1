"""Levels and SI-SDR by octave, against gains and errors that are put in."""

from __future__ import annotations

import math

import pytest
import torch
from sounds import chord, noise

from codec.metrics.octaves import level_error, si_sdr_per_octave

LOW, HIGH = chord((700.0,))[None], chord((3000.0,))[None]
"""In the fourth and the sixth octave."""


def test_a_gain_is_an_error_of_its_octave_with_its_sign():
    errors = level_error(LOW + 0.5 * HIGH, LOW + HIGH)
    assert errors[3] == pytest.approx(0.0, abs=0.01)
    assert errors[5] == pytest.approx(-6.02, abs=0.01)
    assert level_error(2 * noise()[None], noise()[None]) == pytest.approx([6.02] * 8, abs=0.01)


def test_silence_against_silence_is_no_error():
    silence = torch.zeros(2, 44100)
    assert level_error(silence, silence) == [0.0] * 8


def test_distortion_counts_in_its_octave_whatever_the_gain():
    error = chord((3300.0,))[None]
    ratios = si_sdr_per_octave(0.3 * (LOW + HIGH + 0.1 * error), LOW + HIGH)
    assert ratios[5] == pytest.approx(20.0, abs=0.1)
    assert ratios[3] > 50
    assert math.isnan(ratios[7])


def test_the_right_level_without_the_waveform_has_a_low_ratio():
    ratios = si_sdr_per_octave(noise(1)[None], noise(2)[None])
    assert max(ratios) < -10
