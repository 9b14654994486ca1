"""Histograms as densities: masses and means, against fractions and against a fine grid."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from codec.entropy.histogram import mass_below, means_between

HISTOGRAM = np.array([3, 1, 0, 5, 2], np.int64)
PER_CELL = 8


def by_position() -> list[Fraction]:
    """The mass of each of the 40 positions."""
    return [Fraction(int(count)) for count in HISTOGRAM for _ in range(PER_CELL)]


def test_mass_is_exact_at_every_position():
    positions = np.arange(len(HISTOGRAM) * PER_CELL + 1)
    expected = [sum(by_position()[:position]) for position in positions]
    assert mass_below(HISTOGRAM, positions, PER_CELL).tolist() == expected


def test_mass_is_exact_where_float64_is_not():
    histogram = np.array([1, (1 << 22) - 2, 1], np.int64)
    per_cell = 1 << 36
    found = mass_below(histogram, np.array([0, per_cell - 1, 2 * per_cell + 1]), per_cell)
    assert found.tolist() == [0, (1 << 36) - 1, ((1 << 22) - 1) * per_cell + 1]


def test_positions_may_have_any_shape():
    positions = np.array([[0, 8, 40], [3, 24, 25]])
    assert mass_below(HISTOGRAM, positions, PER_CELL).tolist() == [[0, 24, 88], [9, 32, 37]]
    assert means_between(HISTOGRAM, positions, PER_CELL).shape == (2, 2)


def test_means_are_those_of_the_positions_between():
    masses = by_position()
    edges = [0, 3, 8, 12, 15, 17, 30, 40]
    expected = []
    for low, high in pairwise(edges):
        inside = range(low, high)
        moment = sum(masses[i] * (i + Fraction(1, 2)) for i in inside)
        expected.append(float(moment / sum(masses[i] for i in inside)))
    found = means_between(HISTOGRAM, np.array(edges), PER_CELL)
    assert found == pytest.approx(np.array(expected), rel=1e-12)
    assert ((found >= edges[:-1]) & (found <= edges[1:])).all()


def test_the_mean_of_nothing_is_nan():
    found = means_between(HISTOGRAM, np.array([8, 8, 18, 22, 24]), PER_CELL)
    # No width; mass in [8, 18); then two stretches inside the empty cell.
    assert np.isnan(found).tolist() == [True, False, True, True]
