"""Context model: the probability of a symbol, given the symbols that are decoded already.

A static table (static_tables.py) knows how often a value occurs. Its neighbours tell much more:
the same channel a moment ago, the other channels of this frame, the other side of a stereo pair
(waves.py says which). For each latent channel a small network turns them into a mean and a scale,
which select one row of a table of frequencies.

Nothing depends on how a machine rounds. The network's inputs, weights and activations are
integers; they are multiplied in float64, where every product and every sum stays far below 2^53
and is exact in any order, with or without fused multiply-add, in any BLAS library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from constriction import stream
from numpy.typing import NDArray

from codec.entropy.histogram import mass_below, means_between
from codec.entropy.quantise import STEPS_PER_OCTAVE, UNITS, octave_fraction, symbol_limits
from codec.entropy.static_tables import (
    FREQUENCY_BITS,
    EntropyTables,
    check_symbols,
    not_ours,
    range_decoder,
)
from codec.entropy.waves import Floats, Ints, Waves, coding_order, input_count
from codec.errors import CheckpointError, FormatError

HIDDEN = 32
ONE = 1 << 10
"""Inputs and activations are multiples of 2^-10 (standard units, octaves)."""
WEIGHT_ONE = 1 << 12
"""Weights are multiples of 2^-12, biases of 2^-22."""
MAX_ACTIVATION = 8 * ONE

PHASES = 16
"""The mean is rounded to 1/16 of a step."""
SCALES_PER_OCTAVE, LEAST_SCALE, SCALES = 4, -5, 33
"""The scale is rounded to a quarter of an octave, from 2^-5 to 2^3 steps."""
WINDOW = 40
"""Symbols up to this far from the mean's own have a frequency; others take an escape."""
COLUMNS = 2 * WINDOW + 5
"""Of a row of frequencies: unused, escape below, the window, escape above, unused. The unused
ones have frequency 1, so that something lies below and above all that is coded."""
ESCAPE_BITS = 13
SYMBOLS_AT_ONCE = 1 << 14
"""Inputs of this many symbols are held in memory: 10 MB with 16 latents, 35 MB with 64."""

SHAPE_PER_SCALE = 16
SHAPE_RANGE = 24
SHAPE_CELLS = 2 * SHAPE_RANGE * SHAPE_PER_SCALE
"""The density's shape is a histogram over cells of 1/16 scale from -24 to 24 scales."""
SHAPE_BITS = 22

_THREE = stream.model.Categorical(perfect=False)
_ROW = stream.model.Categorical(perfect=False)
_ESCAPE = stream.model.Uniform(1 << ESCAPE_BITS)


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
    """Of the density: 0..32 for 2^(scale / 4 - 5) steps."""


