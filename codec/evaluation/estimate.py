"""A number and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        value, low, high = (f"{round(v, 4) + 0.0:.3g}" for v in (self.value, self.low, self.high))
        return f"{value} ({low} to {high})"
