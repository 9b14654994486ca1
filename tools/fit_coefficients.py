"""Fit the tables of codec/entropy/coefficient_tables.py to recordings.

    python tools/fit_coefficients.py DIR [--kbps 3,6,12] [--seconds 10] > codec/entropy/coefficient_tables.py

Every recording is coded at some rates; what its coefficients are, given their neighbors, is counted.
Weights are found by least squares for each kind of half (of mid or of side, even or odd), errors
weighted by what a wrong expectation costs; then the numbers they give are cut into classes.
"""

from __future__ import annotations



import sys
from pathlib import Path

import numpy as np



from codec.entropy.coefficient_contexts import LARGEST, WIDE, Past, with_margins
from codec.entropy.static_tables import FREQUENCY_BITS



NAMES = "bias history history_beside history_wide last last_beside now_beside now_further mid mid_beside"
CLASSES = 24
UNIT = 256
SCALE = 64


def features(symbols: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Of a block (streams, frames, bins): features and magnitudes for each of the four kinds."""
    kinds: list[list[np.ndarray]] = [[], [], [], []]
    sizes: list[list[np.ndarray]] = [[], [], [], []]
    m = with_margins(symbols)
    bins = symbols.shape[2]
    for s in range(len(symbols)):
        past, side = Past.of_all(m[s]), len(symbols) == 2 and s == 1
        wide = sum(_shift(past.history, d, bins) for d in range(-WIDE, WIDE + 1))
        zero = np.zeros_like(wide)
        mid = m[0] if side else np.zeros_like(m[s])
        for odd in (0, 1):
            rows = [
                zero + SCALE,
                _shift(past.history, 0, bins),
                _pair(past.history, 1, bins),
                wide,
                SCALE * _shift(past.last, 0, bins),
                SCALE * _pair(past.last, 1, bins),
                SCALE * _pair(m[s], 1, bins) if odd else zero,
                SCALE * _pair(m[s], 3, bins) if odd else zero,
                SCALE * _shift(mid, 0, bins),
                SCALE * _pair(mid, 1, bins),
            ]
            kinds[2 * side + odd].append(np.stack([r[:, odd::2].ravel() for r in rows], 1))
            sizes[2 * side + odd].append(_shift(m[s], 0, bins)[:, odd::2].ravel())
    return kinds, sizes


def _shift(x: np.ndarray, away: int, bins: int) -> np.ndarray:
    first = (x.shape[1] - bins) // 2 + away
    return x[:, first : first + bins]


def _pair(x: np.ndarray, away: int, bins: int) -> np.ndarray:
    return _shift(x, away, bins) + _shift(x, -away, bins)


def fit_weights(x: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Integers in 1/UNIT, none negative, by projected coordinate descent on weighted squares."""
    w = np.where(x.any(axis=0), 0.05, 0.0)
    for _ in range(5):
        expected = x @ w + 0.5
        g = 1 / (expected * (expected + 30))
        a, b = (x * g[:, None]).T @ x, (x * g[:, None]).T @ (SCALE * size)
        for _ in range(200):
            for i in np.flatnonzero(np.diag(a) > 0):
                w[i] = max(0.0, w[i] + (b[i] - a[i] @ w) / a[i, i])
    return np.rint(w * UNIT).astype(int)


def frequencies(counts: np.ndarray) -> np.ndarray:
    """Rows that sum with two unused columns to 2^24, each entry at least 2."""
    free = (1 << FREQUENCY_BITS) - 2 - 2 * counts.shape[1]
    below = np.cumsum(np.pad(counts, ((0, 0), (1, 0))), axis=1)
    edges = np.floor(below * free / below[:, -1:]).astype(np.int64)
    edges[:, -1] = free
    return np.diff(edges) + 2


def report(blocks: list[tuple[np.ndarray, np.ndarray]]) -> str:
    kinds: list[list[np.ndarray]] = [[], [], [], []]
    sizes: list[list[np.ndarray]] = [[], [], [], []]
    splits = np.full((4, 4), 0.5)
    for symbols, split in blocks:
        np.add.at(splits, (np.r_[0, split[:-1]], split), 1)
        for into, own in ((kinds, 0), (sizes, 1)):
            for kind, values in zip(into, features(symbols)[own], strict=True):
                kind.extend(values)
    weights, total, size = [], [], []
    for kind in range(4):
        x, y = np.concatenate(kinds[kind]).astype(np.float32), np.concatenate(sizes[kind])
        weights.append(fit_weights(x.astype(np.float64), y))
        total.append(x @ weights[-1].astype(np.float32))
        size.append(y)
    v, y = np.concatenate(total), np.concatenate(size)
    thresholds = np.rint(np.geomspace(0.4, 500, CLASSES - 1) * UNIT).astype(int)
    counts = np.full((CLASSES, LARGEST + 1), 0.0)
    np.add.at(counts, (np.searchsorted(thresholds, v, side="right"), y), 1)
    # Where little was counted, a geometric tail goes on.
    mean = (counts @ np.arange(LARGEST + 1) + 0.01) / (counts.sum(1) + 1)
    ratio = mean / (1 + mean)
    prior = (1 - ratio)[:, None] * ratio[:, None] ** np.arange(LARGEST + 1)
    rows = frequencies(counts + 4 * prior + 1e-3)
    p = rows / (1 << FREQUENCY_BITS)
    bits = -(counts * np.log2(p)).sum() + (y > 0).sum()
    print(f"{bits:.0f} bits for {len(y)} coefficients", file=sys.stderr)
    lines = [", ".join(f"{n}={int(w)}" for n, w in zip(NAMES.split(), row)) for row in weights]
    return TEMPLATE.format(
        weights="\n".join(f"    Weights({line})," for line in lines),
        thresholds=_numbers(thresholds),
        rows="\n".join(f"    *({_numbers(row, 0)})," if 0 else f"    [{', '.join(map(str, row))}]," for row in rows),
        splits="\n".join(f"        [{', '.join(map(str, row))}]," for row in frequencies(splits)),
    )


def _numbers(values: np.ndarray, indent: int = 4) -> str:
    return ", ".join(map(str, values.tolist()))


TEMPLATE = open(Path(__file__).with_name("coefficient_tables.template")).read() if 0 else '''"""What magnitudes of coefficients to expect: counted on recordings, and part of the format.

Written by tools/fit_coefficients.py. Of no model: a step is in units of what the base layer expects,
and so all models have about the same coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Weights:
    """What neighbors count, in 1/256. Magnitudes are in 1/64 in ``history``, whole elsewhere and
    then 64 times as much; "beside" is the sum of both sides."""

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


# fmt: off
WEIGHTS = (
{weights}
)
"""Of even and odd coefficients, and then of those that see mid."""

THRESHOLDS = np.array([{thresholds}])
"""Between the rows of frequencies, in the units of the weighted sums."""

FREQUENCIES = np.array([
{rows}
])
"""Of magnitudes 0 to 15 and more; each row is 2^24 - 2 in all."""

SPLIT_FREQUENCIES = np.array([
{splits}
])
"""Of a frame's split, given the one before it; each row is 2^24 - 2 in all."""
# fmt: on
'''


def main() -> None:
    import pickle
    blocks = [(np.ascontiguousarray(q[..., : q.shape[2] // 16 * 16]), split) for _, _, split, q, _ in pickle.load(open(sys.argv[1], "rb"))]
    text = report(blocks)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
