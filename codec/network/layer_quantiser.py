"""Coefficients of the waveform layer to symbols, and to coarser ones; without a network.

codec/network/waveform_layer.py says what they are over.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

ROUND_UP = 0.6
"""A value of so many steps becomes 1: less than half would, if only error counted, but zeros cost
next to nothing."""
SHRINK = 0.05
"""What a symbol stands for is nearer to zero than it says by this many steps."""

MAX_SYMBOL = 4000

STEPS_PER_OCTAVE, LEAST_STEP = 64, -12
STEP_INDICES = 1024
"""The factor of all steps of a block is 2^(index / 64 - 12)."""


def step_factor(step_index: int) -> float:
    """What multiplies all steps of a block with this index."""
    return 2.0 ** (step_index / STEPS_PER_OCTAVE + LEAST_STEP)


def index_of(factor: float) -> int:
    """The index of about this factor."""
    index = round((math.log2(max(factor, 1e-9)) - LEAST_STEP) * STEPS_PER_OCTAVE)
    return min(max(index, 0), STEP_INDICES - 1)


def quantise(values: NDArray[np.floating], factor: float) -> NDArray[np.int16]:
    """Coefficients over their unit steps to symbols."""
    steps = values.astype(np.float32) / np.float32(factor)
    steps += np.copysign(np.float32(1 - ROUND_UP), steps)
    return np.clip(steps, -MAX_SYMBOL, MAX_SYMBOL, out=steps).astype(np.int16)  # towards zero


def requantise(symbols: NDArray[np.integer], ratio: float) -> NDArray[np.int16]:
    """Symbols for steps that are ``ratio`` times as large."""
    size = np.maximum(np.abs(symbols.astype(np.int64)) - SHRINK, 0.0) / ratio
    return (np.sign(symbols) * np.floor(size + 1 - ROUND_UP)).astype(np.int16)
