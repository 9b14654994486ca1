"""Searching for a step: within the budget, close to it, and in few trials."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from codec.lac.finest_within import CLOSE_ENOUGH, finest_within

SIZES: dict[str, Callable[[int], float]] = {
    "in proportion": lambda step: 2e6 * 2 ** (-step / 64),
    "at high rates": lambda step: 1000 * max(20 - step / 64, 0.0) + 200,
    "steep": lambda step: 1e9 * 2 ** (-step / 30) + 100,
}


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("budget", [5000.0, 9000.0, 14_000.0])
@pytest.mark.parametrize("start", [0, 400, 1023])
def test_it_is_found_in_few_trials(kind: str, budget: float, start: int) -> None:
    tried: list[int] = []

    def size(step: int) -> float:
        tried.append(step)
        return float(math.floor(SIZES[kind](step)))

    step = finest_within(size, budget, start)
    assert step is not None
    assert size(step) <= budget
    assert size(step) >= CLOSE_ENOUGH * budget or size(step - 1) > budget
    assert len(tried) <= 12


def test_where_nothing_fits_and_where_all_does() -> None:
    assert finest_within(lambda step: 1000.0, 10.0, 500) is None
    assert finest_within(lambda step: 1.0, 10.0, 500) == 0
