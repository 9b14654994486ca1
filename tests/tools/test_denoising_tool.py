"""How many bytes a method saves, from two curves."""

from __future__ import annotations

import math
from pathlib import Path

import denoising_curves as tool
import pytest

REFERENCE = [(1.0, 1.0), (2.0, 2.0), (4.0, 3.0)]


@pytest.mark.parametrize(("better", "sign"), [("higher", 1), ("lower", -1)])
def test_the_same_values_at_three_quarters_of_the_rate(better: str, sign: int) -> None:
    reference = [(rate, sign * value) for rate, value in REFERENCE]
    curve = [(0.75 * rate, value) for rate, value in reference]
    assert tool.saving(better, curve, reference) == pytest.approx(0.25)
    assert tool.saving(better, reference, curve) == pytest.approx(1 - 1 / 0.75)
    assert tool.saving(better, reference, reference) == pytest.approx(0)


def test_a_curve_that_falls_counts_as_level() -> None:
    curve = [(1.0, 1.0), (2.0, 2.5), (3.0, 2.4), (4.0, 3.0)]
    assert 0 < tool.saving("higher", curve, REFERENCE) < 0.25


def test_without_a_value_in_common_nothing_is_said() -> None:
    curve = [(1.0, 5.0), (2.0, 6.0)]
    assert math.isnan(tool.saving("higher", curve, REFERENCE))


def test_results_are_paired_by_clip_and_a_measure_may_be_missing(tmp_path: Path) -> None:
    rows: list[tool.Row] = [
        {"clip": clip, "quality": q, "method": method, "seed": seed, "kbps": 2.0**q}
        | ({"value": q + bonus + 5 * (clip == "b")} if clip != "c" else {})
        for clip in "abc"
        for q in (0, 1, 2)
        for method, seeds, bonus in (("plain", 1, 0.0), ("better", 2, 0.5), ("better + bit", 1, 0))
        for seed in range(seeds)
    ]
    results = tool.Results(rows, {"value": "higher", "absent": "lower"})
    assert results.curve("better", "value") == [(1.0, 3.0), (2.0, 4.0), (4.0, 5.0)]
    percent = round(100 * (1 - 2**-0.5))
    assert results.saved("better", "plain", "value") == f"{percent} % ({percent} to {percent})"
    assert results.saved("better", "plain", "absent") == "-"
    tool.draw(results, {"value": "a value"}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
