"""The integer network of the context model: from the neighbours of a symbol to its prediction.

Nothing depends on how a machine rounds. The network's inputs, weights and activations are
integers; they are multiplied in float64, where every product and every sum stays far below 2^53
and is exact in any order, with or without fused multiply-add, in any BLAS library.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.entropy.context_rows import LEAST_SCALE, PHASES, SCALES, SHAPE_BITS, SHAPE_CELLS
from codec.entropy.quantise import UNITS, symbol_limits
from codec.entropy.waves import Floats, Ints, Waves, input_count
from codec.errors import CheckpointError

HIDDEN = 32
ONE = 1 << 10
"""Inputs and activations are multiples of 2^-10 (standard units, octaves)."""
WEIGHT_ONE = 1 << 12
"""Weights are multiples of 2^-12, biases of 2^-22."""
MAX_ACTIVATION = 8 * ONE
SYMBOLS_AT_ONCE = 1 << 11
"""Inputs of so many symbols are held in memory, 4 MB with 64 latents: more leave the caches."""


def array_shapes(latent_dim: int) -> dict[str, tuple[type, tuple[int, ...]]]:
    """The arrays that make up a model: name -> (dtype, shape)."""
    return {
        "weight1": (np.int16, (latent_dim, input_count(latent_dim), HIDDEN)),
        "bias1": (np.int32, (latent_dim, HIDDEN)),
        "weight2": (np.int16, (latent_dim, HIDDEN, HIDDEN)),
        "bias2": (np.int32, (latent_dim, HIDDEN)),
        "weight3": (np.int16, (latent_dim, HIDDEN, 2)),
        "bias3": (np.int32, (latent_dim, 2)),
        "shape": (np.int32, (SHAPE_CELLS,)),
    }


@dataclass(frozen=True)
class Prediction:
    """What the network says about symbols; all three arrays are of their shape."""

    nearest: Ints
    """The symbol in whose cell the mean lies."""
    phase: Ints
    """Where in that cell: 0 at its lower end, 8 in the middle, 15 near its upper end."""
    scale: Ints
    """Width of the density: 0..32 for 2^(scale / 4 - 5) steps."""


class ContextNetwork:
    """A small network for each latent channel, in integers."""

    def __init__(self, arrays: dict[str, NDArray[Any]], latent_dim: int) -> None:
        """Raises CheckpointError: the arrays are not those of ``array_shapes``."""
        _check_arrays(arrays, latent_dim)
        self.latent_dim = latent_dim
        # Over 2^12, a power of two: products keep all their bits, and need no division later.
        self._weights = [arrays[f"weight{i}"] / WEIGHT_ONE for i in (1, 2, 3)]
        self._biases = [arrays[f"bias{i}"][:, None] / WEIGHT_ONE for i in (1, 2, 3)]

    def __call__(self, inputs: Floats, first: int = 0) -> Floats:
        """(channels, n, input_count) integers -> mean and log2 of the scale, (channels, n, 2).

        In units of 2^-10: of a standard unit, and of an octave. ``first`` is the first of the
        latent channels.
        """
        x, channels = inputs, slice(first, first + len(inputs))
        for weight, bias in zip(self._weights, self._biases, strict=True):
            if x is not inputs:
                np.minimum(np.maximum(x, 0, out=x), MAX_ACTIVATION, out=x)
            x = x @ weight[channels]
            x += bias[channels]
            np.floor(x, out=x)
        return x

    def predict(self, inputs: Floats, at: StepUnits, lanes: slice) -> Prediction:
        """(channels, streams, n, input_count) -> predictions (lanes, n) of these lanes, which are
        those of the streams, or of a part of one.
        """
        channels, _, n, count = inputs.shape
        # One matrix product for each latent channel, all streams together.
        outputs = self(inputs.reshape(channels, -1, count), lanes.start % self.latent_dim)
        by_stream = outputs.reshape(channels, -1, n, 2).swapaxes(0, 1)
        return at.prediction(by_stream.reshape(-1, n, 2), lanes)


def network_inputs(symbols: NDArray[np.integer], steps: NDArray[np.float64]) -> Iterator[Floats]:
    """What the network sees of each symbol's neighbours, in units of 2^-10.

    For a block's symbols (streams, latent_dim, frames) and the steps (streams, latent_dim) they
    were quantised with: arrays (latent_dim, streams, n, inputs) whose ``n`` add up to all frames.
    """
    streams, latent_dim, frames = symbols.shape
    at = StepUnits(steps)
    waves = Waves(1, (streams, latent_dim, frames), at.log2_inputs, ONE)
    waves.store(at.values(symbols.reshape(-1, frames).astype(np.int64), slice(None)))
    size = max(1, SYMBOLS_AT_ONCE // max(1, waves.lanes))
    for first in range(0, frames, size):
        yield waves.inputs(first, min(frames, first + size))


class StepUnits:
    """Between symbols and the network's integers at the steps (streams, latent_dim) of a block."""

    def __init__(self, steps: NDArray[np.float64]) -> None:
        units = np.rint(steps.reshape(-1) * UNITS).astype(np.int64)
        # floor(16 log2(units)), exactly: the bit length of the 16th power.
        log2 = np.array([(int(u) ** 16).bit_length() - 1 for u in units])
        over = (log2 - 16 * 20) + 16 * LEAST_SCALE - 2  # 2: to round to the nearest quarter octave
        self._units, self._limit, self._over = (
            x[:, None].astype(np.float64) for x in (units, symbol_limits(steps.reshape(-1)), over)
        )
        self.log2_inputs = ((log2 - 16 * 20) * (ONE // 16)).astype(np.float64)

    def values(self, symbols: Ints, lanes: slice) -> Floats:
        """Symbols (lanes, n) as values in units of 2^-10."""
        return np.floor((symbols * self._units[lanes] + (1 << 9)) / (1 << 10))

    def prediction(self, outputs: Floats, lanes: slice) -> Prediction:
        """From means in 2^-10 standard units and scales in 2^-10 octaves, (lanes, n, 2).

        All numbers are far below 2^53 and divisors below 2^25, so quotients round down right.
        """
        units, limit = self._units[lanes], self._limit[lanes]
        # Half a step is added so that dividing rounds down to the cell the mean lies in.
        place = np.floor((outputs[..., 0] * (PHASES << 10) + units * (PHASES // 2)) / units)
        nearest = np.minimum(np.maximum(np.floor(place / PHASES), -limit), limit)
        phase = np.minimum(np.maximum(place - nearest * PHASES, 0), PHASES - 1)
        scale = np.floor((np.floor(outputs[..., 1] / (ONE // 16)) - self._over[lanes]) / 4)
        scale = np.minimum(np.maximum(scale, 0), SCALES - 1)
        return Prediction(*(x.astype(np.int64) for x in (nearest, phase, scale)))


def _check_arrays(arrays: dict[str, NDArray[Any]], latent_dim: int) -> None:
    expected = array_shapes(latent_dim)
    actual = {name: (array.dtype.type, array.shape) for name, array in arrays.items()}
    if actual != expected:
        wrong = sorted(
            name for name in {*actual, *expected} if actual.get(name) != expected.get(name)
        )
        raise CheckpointError(
            f"the context model's {wrong} are {[actual.get(name) for name in wrong]}, expected "
            f"{[expected.get(name) for name in wrong]}; fetch the checkpoint again"
        )
    shape = arrays["shape"].astype(np.int64)
    if shape.min() < 1 or shape.sum() != 1 << SHAPE_BITS:
        raise CheckpointError(
            f"the context model's shape sums to {shape.sum()} with a least count of "
            f"{shape.min()}, expected 2^{SHAPE_BITS} and at least 1; fetch the checkpoint again"
        )