class ContextModel:
    """The integer network of a model's latents, and the frequencies it selects from."""

    def __init__(self, arrays: dict[str, NDArray[Any]], tables: EntropyTables) -> None:
        """``tables`` have the quantiser's steps.

        Raises:
            CheckpointError: the arrays are not those of ``array_shapes``.
        """
        self.latent_dim = tables.latent_dim
        _check_arrays(arrays, self.latent_dim)
        self.arrays = arrays
        self._tables = tables
        # Over 2^12, a power of two: products keep all their bits, and need no division later.
        self._weights = [arrays[f"weight{i}"] / WEIGHT_ONE for i in (1, 2, 3)]
        self._biases = [arrays[f"bias{i}"][:, None] / WEIGHT_ONE for i in (1, 2, 3)]
        self.frequencies, self.offsets = _tables(arrays["shape"].astype(np.int64))
        self._below = np.cumsum(self.frequencies, axis=-1) - self.frequencies
        # Less one, since constriction adds one to every frequency: see static_tables.py.
        self._rows = (self.frequencies - 1).astype(np.float64)

    def steps(self, step_index: int) -> NDArray[np.float64]:
        """The quantiser step of every latent channel, (latent_dim,), in standard units."""
        return self._tables.steps(step_index)

    def network(self, inputs: Floats) -> Floats:
        """(latent_dim, n, input_count) integers -> mean and log2 of the scale, (latent_dim, n, 2).

        In units of 2^-10: of a standard unit, and of an octave.
        """
        x = inputs
        for weight, bias in zip(self._weights, self._biases, strict=True):
            if x is not inputs:
                np.minimum(np.maximum(x, 0, out=x), MAX_ACTIVATION, out=x)
            x = x @ weight
            x += bias
            np.floor(x, out=x)
        return x

    def predict(self, symbols: NDArray[np.integer], step_index: int) -> Prediction:
        """The prediction of every symbol of a block (streams, latent_dim, frames)."""
        at = _StepUnits(self.steps(step_index), len(symbols))
        parts = [
            self._predict(inputs, at, slice(None))
            for inputs in network_inputs(symbols, self.steps(step_index))
        ]
        return Prediction(
            *(
                np.concatenate([getattr(part, name) for part in parts], 1).reshape(symbols.shape)
                for name in ("nearest", "phase", "scale")
            )
        )

    def encode(self, symbols: NDArray[np.integer], step_index: int) -> bytes:
        """The bytes of a block's symbols (streams, latent_dim, frames), a multiple of 4.

        Raises:
            ValueError: the shape does not fit, or a symbol exceeds its channel's limit.
        """
        below, size = self._intervals(symbols, step_index)
        encoder = stream.queue.RangeEncoder()
        if size.size:
            # To a range coder a symbol is the mass below it and its own: three columns suffice.
            rows = np.stack([below, size, (1 << FREQUENCY_BITS) - below - size], axis=1) - 1
            encoder.encode(np.ones(len(rows), np.int32), _THREE, rows.astype(np.float64))
        return encoder.get_compressed().astype("<u4").tobytes()

    def cost_bits(self, symbols: NDArray[np.integer], step_index: int) -> float:
        """The information in a block's symbols in bits, within about 33 bits of ``encode``."""
        _, size = self._intervals(symbols, step_index)
        return float((FREQUENCY_BITS - np.log2(size)).sum())

    def decode(
        self,
        payloads: list[bytes],
        shape: tuple[int, int, int],
        step_index: int,
    ) -> NDArray[np.int16]:
        """The symbols (blocks, streams, latent_dim, frames) of blocks of one shape and step.

        Several blocks at once take much less time than one by one, and give the same symbols.

        Raises:
            FormatError: the bytes cannot come from this model, step and shape.
        """
        decoders = [range_decoder(data) for data in payloads]

        def decoded(found: Prediction, lanes: slice, wave: int) -> Ints:
            symbols = found.nearest
            for block, decoder in enumerate(decoders):
                rows = self._rows[found.scale[:, block], found.phase[:, block]]
                away = decoder.decode(_ROW, rows) - (WINDOW + 2)
                escaped = np.abs(away) > WINDOW
                if escaped.any():
                    for i in np.flatnonzero(escaped):
                        further = int(decoder.decode(_ESCAPE)) - 1
                        if further < 0 or abs(away[i]) > WINDOW + 1:  # which is never coded
                            raise FormatError(not_ours(payloads, shape))
                        away[i] += further if away[i] > 0 else -further
                symbols[:, block] += away
            return symbols

        try:
            symbols = self.scan(len(payloads), shape, step_index, decoded)
        except AssertionError as error:  # constriction's way of saying "no such bytes"
            raise FormatError(not_ours(payloads, shape)) from error
        limit = symbol_limits(self.steps(step_index))[:, None]
        left_over = not all(decoder.maybe_exhausted() for decoder in decoders)
        if left_over or (np.abs(symbols) > limit).any():
            raise FormatError(not_ours(payloads, shape))
        return symbols.astype(np.int16)

    def scan(
        self,
        blocks: int,
        shape: tuple[int, int, int],
        step_index: int,
        choose: Callable[[Prediction, slice, int], Ints],
    ) -> Ints:
        """Go through blocks of ``shape`` (streams, latent_dim, frames) wave by wave.

        ``choose(prediction, lanes, wave)`` gives the symbols (lanes, blocks) of a wave's lanes;
        lane ``l`` is at frame ``wave - l``. Returns all of them, (blocks, *shape).
        """
        at = _StepUnits(self.steps(step_index), shape[0])
        waves = Waves(blocks, shape, at.log2_inputs, ONE)
        symbols = np.zeros((waves.lanes, shape[2], blocks), np.int64)
        for wave in range(waves.count):
            lanes = waves.members(wave)
            streams = waves.streams_of(lanes)  # the network takes whole ones
            found = self._predict(waves.wave_inputs(wave), at, streams)
            members = slice(lanes.start - streams.start, lanes.stop - streams.start)
            found = Prediction(found.nearest[members], found.phase[members], found.scale[members])
            chosen = choose(found, lanes, wave)
            rows = waves.rows[lanes]
            symbols[rows, wave - rows] = chosen
            waves.store_wave(wave, at.values(chosen, lanes))
        return np.moveaxis(symbols, 2, 0).reshape(blocks, *shape)

    def dequantise(self, symbols: NDArray[np.integer], step_index: int) -> NDArray[np.float32]:
        """Each symbol's latent in standard units: the mean of its predicted density in its cell."""
        if symbols.size == 0:
            return symbols.astype(np.float32)
        found = self.predict(symbols, step_index)
        column = np.clip(symbols - found.nearest + WINDOW + 2, 0, COLUMNS - 1)
        offset = self.offsets[found.scale, found.phase, column]
        return ((symbols + offset) * self.steps(step_index)[:, None]).astype(np.float32)

    def _predict(self, inputs: Floats, at: _StepUnits, lanes: slice) -> Prediction:
        """(lanes, n, input_count) -> predictions (lanes, n); lanes of whole streams."""
        rows, n, width = inputs.shape
        # One matrix product for each latent channel, all streams together.
        by_channel = inputs.reshape(-1, self.latent_dim, n, width).swapaxes(0, 1)
        outputs = self.network(by_channel.reshape(self.latent_dim, -1, width))
        outputs = outputs.reshape(self.latent_dim, -1, n, 2).swapaxes(0, 1).reshape(rows, n, 2)
        return at.prediction(outputs, lanes)

    def _intervals(self, symbols: NDArray[np.integer], step_index: int) -> tuple[Ints, Ints]:
        """Mass below and of each thing to code, in order: the symbols of a wave, and then how far
        those lie that took an escape.
        """
        check_symbols(symbols, symbol_limits(self.steps(step_index)))
        if symbols.size == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        found = self.predict(symbols, step_index)
        order, wave_ends = coding_order(*symbols.shape)
        away = (symbols.astype(np.int64) - found.nearest).ravel()[order]
        scale, phase = found.scale.ravel()[order], found.phase.ravel()[order]
        column = np.clip(away, -WINDOW - 1, WINDOW + 1) + WINDOW + 2
        below, size = (x[scale, phase, column] for x in (self._below, self.frequencies))
        escapes = np.flatnonzero(np.abs(away) > WINDOW)
        escape_size = 1 << (FREQUENCY_BITS - ESCAPE_BITS)
        # One more than the distance from the escape's own symbol, so that something lies below.
        further = (np.abs(away[escapes]) - WINDOW) * escape_size
        after = wave_ends[escapes]
        return np.insert(below, after, further), np.insert(size, after, escape_size)


