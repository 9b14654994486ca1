"""The context model's rows of frequencies: complete, the integers of the format, in place."""

from __future__ import annotations

import numpy as np
import pytest
from context_helpers import MODEL, book

from codec.entropy.context_rows import COLUMNS, PHASES, SCALES, WINDOW


def test_every_row_of_frequencies_is_complete():
    assert MODEL.frequencies.shape == (SCALES, PHASES, COLUMNS)
    assert MODEL.frequencies.min() >= 1
    assert (MODEL.frequencies.sum(-1) == 1 << 24).all()
    assert (MODEL.frequencies[..., [0, -1]] == 1).all()


def test_rows_are_the_integers_of_the_format():
    decoder = book(240, 1)
    for scale in range(SCALES):
        for phase in range(PHASES):
            expected = np.diff(decoder.cumulative(phase, scale))
            assert MODEL.frequencies[scale, phase].tolist() == expected.tolist()


def test_rows_lie_where_the_mean_is_and_are_as_wide_as_the_scale():
    symbol = np.arange(COLUMNS) - WINDOW - 2
    share = MODEL.frequencies / (1 << 24)
    for scale in (20, 24):  # scales of 1 and 2 steps: all of the density is in the window
        assert share[scale] @ symbol == pytest.approx((2 * np.arange(PHASES) - 15) / 32, abs=0.005)
    # The fixed shape, (1 + x^2)^-2, has standard deviation 1.
    variance = share[:, 8] @ symbol**2
    assert variance[20] == pytest.approx(1, rel=0.1)
    assert variance[24] == pytest.approx(4, rel=0.1)


def test_golden_frequencies():
    row = MODEL.frequencies[22, 5].tolist()
    assert row[:3] == [1, 1, 1]
    assert row[WINDOW : WINDOW + 5] == [1127225, 4224234, 6853622, 2894586, 740437]
