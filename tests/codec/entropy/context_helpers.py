"""A fixed context model, symbols for it, and the second decoder at its side."""

from __future__ import annotations

import by_the_book
import numpy as np
from golden_coder import fixed_context, fixed_symbols, fixed_tables

from codec.entropy.quantise import symbol_limits

MODEL = fixed_context()
INDICES = [0, 100, 240, 400, 620, 1023]


def symbols_at(index: int, shape: tuple[int, int, int] = (2, 4, 40)) -> np.ndarray:
    return fixed_symbols(shape, symbol_limits(MODEL.stream_steps(index, 1)[0]))


def book(index: int, streams: int) -> by_the_book.ContextDecoder:
    sigma_units = fixed_tables(4).sigma_units.tolist()
    return by_the_book.ContextDecoder(MODEL.arrays, sigma_units, index, streams)
