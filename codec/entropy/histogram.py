"""Densities as integer histograms: exact masses, for coders, and moments, for decoders.

A position counts parts of a histogram's cells: there are ``per_cell`` of them to a cell, and
position 0 is the lower end of cell 0. Within a cell the density is constant.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def mass_below(histogram: Ints, positions: Ints, per_cell: int) -> Ints:
    """Mass below each position, exact: counts times positions per cell.

    ``histogram`` (cells,), ``positions`` of any shape, 0 to cells * per_cell.
    """
    cell, inside = np.divmod(positions, per_cell)
    cumulative = np.concatenate([[0], np.cumsum(histogram)])
    return cumulative[cell] * per_cell + np.append(histogram, 0)[cell] * inside


def means_between(histogram: Ints, edges: Ints, per_cell: int) -> NDArray[np.float64]:
    """The density's mean position between neighbours along the last axis of ``edges``.

    float64, because no symbol depends on it. NaN where two edges are equal.
    """
    cell, inside = np.divmod(edges, per_cell)
    middles = (np.arange(len(histogram)) + 0.5) * per_cell
    cumulative = np.concatenate([[0.0], np.cumsum(histogram * float(per_cell) * middles)])
    within = np.append(histogram, 0)[cell] * (inside * (cell * float(per_cell) + inside / 2))
    mass = np.diff(mass_below(histogram, edges, per_cell), axis=-1)
    moment = np.diff(cumulative[cell] + within, axis=-1)
    with np.errstate(invalid="ignore"):
        return np.where(mass > 0, moment / np.maximum(mass, 1), np.nan)
