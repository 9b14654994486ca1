"""Verdicts from paired differences, and measures that a control deceives."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from codec.evaluation.codecs.comparison import blind, compare, interval


@dataclass(frozen=True)
class Row:
    file: str
    codec: str
    asked_kbps: float | None
    values: dict[str, float] = field(default_factory=dict)
    kind: str = "music"


def rows(codec: str, kbps: float | None, measure: str, values: list[float]) -> list[Row]:
    return [Row(f"{n}.wav", codec, kbps, {measure: v}) for n, v in enumerate(values)]


DIFFICULTY = [1.0, 4.0, 2.0, 3.5, 1.5, 3.0]
"""Clips differ by far more than codecs do."""


def test_a_small_gain_on_every_clip_is_ahead_although_clips_differ_more():
    gains = [0.11, 0.09, 0.1, 0.12, 0.08, 0.1]
    better = [d + g for d, g in zip(DIFFICULTY, gains, strict=True)]
    (found,) = compare(
        rows("lacuna", 6.0, "zimtohrli", better) + rows("opus", 12.0, "zimtohrli", DIFFICULTY)
    )
    assert (found.verdict, found.files, found.peer, found.peer_kbps) == ("ahead", 6, "opus", 12.0)
    assert found.gain.value == pytest.approx(0.1)
    assert 0.07 < found.gain.low < 0.1 < found.gain.high < 0.13


def test_where_lower_is_better_a_larger_value_is_behind():
    worse = [d + 0.1 + 0.01 * n for n, d in enumerate(DIFFICULTY)]
    (found,) = compare(
        rows("lacuna", 6.0, "mel_distance", worse) + rows("opus", 12.0, "mel_distance", DIFFICULTY)
    )
    assert found.verdict == "behind"
    assert found.gain.value < 0


def test_a_gain_on_half_of_the_clips_is_even():
    mixed = [d + 0.5 * (-1) ** n for n, d in enumerate(DIFFICULTY)]
    (found,) = compare(
        rows("lacuna", 6.0, "visqol", mixed) + rows("opus", 12.0, "visqol", DIFFICULTY)
    )
    assert found.verdict == "even"


def test_only_files_that_both_have_count_and_three_are_too_few():
    own = rows("lacuna", 6.0, "visqol", DIFFICULTY)
    (found,) = compare(own + rows("opus", 12.0, "visqol", DIFFICULTY[:4]))
    assert (found.files, found.verdict) == (4, "even")
    assert compare(own + rows("opus", 12.0, "visqol", DIFFICULTY[:3])) == []


def test_controls_are_no_peers():
    assert (
        compare(rows("lacuna", 6.0, "visqol", [1.0] * 4) + rows("noise", None, "visqol", [2] * 4))
        == []
    )


def test_the_interval_covers_the_mean_and_shrinks_with_more_files():
    values = np.random.default_rng(1).normal(5, 1, 400)
    many, few = interval(values), interval(values[:10])
    assert many.low < values.mean() < many.high
    assert many.high - many.low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert few.high - few.low > many.high - many.low
    same = interval(np.full(5, 2.0))
    assert (same.low, same.high) == (2.0, 2.0)
    with pytest.raises(ValueError, match="got 3 values"):
        interval(values[:3])


def test_a_measure_that_likes_noise_better_than_opus_at_12_is_blind():
    opus = rows("opus", 12.0, "visqol", [3.7, 3.8]) + rows("opus", 12.0, "tonal_recall", [0.7, 0.8])
    noise = rows("noise", None, "visqol", [4.3, 4.2]) + rows("noise", None, "tonal_recall", [0, 0])
    reasons = blind(opus + noise)
    assert list(reasons) == [("music", "visqol")]
    assert "noise (4.25) above opus at 12 kbps (3.75)" in reasons["music", "visqol"]


def test_the_comb_counts_as_well_and_lower_can_be_better():
    opus = rows("opus", 12.0, "mel_distance", [2.0, 2.0])
    assert blind(opus + rows("comb", None, "mel_distance", [1.6, 1.7])) != {}
    assert blind(opus + rows("comb", None, "mel_distance", [2.6, 2.7])) == {}


def test_without_opus_at_12_nothing_is_known():
    assert blind(rows("noise", None, "visqol", [4.3]) + rows("opus", 16.0, "visqol", [3.0])) == {}
