"""How large a coefficient of the waveform layer is expected to be, from its neighbors.

Magnitudes of neighbors, weighted and summed in integers, give one number, and that selects a row of
frequencies (coefficient_tables.py). A frame is coded in two halves: its even coefficients see
earlier frames, and in a side channel mid's; its odd ones see the even ones on both sides as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codec.entropy.coefficient_tables import THRESHOLDS, WEIGHTS

Ints = NDArray[np.int64]

LARGEST = 15
"""Magnitudes count as this at most."""
ONE = 64
"""A magnitude of 1 in the history."""
MARGIN = 8
"""Zeros on both sides of a frame."""
WIDE = 7
"""How far the widest sum reaches."""


class Weights(NamedTuple):
    """What neighbors count, in 1/256. Magnitudes of ``history`` are in 1/64, others count 64 times;
    "beside" is the sum of both sides."""

    bias: int
    history: int
    history_beside: int
    history_wide: int
    last: int
    last_beside: int
    now_beside: int
    now_further: int
    mid: int
    mid_beside: int


_WEIGHTS = [Weights(*row) for row in WEIGHTS]


def weights_of(side: bool, odd: int) -> Weights:
    """``side``: a channel that sees mid."""
    return _WEIGHTS[2 * side + odd]


@dataclass
class Past:
    """What is known of the frames of a channel before the one at hand: (blocks, MARGIN + bins +
    MARGIN) each."""

    history: Ints
    """Magnitudes in 1/64, averaged: the last frame counts a quarter, the one before it three
    quarters of that, and so on."""
    last: Ints
    """Magnitudes of the last frame."""

    @classmethod
    def none(cls, blocks: int, bins: int) -> Past:
        shape = (blocks, bins + 2 * MARGIN)
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.int64))

    @classmethod
    def of_all(cls, magnitudes: Ints) -> Past:
        """The past of every frame of a channel, (frames, MARGIN + bins + MARGIN), not of blocks."""
        past = cls.none(1, magnitudes.shape[1] - 2 * MARGIN)
        history, last = np.zeros_like(magnitudes), np.zeros_like(magnitudes)
        for frame in range(1, len(magnitudes)):
            past.add(magnitudes[frame - 1 : frame])
            history[frame] = past.history[0]
        last[1:] = magnitudes[:-1]
        return cls(history, last)

    def add(self, magnitudes: Ints) -> None:
        """The next frame, with margins."""
        self.history = (3 * self.history + ONE * magnitudes) >> 2
        self.last = magnitudes


def expect(past: Past, now: Ints, mid: Ints | None, odd: int) -> NDArray[np.intp]:
    """Rows of frequencies for one half of a frame, (blocks, bins / 2).

    ``now`` and ``mid`` are magnitudes of this frame and of mid's, (blocks, MARGIN + bins + MARGIN);
    of ``now`` the even ones are looked at for the odd ones.
    """
    w = weights_of(mid is not None, odd)
    first, count = MARGIN + odd, (now.shape[1] - 2 * MARGIN) // 2

    def at(values: Ints, away: int) -> Ints:
        return values[:, first + away : first + away + 2 * count : 2]

    def beside(values: Ints, away: int) -> Ints:
        return at(values, away) + at(values, -away)

    below = np.cumsum(past.history, axis=1)
    whole = w.bias + w.last * at(past.last, 0) + w.last_beside * beside(past.last, 1)
    if odd:
        whole += w.now_beside * beside(now, 1) + w.now_further * beside(now, 3)
    if mid is not None:
        whole += w.mid * at(mid, 0) + w.mid_beside * beside(mid, 1)
    total = ONE * whole + w.history * at(past.history, 0)
    total += w.history_beside * beside(past.history, 1)
    total += w.history_wide * (at(below, WIDE) - at(below, -WIDE - 1))
    return np.searchsorted(THRESHOLDS, total, side="right")


def with_margins(symbols: NDArray[np.integer]) -> Ints:
    """Symbols (..., bins) as magnitudes (..., MARGIN + bins + MARGIN)."""
    size = np.minimum(np.abs(symbols.astype(np.int64)), LARGEST)
    return np.pad(size, [(0, 0)] * (symbols.ndim - 1) + [(MARGIN, MARGIN)])
