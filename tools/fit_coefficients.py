"""Fit the tables of codec/entropy/coefficient_tables.py to files that have waveform layers.

    python tools/fit_coefficients.py FILE.lac ... > tables.py && mv tables.py \\
        codec/entropy/coefficient_tables.py

The files are of recordings for training, each at some rates. What their coefficients are, given
their neighbors, is counted: weights are found by least squares for each kind of half (of mid or of
side, even or odd), errors weighted by what a wrong expectation costs; then the numbers that they
give are cut into classes. New tables change the format: golden bytes and docs/FORMAT.md.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import numpy as np

from codec.entropy.coefficient_contexts import LARGEST, ONE, WIDE, Past, in_halves
from codec.entropy.coefficients import Layer
from codec.entropy.static_tables import FREQUENCY_BITS
from codec.lac.reader import LacReader

CLASSES = 24
UNIT = 256
"""Weights are in 1/256."""
PRIOR = 200
"""Coefficients that a geometric distribution of the same mean counts as, in every class."""


Kinds = list[list[np.ndarray]]


def features(symbols: np.ndarray) -> tuple[Kinds, Kinds]:
    """For a block (streams, frames, bins): features and magnitudes for each of the four kinds."""
    kinds: Kinds = [[], [], [], []]
    sizes: Kinds = [[], [], [], []]
    halves = in_halves(symbols)
    m = _in_order(halves)
    bins = symbols.shape[2]
    for s in range(len(symbols)):
        past, side = Past.of_all(halves[s]), len(symbols) == 2 and s == 1
        history, last = _in_order(past.history), _in_order(past.last)
        wide = sum(_shift(history, d, bins) for d in range(-WIDE, WIDE + 1))
        zero = np.zeros_like(wide)
        mid = m[0] if side else np.zeros_like(m[s])
        for odd in (0, 1):
            rows = [
                zero + ONE,
                _shift(history, 0, bins),
                _pair(history, 1, bins),
                wide,
                ONE * _shift(last, 0, bins),
                ONE * _pair(last, 1, bins),
                ONE * _pair(m[s], 1, bins) if odd else zero,
                ONE * _pair(m[s], 3, bins) if odd else zero,
                ONE * _shift(mid, 0, bins),
                ONE * _pair(mid, 1, bins),
            ]
            kinds[2 * side + odd].append(np.stack([r[:, odd::2].ravel() for r in rows], 1))
            sizes[2 * side + odd].append(_shift(m[s], 0, bins)[:, odd::2].ravel())
    return kinds, sizes


def _in_order(halves: np.ndarray) -> np.ndarray:
    """Even and odd ones, (..., 2, half), as (..., bins) with margins."""
    return halves.swapaxes(-1, -2).reshape(*halves.shape[:-2], -1)


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
        a, b = (x * g[:, None]).T @ x, (x * g[:, None]).T @ (ONE * size)
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


def fit(blocks: list[Layer]) -> str:
    """The module's text."""
    kinds: Kinds = [[], [], [], []]
    sizes: Kinds = [[], [], [], []]
    splits = np.full((4, 4), 0.5)
    for block in blocks:
        np.add.at(splits, (np.r_[0, block.split[:-1]], block.split), 1)
        for into, own in zip((kinds, sizes), features(block.symbols), strict=True):
            for kind, values in zip(into, own, strict=True):
                kind.extend(values)
    weights, total = [], []
    for kind, size in zip(kinds, sizes, strict=True):
        x = np.concatenate(kind).astype(np.float64)
        weights.append(fit_weights(x, np.concatenate(size)))
        total.append(x @ weights[-1])
    v, y = np.concatenate(total), np.concatenate([x for size in sizes for x in size])
    thresholds = np.rint(np.geomspace(0.4, 500, CLASSES - 1) * UNIT).astype(int)
    counts = np.zeros((CLASSES, LARGEST + 1))
    np.add.at(counts, (np.searchsorted(thresholds, v, side="right"), y), 1)
    # Where little was counted, a geometric distribution of the expected size.
    mean = np.r_[thresholds[0] / 2, thresholds] / (UNIT * ONE)
    ratio = (mean / (1 + mean))[:, None]
    prior = (1 - ratio) * ratio ** np.arange(LARGEST + 1)
    rows = frequencies(counts + PRIOR * prior)
    bits = -(counts * np.log2(rows / (1 << FREQUENCY_BITS))).sum() + (y > 0).sum()
    print(f"{bits:.0f} bits for {len(y)} coefficients", file=sys.stderr)
    return TEMPLATE.format(
        weights=_table(np.array(weights)),
        thresholds=_numbers(thresholds),
        rows=_table(rows),
        splits=_table(frequencies(splits)),
    )


def _table(rows: np.ndarray) -> str:
    return "\n".join(f"    [{_numbers(row, 12)}]," for row in rows)


def _numbers(values: np.ndarray, indent: int = 4) -> str:
    text = ", ".join(map(str, values.tolist()))
    return "\n".join(textwrap.wrap(text, 90)).replace("\n", "\n" + " " * indent)


TEMPLATE = '''"""Which magnitudes of coefficients to expect: counted, and part of the format.

Written by tools/fit_coefficients.py. They are of no model: a step is in units of what the base
layer expects, and so the coefficients of all models are about the same.
"""

from __future__ import annotations

import numpy as np

# fmt: off
WEIGHTS = [
{weights}
]
"""coefficient_contexts.Weights: for even and odd coefficients, then for those that see mid."""

THRESHOLDS = np.array([
    {thresholds},
])
"""Between the rows of frequencies, in the units of the weighted sums."""

FREQUENCIES = np.array([
{rows}
])
"""Frequencies of magnitudes 0 to 14, and of larger ones; each row is 2^24 - 2 in all."""

SPLIT_FREQUENCIES = np.array([
{splits}
])
"""Frequencies of a frame's split, given the one before it; each row is 2^24 - 2 in all."""
# fmt: on
'''


def main() -> None:
    blocks = [
        layer
        for path in sys.argv[1:]
        for layer in LacReader(Path(path).read_bytes()).layers()
        if layer is not None
    ]
    sys.stdout.write(fit(blocks))


if __name__ == "__main__":
    main()
