"""Coefficients to bytes and back: exact, in about the bits that are said, and no others pass."""

from __future__ import annotations

import numpy as np
import pytest

from codec.entropy.coefficient_contexts import LARGEST
from codec.entropy.coefficient_tables import FREQUENCIES, SPLIT_FREQUENCIES, THRESHOLDS, WEIGHTS
from codec.entropy.coefficients import (
    BINS_UNIT,
    MAX_MAGNITUDE,
    cost_bits,
    decode,
    encode,
    without_zeros,
)
from codec.errors import FormatError


def made_up(streams: int, frames: int, bins: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Partials among zeros, and any splits."""
    rng = np.random.default_rng(seed)
    loud = rng.random((1, 1, bins)) < 0.1
    symbols = rng.laplace(size=(streams, frames, bins)) * np.where(loud, 4, 0.3)
    return symbols.round().astype(np.int16), rng.integers(0, 4, frames).astype(np.uint8)


SHAPES = [(1, 7, 32), (2, 5, 48), (3, 2, 16), (1, 1, 2), (2, 3, 0), (0, 2, 16)]


@pytest.mark.parametrize("shape", SHAPES)
def test_there_and_back(shape: tuple[int, int, int]) -> None:
    blocks = [made_up(*shape, seed=seed) for seed in range(3)]
    payloads = [encode(*block) for block in blocks]
    assert all(len(data) % 4 == 0 for data in payloads)
    decoded = decode(payloads, [shape] * 3)
    for (expected, split), (found, found_split) in zip(blocks, decoded, strict=True):
        assert np.array_equal(found, expected)
        assert np.array_equal(found_split, split)
        bits = cost_bits(expected, split)
        assert -1 <= len(encode(expected, split)) * 8 - bits <= 64


def test_blocks_of_several_lengths_and_widths_side_by_side() -> None:
    shapes = [(2, 7, 32), (2, 3, 64), (2, 5, 0), (2, 7, 16)]
    blocks = [made_up(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    decoded = decode([encode(*block) for block in blocks], shapes)
    for (expected, split), (found, found_split) in zip(blocks, decoded, strict=True):
        assert np.array_equal(found, expected)
        assert np.array_equal(found_split, split)


def test_the_largest_symbols_and_no_larger_ones() -> None:
    symbols, split = made_up(2, 3, 16)
    symbols[0, 0, 0], symbols[1, 2, 15] = -MAX_MAGNITUDE, MAX_MAGNITUDE
    symbols[0, 1, :3] = LARGEST, -LARGEST, LARGEST - 1
    [(found, _)] = decode([encode(symbols, split)], [symbols.shape])
    assert np.array_equal(found, symbols)
    symbols[0, 0, 0] -= 1
    with pytest.raises(ValueError, match="take a coarser step"):
        encode(symbols, split)


def test_a_repeated_pattern_and_a_likeness_of_mid_cost_less() -> None:
    rng = np.random.default_rng(0)
    row = (rng.random(256) < 0.1) * 3
    lasting = np.broadcast_to(row, (1, 40, 256)).astype(np.int16)
    shuffled = np.stack([rng.permutation(row) for _ in range(40)])[None].astype(np.int16)
    split = np.zeros(40, np.uint8)
    assert cost_bits(lasting, split) < 0.7 * cost_bits(shuffled, split)
    twice = np.concatenate([shuffled, shuffled])
    apart = np.concatenate([shuffled, shuffled[:, ::-1]])
    assert cost_bits(twice, split) < 0.92 * cost_bits(apart, split)


def test_bytes_of_another_shape_are_refused_or_decode_to_something_of_this_one() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        data = rng.integers(0, 256, 4 * int(rng.integers(0, 12)), dtype=np.uint8).tobytes()
        try:
            [(symbols, split)] = decode([data], [(2, 3, 16)])
        except FormatError as error:
            message = str(error)
        else:
            message = "damaged or forged" if split.max() <= 3 else "no such split"
            assert np.abs(symbols.astype(int)).max() <= MAX_MAGNITUDE
        assert "damaged or forged" in message
    with pytest.raises(FormatError, match="multiple of 4"):
        decode([b"abc"], [(1, 1, 2)])


def test_zeros_above_are_left_out_in_whole_units() -> None:
    symbols = np.zeros((2, 3, 64), np.int16)
    assert without_zeros(symbols).shape == (2, 3, 0)
    symbols[1, 2, 0] = 1
    assert without_zeros(symbols).shape == (2, 3, BINS_UNIT)
    symbols[0, 0, BINS_UNIT] = 1
    assert without_zeros(symbols).shape == (2, 3, 2 * BINS_UNIT)


def test_tables_are_those_of_a_range_coder() -> None:
    for table in (FREQUENCIES, SPLIT_FREQUENCIES):
        assert (table > 0).all()
        assert (table.sum(axis=1) == (1 << 24) - 2).all()
    assert len(FREQUENCIES) == len(THRESHOLDS) + 1
    assert (np.diff(THRESHOLDS) > 0).all()
    assert len(WEIGHTS) == 4
    expected = FREQUENCIES @ np.arange(LARGEST + 1)
    assert (np.diff(expected) > 0).all()


def test_golden_bytes() -> None:
    """These fix the format: tables, order of coding, contexts."""
    symbols = ((np.arange(2 * 3 * 16) * 7919 % 11 - 5) // 2).reshape(2, 3, 16).astype(np.int16)
    symbols[1, 1, 3] = -20
    assert encode(symbols, np.array([0, 2, 3])).hex() == GOLDEN


GOLDEN = (
    "ad9043c9d12822535defb19f210f2861f1d75833935071038d80849ea78b68e6"
    "cffa636bf4fb83a4ff6df2fd684a0f4bfdf4b0dc31618db5c619ee61"
)
