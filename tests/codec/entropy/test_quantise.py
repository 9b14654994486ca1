from decimal import Decimal

import numpy as np
import pytest
from codec_helpers import cell_bounds

from codec.entropy.quantise import (
    RANGE,
    STEP_INDICES,
    UNITS,
    dequantise,
    nearest_step,
    octave_fraction,
    quantise,
    step_multiple,
    step_sizes,
    symbol_limits,
)

SIGMA_UNITS = np.array([0.05 * UNITS, 0.3 * UNITS, 0.9 * UNITS]).astype(np.int32)


def test_multiples_follow_the_power_law():
    for index in range(STEP_INDICES):
        assert step_multiple(index) == pytest.approx(2 ** (index / 96) / 4, rel=1e-6)


def test_fractions_are_the_rounded_powers():
    for k in range(96):
        power = Decimal(2) ** (Decimal(k) / 96) * 2**20
        assert octave_fraction(k) == int(power.to_integral_value())


def test_steps_are_pinned():
    # Exact integers in units of 2^-20: a file's symbols mean nothing without them.
    units = {i: (step_sizes(SIGMA_UNITS, i) * UNITS).tolist() for i in (0, 197, 641, 1023)}
    assert units == {
        0: [13107.0, 78643.0, 235930.0],
        197: [54355.0, 326136.0, 978410.0],
        641: [1341237.0, 8047525.0, 16777216.0],
        1023: [16777216.0] * 3,
    }


@pytest.mark.parametrize("index", [-1, 1024])
def test_step_index_outside_the_range_is_refused(index):
    with pytest.raises(ValueError, match=r"expected 0\.\.1023"):
        step_multiple(index)


def test_steps_are_clamped_so_that_symbols_fit_int16():
    finest = step_sizes(np.array([1], dtype=np.int32), 0)
    coarsest = step_sizes(np.array([16 * UNITS], dtype=np.int32), 1023)
    assert finest.tolist() == [1 / 256]
    assert coarsest.tolist() == [16.0]
    assert symbol_limits(finest).tolist() == [3072]
    assert symbol_limits(coarsest).tolist() == [1]


def test_nearest_cell_halves_to_even_and_clamped():
    step = np.array([0.5])
    latents = np.array([[0.24, 0.25, 0.26, 0.75, -0.25, -0.75, 1e9, -np.inf]], dtype=np.float32)
    assert quantise(latents, step).tolist() == [[0, 0, 1, 2, 0, -2, 24, -24]]
    assert quantise(latents, step).dtype == np.int16


@pytest.mark.parametrize("index", [0, 240, 441, 800])
def test_error_is_at_most_half_a_step(index):
    step = step_sizes(SIGMA_UNITS, index)
    latents = np.linspace(-RANGE, RANGE, 3 * 997, dtype=np.float32).reshape(1, 3, 997)
    symbols = quantise(latents, step)
    assert (np.abs(symbols * step[:, None] - latents) <= step[:, None] * 0.500001).all()
    lower, upper = cell_bounds(symbols, step)
    assert (lower - 1e-6 <= latents).all()
    assert (latents <= upper + 1e-6).all()


@pytest.mark.parametrize("units", [8 * UNITS, 45673, 867787, 1324517, 4096, 16 * UNITS, UNITS + 1])
def test_the_last_symbol_is_exactly_the_first_whose_cell_reaches_the_range(units):
    """The first four steps, in 2^-20, are those whose cells end at the range or one unit short."""
    k = 1
    while (2 * k + 1) * units < 2 * RANGE * UNITS:
        k += 1
    assert symbol_limits(np.array([units / UNITS])).tolist() == [k]


def test_dequantise_has_symbol_zero_in_the_middle():
    centroids = np.arange(-3, 4, dtype=np.float32)[None]
    symbols = np.arange(-3, 4)[None]
    assert dequantise(symbols, centroids).tolist() == symbols.tolist()
    with pytest.raises(ValueError, match=r"expected -3\.\.3"):
        dequantise(symbols - 1, centroids)


def test_dequantise_looks_up_each_channels_row():
    centroids = np.array([[-1, 0, 1], [-20, 5, 20]], dtype=np.float32)
    symbols = np.array([[[1, 0], [-1, 0]]], dtype=np.int16)
    assert dequantise(symbols, centroids).tolist() == [[[1, 0], [-20, 5]]]


def test_bad_input_is_named():
    step = np.array([0.5, 0.5])
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 2, frames\)"):
        quantise(np.zeros((3, 4)), step)
    with pytest.raises(ValueError, match="NaN"):
        quantise(np.full((2, 4), np.nan), step)
    with pytest.raises(ValueError, match=r"expected -1\.\.1"):
        dequantise(np.array([[2]]), np.zeros((1, 3), dtype=np.float32))
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 1, frames\)"):
        dequantise(np.array([[0], [0]]), np.zeros((1, 3), dtype=np.float32))


def test_nearest_step():
    assert nearest_step(1.0) == 192
    assert nearest_step(2.0) == 288
    assert nearest_step(1e9) == 1023
    assert nearest_step(0.0) == 0
