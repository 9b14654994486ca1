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

Ints = NDArray[np.int32]
"""No sum here reaches a million."""

LARGEST = 15
"""Magnitudes count as this at most."""
ONE = 64
"""A magnitude of 1 in the history."""
MARGIN = 5
"""Zeros on both sides of the even ones of a frame, and of the odd ones."""
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


_ROW_OF = np.searchsorted(THRESHOLDS, np.arange(THRESHOLDS[-1] + 1), side="right").astype(np.uint8)
"""The row of every weighted sum; larger ones are as the last."""


@dataclass
class Past:
    """What is known of the frames of a channel before the one at hand, ``in_halves``; or of all
    frames at once, with frames in the place of blocks."""

    history: Ints
    """Magnitudes in 1/64, averaged: the last frame counts a quarter, the one before it three
    quarters of that, and so on."""
    below: Ints
    """The sum of ``history`` over a half's bins from the first on to each."""
    last: Ints
    """Magnitudes of the last frame."""

    @classmethod
    def none(cls, blocks: int, bins: int) -> Past:
        return cls(*(np.zeros((blocks, 2, bins // 2 + 2 * MARGIN), np.int32) for _ in range(3)))

    @classmethod
    def of_all(cls, magnitudes: Ints) -> Past:
        """The past of every frame of a channel, of all of them ``in_halves``."""
        history, last = np.zeros_like(magnitudes), np.zeros_like(magnitudes)
        last[1:] = magnitudes[:-1]
        scaled = ONE * last
        for frame in range(1, len(magnitudes)):
            now = np.multiply(history[frame - 1], 3, out=history[frame])
            now += scaled[frame]
            now >>= 2
        return cls(history, np.cumsum(history, axis=-1, dtype=np.int32), last)

    def add(self, magnitudes: Ints) -> None:
        """The next frame."""
        self.history = (3 * self.history + ONE * magnitudes) >> 2
        self.below = np.cumsum(self.history, axis=-1, dtype=np.int32)
        self.last = magnitudes


def expect(past: Past, now: Ints, mid: Ints | None, odd: int) -> NDArray[np.uint8]:
    """Rows of frequencies for one half of a frame, (blocks, bins / 2).

    ``now`` and ``mid`` are magnitudes of this frame and of mid's, ``in_halves``; of ``now`` the
    even ones are looked at for the odd ones.
    """
    w = weights_of(mid is not None, odd)
    count = now.shape[-1] - 2 * MARGIN

    def at(values: Ints, away: int) -> Ints:
        first, half = divmod(odd + away, 2)
        return values[:, half, MARGIN + first : MARGIN + first + count]

    def beside(values: Ints, away: int) -> Ints:
        return at(values, away) + at(values, -away)

    total = w.last * at(past.last, 0)
    total += w.last_beside * beside(past.last, 1)
    if odd:
        total += w.now_beside * beside(now, 1)
        total += w.now_further * beside(now, 3)
    if mid is not None:
        total += w.mid * at(mid, 0)
        total += w.mid_beside * beside(mid, 1)
    total += w.bias
    total *= ONE
    total += w.history * at(past.history, 0)
    total += w.history_beside * beside(past.history, 1)
    wide = at(past.below, WIDE) - at(past.below, -WIDE - 2)
    wide += at(past.below, WIDE - 1) - at(past.below, -WIDE - 1)
    total += w.history_wide * wide
    return _ROW_OF.take(total, mode="clip")


def in_halves(symbols: NDArray[np.integer]) -> Ints:
    """Symbols (..., bins) as magnitudes (..., 2, MARGIN + bins / 2 + MARGIN): even and odd ones.

    Each half lies together, which is several times as quick as every other value of a frame.
    """
    *before, bins = symbols.shape
    halves = symbols.reshape(*before, bins // 2, 2).swapaxes(-1, -2)
    out = np.zeros((*halves.shape[:-1], halves.shape[-1] + 2 * MARGIN), np.int32)
    np.minimum(np.abs(halves), LARGEST, out=inside(out))
    return out


def inside(halves: Ints) -> Ints:
    """Without margins."""
    return halves[..., MARGIN : halves.shape[-1] - MARGIN]
