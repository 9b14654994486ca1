from __future__ import annotations

import pytest

from codec.evaluation.evenly import evenly


@pytest.mark.parametrize(
    ("many", "most", "chosen"),
    [(9, 3, [0, 4, 8]), (2, 3, [0, 1]), (3, 3, [0, 1, 2]), (5, 1, [0]), (0, 3, [])],
)
def test_a_few_of_many(many: int, most: int, chosen: list[int]) -> None:
    assert evenly(range(many), most) == chosen