def network_inputs(symbols: NDArray[np.integer], steps: NDArray[np.float64]) -> Iterator[Floats]:
    """What the network sees of each symbol's neighbours, in units of 2^-10.

    For a block's symbols (streams, latent_dim, frames) and the steps (latent_dim,) they were
    quantised with: arrays (streams * latent_dim, n, inputs) whose ``n`` add up to all frames.
    """
    streams, latent_dim, frames = symbols.shape
    at = _StepUnits(steps, streams)
    waves = Waves(1, (streams, latent_dim, frames), at.log2_inputs, ONE)
    waves.store(at.values(symbols.reshape(-1, frames).astype(np.int64), slice(None)))
    size = max(1, SYMBOLS_AT_ONCE // max(1, waves.lanes))
    for first in range(0, frames, size):
        yield waves.inputs(first, min(frames, first + size))


class _StepUnits:
    """Between symbols and the network's integers at one step, for a number of streams."""

    def __init__(self, steps: NDArray[np.float64], streams: int) -> None:
        units = np.rint(steps * UNITS).astype(np.int64)
        # floor(16 log2(units)), exactly: the bit length of the 16th power.
        log2 = np.array([(int(u) ** 16).bit_length() - 1 for u in units])
        over = (log2 - 16 * 20) + 16 * LEAST_SCALE - 2  # 2: to round to the nearest quarter octave
        self._units, self._limit, self._over = (
            np.tile(x, streams)[:, None].astype(np.float64)
            for x in (units, symbol_limits(steps), over)
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


_PER_CELL = 1 << 12


def _tables(shape: Ints) -> tuple[Ints, NDArray[np.float32]]:
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


def _check_arrays(arrays: dict[str, NDArray[Any]], latent_dim: int) -> None:
    expected = array_shapes(latent_dim)
    found = {name: (array.dtype.type, array.shape) for name, array in arrays.items()}
    if found != expected:
        wrong = sorted(
            name for name in {*found, *expected} if found.get(name) != expected.get(name)
        )
        raise CheckpointError(
            f"the context model's {wrong} are {[found.get(name) for name in wrong]}, expected "
            f"{[expected.get(name) for name in wrong]}; fetch the checkpoint again"
        )
    shape = arrays["shape"].astype(np.int64)
    if shape.min() < 1 or shape.sum() != 1 << SHAPE_BITS:
        raise CheckpointError(
            f"the context model's shape sums to {shape.sum()} with a least count of "
            f"{shape.min()}, expected 2^{SHAPE_BITS} and at least 1; fetch the checkpoint again"
        )
