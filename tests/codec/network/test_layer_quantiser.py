"""Symbols of the waveform layer: what becomes one, what is made coarser, and steps by index."""

from __future__ import annotations

import numpy as np
import pytest

from codec.network.layer_quantiser import (
    MAX_SYMBOL,
    STEP_INDICES,
    index_of,
    quantise,
    requantise,
    step_factor,
)


def test_steps_double_every_64_indices_from_a_4096th() -> None:
    assert step_factor(0) == 2**-12
    assert step_factor(768) == 1.0
    assert step_factor(832) == 2.0
    assert step_factor(STEP_INDICES - 1) == pytest.approx(16 * 2 ** (-1 / 64))


def test_every_index_is_that_of_its_factor_and_others_go_to_the_nearest_end() -> None:
    assert [index_of(step_factor(i)) for i in range(STEP_INDICES)] == list(range(STEP_INDICES))
    assert index_of(step_factor(500) * 2 ** (0.4 / 64)) == 500
    assert index_of(step_factor(500) * 2 ** (0.6 / 64)) == 501
    assert index_of(0.0) == index_of(2**-13) == 0
    assert index_of(1e6) == 1023


def test_symbols_of_either_sign_are_rounded_up_from_0_6() -> None:
    values = np.array([0.0, 0.59, 0.61, 1.0, 1.59, 1.61, -0.59, -0.61, -1.61])
    expected = [0, 0, 1, 1, 1, 2, 0, -1, -2]
    symbols = quantise(values, 1.0)
    assert symbols.dtype == np.int16
    assert symbols.tolist() == expected
    assert quantise(values * 0.25, 0.25).tolist() == expected


def test_symbols_end_at_the_largest() -> None:
    assert MAX_SYMBOL == 4000
    assert quantise(np.array([4000.5, 1e9, -1e9]), 1.0).tolist() == [4000, 4000, -4000]
    assert quantise(np.array([3999.4]), 1.0).tolist() == [3999]


def test_coarser_symbols_are_those_of_what_the_finer_stand_for() -> None:
    """A symbol n stands for n - 0.05 steps, which is then quantised with the larger step."""
    symbols = np.arange(-9, 10)
    for ratio in (2.0, 3.0, 2**0.5, 1.6):
        stands_for = np.sign(symbols) * np.maximum(np.abs(symbols) - 0.05, 0)
        coarser = requantise(symbols.astype(np.int16), ratio)
        assert coarser.dtype == np.int16
        assert coarser.tolist() == quantise(stands_for, ratio).tolist()
    # 0.95 of 1.6 steps is 0.59, less than 0.6: the twentieth of a step counts.
    assert requantise(np.array([1, -1, 2]), 1.6).tolist() == [0, 0, 1]
    assert requantise(np.array([1, 2, 3, -2, 0]), 2.0).tolist() == [0, 1, 1, -1, 0]
    assert requantise(np.array([-32768], np.int16), 8.0).tolist() == [-4096]
