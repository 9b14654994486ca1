"""A few of many, to be looked at or measured in place of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def evenly(items: Sequence[T], most: int) -> list[T]:
    """At most so many, evenly over all of them: with two or more, the first and the last too."""
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in places]
