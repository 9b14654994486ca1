"""The rows of frequencies of the context model: a prediction selects one, and so a probability.

A row is a density of one fixed shape, cut into the quantiser's cells, for one scale and one place
of the mean within its cell. Rows are made with integer arithmetic alone, from a histogram of the
shape.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.entropy.histogram import mass_below, means_between
from codec.entropy.quantise import STEPS_PER_OCTAVE, octave_fraction
from codec.entropy.static_tables import FREQUENCY_BITS
from codec.entropy.waves import Ints

PHASES = 16
"""The mean is rounded to 1/16 of a step."""
SCALES_PER_OCTAVE, LEAST_SCALE, SCALES = 4, -5, 33
"""The scale is rounded to a quarter of an octave, from 2^-5 to 2^3 steps."""
WINDOW = 40
"""Symbols up to this far from the mean's own have a frequency; others take an escape."""
COLUMNS = 2 * WINDOW + 5
"""Columns of a row of frequencies: unused, escape below, window, escape above, unused. The unused
ones have frequency 1, so that something lies below and above all that is coded."""

SHAPE_PER_SCALE = 16
SHAPE_RANGE = 24
SHAPE_CELLS = 2 * SHAPE_RANGE * SHAPE_PER_SCALE
"""The density's shape is a histogram over cells of 1/16 scale from -24 to 24 scales."""
SHAPE_BITS = 22

_PER_CELL = 1 << 12


def frequency_rows(shape: Ints) -> tuple[Ints, NDArray[np.float32]]:
    """Frequencies (SCALES, PHASES, COLUMNS) that sum to 2^24, and the centroid of each column's
    cell in steps from the cell's middle; 0 outside the window.
    """
    symbol = np.arange(-WINDOW, WINDOW + 2)
    phase = np.arange(PHASES)[:, None]
    edges = np.empty((SCALES, PHASES, len(symbol)), np.int64)
    scale = np.empty(SCALES)
    for index in range(SCALES):
        # One step is 2^-(index / 4 - 5) scales: 16 cells of 2^12 positions for each of them.
        octave, quarter = divmod(-LEAST_SCALE * SCALES_PER_OCTAVE - index, SCALES_PER_OCTAVE)
        fraction = octave_fraction(quarter * STEPS_PER_OCTAVE // SCALES_PER_OCTAVE)
        # Lower edges in 1/32 steps from the mean, which is in the middle of its phase.
        from_mean = 32 * symbol - 2 * phase - 1
        edges[index] = (from_mean * fraction << octave + 3) >> 12
        scale[index] = 2.0 ** (index / SCALES_PER_OCTAVE + LEAST_SCALE)
    total = SHAPE_CELLS * _PER_CELL
    edges = np.clip(edges + total // 2, 0, total)

    below = mass_below(shape, edges, _PER_CELL)
    ends = np.zeros((SCALES, PHASES, 2), np.int64)
    below = np.concatenate([ends, below, ends + (_PER_CELL << SHAPE_BITS)], axis=-1)
    free = (1 << FREQUENCY_BITS) - COLUMNS
    cumulative = np.arange(COLUMNS + 1) + (below * free >> SHAPE_BITS + 12)

    means = means_between(shape, edges, _PER_CELL) - total // 2
    in_steps = means / (SHAPE_PER_SCALE * _PER_CELL) * scale[:, None, None]
    middles = symbol[:-1] - (2 * phase - (PHASES - 1)) / (2 * PHASES)
    offsets = np.zeros((SCALES, PHASES, COLUMNS), np.float32)
    offsets[..., 2:-2] = np.nan_to_num(in_steps - middles)
    return np.diff(cumulative), np.clip(offsets, -0.5, 0.5)
