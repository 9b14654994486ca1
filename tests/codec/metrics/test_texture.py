"""Texture: real noise has none of these regularities, patterns that repeat have them all."""

from __future__ import annotations

import math

import pytest
import torch
from sounds import SAMPLES, bursts, chord, noise

from codec.evaluation.codecs.controls import line_comb
from codec.metrics.spectra import OCTAVES
from codec.metrics.texture import COMB_LAGS, buzz, comb, flux, modulation, modulation_distance


def test_an_envelope_that_ticks_at_the_frame_rate_buzzes():
    assert buzz(noise()) == pytest.approx(0.075, abs=0.05)
    assert buzz(bursts(44100 / 512)) > 0.9
    assert buzz(bursts(70.0)) < 0.02  # another regularity


def test_noise_moves_and_a_still_texture_does_not():
    assert flux(noise()) == pytest.approx(4.9, abs=0.1)
    assert flux(noise()[:512].repeat(250)) < 0.5


def test_a_repeated_pattern_resembles_itself_at_multiples_of_its_period():
    assert all(abs(value) < 0.05 for value in comb(noise()).values())
    assert all(value > 0.99 for value in comb(line_comb(SAMPLES, 0)).values())
    every_2048 = comb(noise()[:2048].repeat(60))
    assert abs(every_2048[1024]) < 0.1
    assert every_2048[2048] == pytest.approx(1.0)
    assert list(every_2048) == list(COMB_LAGS)


def test_what_is_below_1_khz_repeats_unheard():
    low = chord((440.0,)) * 10
    assert all(abs(value) < 0.1 for value in comb(low + noise()).values())


def test_silence_has_no_texture():
    silence = torch.zeros(SAMPLES)
    assert math.isnan(buzz(silence))
    assert all(math.isnan(value) for value in comb(silence).values())
    assert flux(silence) == 0


def test_modulation_is_found_at_its_speed():
    moving, still = modulation(bursts(6.0))[5], modulation(noise())[5]
    assert int((moving - still).argmax()) == 1  # 4 to 8 Hz
    assert float(moving[1]) == pytest.approx(20 * math.log10(0.5), abs=5)


def test_modulation_distance_is_in_the_octave_that_moves_otherwise():
    x = noise(1)
    y = x + 3 * chord((700.0,)) * (1 + torch.cos(torch.arange(SAMPLES) * 2 * math.pi * 6 / 44100))
    distances = modulation_distance(y, x)
    assert len(distances) == len(OCTAVES)
    assert max(distances) == distances[3]  # 500 to 1000 Hz
    assert distances[5] < 0.5
    assert max(modulation_distance(x, x)) == 0


def test_an_octave_that_is_silent_in_the_original_says_nothing():
    distances = modulation_distance(noise(), chord((700.0,)))
    assert math.isnan(distances[6])
    assert not math.isnan(distances[3])
