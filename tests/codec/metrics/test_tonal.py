"""Partials: a chord, the chord in noise, noise, and a comb."""

from __future__ import annotations

import math

import pytest
import torch
from sounds import chord, noise

from codec.metrics.tonal import partials, tonal


def test_a_chord_has_its_own_partials():
    shares = tonal(0.3 * chord(), chord())
    assert (shares.recall, shares.precision) == (1.0, 1.0)


def test_noise_hides_partials_and_adds_none():
    x = chord()
    quiet, loud = tonal(x + 0.01 * noise(), x), tonal(x + 10 * noise(), x)
    assert quiet.recall is not None
    assert loud.recall is not None
    assert quiet.recall > 0.95
    assert loud.recall < quiet.recall - 0.3


def test_noise_keeps_a_twentieth_by_chance():
    shares = tonal(noise(), chord())
    assert shares.recall == pytest.approx(0.06, abs=0.06)


def test_a_missing_note_costs_recall_and_an_added_one_precision():
    two, three = chord((440.0, 1234.5)), chord((440.0, 1234.5, 2777.0))
    missing, added = tonal(two, three), tonal(three, two)
    assert missing.recall == pytest.approx(2 / 3, abs=0.05)
    assert missing.precision == pytest.approx(1.0, abs=0.01)
    assert added.recall == pytest.approx(1.0, abs=0.01)
    assert added.precision == pytest.approx(2 / 3, abs=0.05)


def test_a_comb_of_partials_everywhere_is_caught_by_precision():
    lines = torch.arange(10, 470, 6) * 44100 / 4096
    shares = tonal(chord(tuple(lines.tolist())), chord((442.0, 1230.0, 2777.0)))
    assert shares.precision is not None
    assert shares.precision < 0.2


def test_a_semitone_is_another_note():
    shares = tonal(chord((466.2, 1308.0, 2942.0)), chord((440.0, 1234.5, 2777.0)))
    assert shares.recall is not None
    assert shares.recall < 0.1


def test_noise_and_silence_have_no_partials_to_count():
    assert tonal(chord(), torch.zeros_like(chord())).recall is None
    assert tonal(torch.zeros_like(chord()), chord()).precision is None


def test_partials_of_notes_that_follow_each_other():
    first, second = chord((440.0, 1234.5)), chord((523.3, 1500.0, 2777.0))
    both = partials(torch.cat([first, torch.zeros(4410), second]))
    frames = len(first) / 2048
    assert both.per_second == pytest.approx(5 / 6.1, rel=0.3)
    assert both.frames == pytest.approx(frames, rel=0.3)
    assert partials(first).per_second == pytest.approx(2 / 3, rel=0.05)


def test_noise_has_partials_that_do_not_last_and_silence_has_none():
    assert partials(noise()).frames < 1.5
    nothing = partials(torch.zeros(44100))
    assert nothing.per_second == 0
    assert math.isnan(nothing.frames)
