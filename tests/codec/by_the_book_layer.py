"""A second decoder of the waveform layer, one coefficient at a time: docs/FORMAT.md as code.

Like by_the_book.py, whose range coder it takes, it shares nothing with the package but the tables
that the page names.
"""

from __future__ import annotations

from typing import NamedTuple

from by_the_book import RangeDecoder

Frame = list[int]
Stream = list[Frame]
"""[frame][coefficient]"""


class Weights(NamedTuple):
    """An entry of WEIGHTS."""

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


class Tables(NamedTuple):
    """Those of the format."""

    weights: list[list[int]]
    thresholds: list[int]
    frequencies: list[list[int]]
    split_frequencies: list[list[int]]


def cumulative(row: list[int]) -> list[int]:
    cum = [0, 1]
    for frequency in row:
        cum.append(cum[-1] + frequency)
    return [*cum, 2**24]


ESCAPES = [2**12 * u for u in range(4097)]
SIGNS = [0, 1, 2**23, 2**24 - 1, 2**24]


def row_of(
    w: Weights, a: Frame, last: Frame, h: Frame, m: Frame | None, k: int, thresholds: list[int]
) -> int:
    """The row of frequencies of coefficient ``k``."""

    def at(values: Frame | None, i: int) -> int:
        return values[i] if values is not None and 0 <= i < len(values) else 0

    def beside(values: Frame | None, away: int) -> int:
        return at(values, k - away) + at(values, k + away)

    whole = w.bias + w.last * at(last, k) + w.last_beside * beside(last, 1)
    whole += w.now_beside * beside(a, 1) + w.now_further * beside(a, 3)
    whole += w.mid * at(m, k) + w.mid_beside * beside(m, 1)
    total = 64 * whole + w.history * at(h, k) + w.history_beside * beside(h, 1)
    total += w.history_wide * sum(at(h, i) for i in range(k - 7, k + 8))
    return sum(threshold <= total for threshold in thresholds)


def decode_layer(
    data: bytes, streams: int, frames: int, bins: int, tables: Tables
) -> tuple[list[int], list[Stream]]:
    """Splits of a block's frames, and its coefficients: the section "Waveform layer"."""
    decoder = RangeDecoder(data)

    def decode(cum: list[int]) -> int:
        j = decoder.decode(cum)
        assert 0 < j < len(cum) - 2
        return j

    splits: list[int] = []
    for _ in range(frames):
        before = splits[-1] if splits else 0
        splits.append(decode(cumulative(tables.split_frequencies[before])) - 1)
    rows = [cumulative(row) for row in tables.frequencies]
    q = [[[0] * bins for _ in range(frames)] for _ in range(streams)]
    history = [[0] * bins for _ in range(streams)]
    none = [0] * bins
    for t in range(frames):
        above: Frame | None = None  # the first stream's magnitudes
        for s in range(streams):
            m = above if streams == 2 and s == 1 else None
            last = [min(abs(x), 15) for x in q[s][t - 1]] if t else none
            a = [0] * bins
            for odd in (0, 1):
                w = Weights(*tables.weights[(2 if m is not None else 0) + odd])
                half = range(odd, bins, 2)
                known = [
                    row_of(w, a if odd else none, last, history[s], m, k, tables.thresholds)
                    for k in half
                ]
                sizes = [decode(rows[row]) - 1 for row in known]
                for i, size in enumerate(sizes):
                    if size == 15:
                        sizes[i] = 14 + decode(ESCAPES)
                for k, size in zip(half, sizes, strict=True):
                    q[s][t][k] = size if size == 0 or decode(SIGNS) == 1 else -size
                    a[k] = min(size, 15)
            history[s] = [3 * h + 64 * x >> 2 for h, x in zip(history[s], a, strict=True)]
            above = a if s == 0 else above
    assert decoder.at_end
    return splits, q
