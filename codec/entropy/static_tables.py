"""Static entropy model: one integer density per latent channel, for every step.

Files of models that have no context model (context_model.py) are coded with it.

A density is a histogram on a fixed grid. From it the frequency table of any quantiser step is
derived with integer arithmetic alone, so every machine derives the same table, and constriction's
range coder turns symbols into bytes.

Exact frequencies in constriction: its coder works on frequencies that sum to 2^24, but its
``Categorical`` model takes floats. With ``perfect=False`` it computes the left edge of symbol
``i`` among ``n`` as ``trunc(scale * sum(p[:i])) + i``, where ``scale = (2^24 - n) / sum(p)``.
Fed with ``p[i] = frequency[i] - 1``, which sum to exactly ``2^24 - n``, the scale is 1.0 and
every partial sum is an integer below 2^24: nothing is rounded, and the edges are the cumulative
frequencies. The golden vectors in tests/codec/entropy/test_static_tables.py pin this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from constriction import stream
from numpy.typing import ArrayLike, NDArray

from codec.entropy.histogram import mass_below, means_between
from codec.entropy.quantise import (
    MAX_STEP_UNITS,
    RANGE,
    UNITS,
    Rules,
    dequantise,
    quantise,
    step_sizes,
    symbol_limits,
)
from codec.errors import CheckpointError, FormatError

GRID_PER_UNIT = 32
GRID_CELLS = 2 * RANGE * GRID_PER_UNIT
"""The grid: 768 cells of 1/32 standard unit from -12 to 12."""

DENSITY_BITS = 22
"""A channel's histogram sums to 2^22, every grid cell holding at least 1."""

DEFAULT_RULES = Rules()

KEPT_STEPS = 16
"""Derived tables that are kept."""

FREQUENCY_BITS = 24
"""A frequency table sums to 2^24, every symbol having at least 1: constriction's precision."""

# Cell edges lie at odd multiples of half a step, so positions count in half units from -RANGE.
_POSITIONS_PER_GRID_CELL = 2 * UNITS // GRID_PER_UNIT


@dataclass(frozen=True)
class StepTables:
    """What the tables say at one step index."""

    step: NDArray[np.float64]
    """(latent_dim,) quantiser steps in standard units."""
    limit: NDArray[np.int64]
    """(latent_dim,) largest symbol; channel ``c`` codes ``-limit[c] .. limit[c]``."""
    frequencies: list[NDArray[np.int64]]
    """One array of ``2 * limit[c] + 1`` per channel, summing to 2^24, from ``-limit[c]`` up."""
    centroids: NDArray[np.float32]
    """(latent_dim, 2 * limit.max() + 1) for ``dequantise``, symbol 0 in the middle column."""
    models: list[Any]
    """constriction's model of each channel."""


class EntropyTables:
    """The densities and posterior sigmas of a model's latents, (latent_dim, ...).

    ``at(step_index)`` derives the tables of one step; those of the latest few are kept.
    """

    def __init__(
        self,
        sigma_units: NDArray[np.int32],
        histogram: NDArray[np.int32],
        rules: Rules = DEFAULT_RULES,
    ) -> None:
        """``sigma_units`` (latent_dim,) in 2^-20 standard units, ``histogram`` (latent_dim, 768).

        Raises:
            CheckpointError: the arrays are not what ``fit`` makes.
        """
        _check_arrays(sigma_units, histogram)
        self.sigma_units = sigma_units
        self.histogram = histogram
        self.rules = rules
        self._derived: dict[int, StepTables] = {}

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copies: without derived tables, which hold models of constriction."""
        return {**self.__dict__, "_derived": {}}

    def at(self, step_index: int) -> StepTables:
        """The tables of one step."""
        tables = self._derived.pop(step_index, None) or self._derive(step_index)
        self._derived[step_index] = tables  # as the latest
        if len(self._derived) > KEPT_STEPS:
            del self._derived[next(iter(self._derived))]
        return tables

    @property
    def latent_dim(self) -> int:
        return len(self.sigma_units)

    @classmethod
    def fit(cls, latents: ArrayLike, sigma: ArrayLike, rules: Rules = DEFAULT_RULES) -> Self:
        """Count standardised training latents (latent_dim, n).

        ``sigma`` (latent_dim,) is the mean posterior sigma of each channel in standard units.
        The histogram is not smoothed: 100,000 frames or more keep its noise below 0.01 bit.

        Raises:
            ValueError: shapes that do not fit, no latents, values that are not finite, or a
                sigma outside 0 < sigma <= 16.
        """
        values = np.asarray(latents, dtype=np.float64)
        sigmas = np.asarray(sigma, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] == 0 or sigmas.shape != values.shape[:1]:
            raise ValueError(
                f"latents {values.shape} and sigma {sigmas.shape}: expected (latent_dim, n) with "
                f"n > 0 and (latent_dim,)"
            )
        if not np.isfinite(values).all():
            raise ValueError("latents hold NaN or infinity: expected finite training latents")
        sigma_units = np.rint(sigmas * UNITS)
        if not ((sigma_units >= 1) & (sigma_units <= MAX_STEP_UNITS)).all():
            raise ValueError(
                f"sigma from {sigmas.min()} to {sigmas.max()}: expected standardised units, "
                f"above 2^-20 and at most {MAX_STEP_UNITS // UNITS}"
            )
        cells = np.clip(np.floor((values + RANGE) * GRID_PER_UNIT), 0, GRID_CELLS - 1)
        histogram = np.empty((len(values), GRID_CELLS), dtype=np.int32)
        for row, channel in zip(histogram, cells.astype(np.int64), strict=True):
            counts = _from_zero(np.bincount(channel, minlength=GRID_CELLS))
            free = (1 << DENSITY_BITS) - GRID_CELLS
            row[:] = np.diff(counts * free // values.shape[1]) + 1
        return cls(sigma_units.astype(np.int32), histogram, rules)

    def steps(self, step_index: int) -> NDArray[np.float64]:
        """The quantiser step of every latent channel, (latent_dim,), in standard units."""
        return step_sizes(self.sigma_units, step_index)

    def stream_steps(self, step_index: int, streams: int) -> NDArray[np.float64]:
        """The quantiser step of every latent of a block, (streams, latent_dim)."""
        return np.array(
            [self.steps(index) for index in self.rules.step_indices(step_index, streams)]
        ).reshape(streams, self.latent_dim)

    def quantise(self, latents: NDArray[Any], step_index: int) -> NDArray[np.int16]:
        """Symbols of a block's latents (streams, latent_dim, frames) in standard units."""
        return quantise(latents, self.stream_steps(step_index, len(latents)))

    def to_arrays(self) -> dict[str, NDArray[np.int32]]:
        """The arrays to store in a checkpoint: 4 * 769 bytes per latent channel."""
        return {"sigma_units": self.sigma_units, "histogram": self.histogram}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]], rules: Rules = DEFAULT_RULES) -> Self:
        """The inverse of ``to_arrays``.

        Raises:
            CheckpointError: an array is missing, or is not what ``fit`` makes.
        """
        missing = {"sigma_units", "histogram"} - arrays.keys()
        if missing:
            raise CheckpointError(
                f"entropy tables lack {sorted(missing)} (found {sorted(arrays)}); "
                f"fetch the checkpoint again"
            )
        return cls(arrays["sigma_units"], arrays["histogram"], rules)

    def encode(self, symbols: NDArray[np.integer], step_index: int) -> bytes:
        """The bytes of a block's symbols (streams, latent_dim, frames), a multiple of 4.

        Raises:
            ValueError: the shape does not fit, or a symbol exceeds its channel's limit.
        """
        streams = self._of_streams(step_index, len(symbols))
        check_symbols(symbols, _limits(streams, self.latent_dim))
        encoder = stream.queue.RangeEncoder()
        for channel in range(self.latent_dim):
            for row, at in zip(symbols[:, channel], streams, strict=True):
                if row.size:
                    encoder.encode((row + at.limit[channel]).astype(np.int32), at.models[channel])
        return encoder.get_compressed().astype("<u4").tobytes()

    def decode(
        self, payloads: list[bytes], shapes: list[tuple[int, int, int]], step_index: int
    ) -> list[NDArray[np.int16]]:
        """The symbols of blocks of one step and these shapes (streams, latent_dim, frames).

        Raises:
            FormatError: the bytes cannot come from these tables, step and shapes.
        """
        return [self._decode(*block, step_index) for block in zip(payloads, shapes, strict=True)]

    def _decode(
        self, data: bytes, shape: tuple[int, int, int], step_index: int
    ) -> NDArray[np.int16]:
        streams, latent_dim, frames = shape
        decoder = range_decoder(data)
        tables = self._of_streams(step_index, streams)
        symbols = np.empty(shape, dtype=np.int16)
        try:
            for channel in range(latent_dim):
                for row, at in zip(symbols[:, channel], tables, strict=True):
                    if frames:
                        row[:] = decoder.decode(at.models[channel], frames) - at.limit[channel]
        except AssertionError as error:  # constriction's way of saying "no such bytes"
            raise FormatError(not_ours([data], [shape])) from error
        if not decoder.maybe_exhausted():
            raise FormatError(not_ours([data], [shape]))
        return symbols

    def dequantise(self, symbols: NDArray[np.integer], step_index: int) -> NDArray[np.float32]:
        """Each symbol's latent in standard units: the mean of the density in its cell, or its
        middle, as the rules say.

        Raises:
            ValueError: a symbol lies outside the tables, or latent_dim differs.
        """
        if self.rules.midpoints:
            steps = self.stream_steps(step_index, len(symbols))
            check_symbols(symbols, symbol_limits(steps))
            return (symbols * steps[..., None]).astype(np.float32)
        streams = self._of_streams(step_index, len(symbols))
        latents = np.empty(symbols.shape, np.float32)
        for row, own, at in zip(latents, symbols, streams, strict=True):
            row[:] = dequantise(own, at.centroids)
        return latents

    def cost_bits(self, symbols: NDArray[np.integer], step_index: int) -> float:
        """The information in a block's symbols in bits; ``encode`` needs 0 to 33 bits more.

        Raises:
            ValueError: the shape does not fit, or a symbol exceeds its channel's limit.
        """
        streams = self._of_streams(step_index, len(symbols))
        check_symbols(symbols, _limits(streams, self.latent_dim))
        bits = 0.0
        for own, at in zip(symbols, streams, strict=True):
            for row, limit, frequency in zip(own, at.limit, at.frequencies, strict=True):
                counts = np.bincount(row.astype(np.int64) + limit, minlength=len(frequency))
                bits += float(counts @ (FREQUENCY_BITS - np.log2(frequency)))
        return bits

    def _of_streams(self, step_index: int, streams: int) -> list[StepTables]:
        return [self.at(index) for index in self.rules.step_indices(step_index, streams)]

    def _derive(self, step_index: int) -> StepTables:
        step = self.steps(step_index)
        limit = symbol_limits(step)
        middle = int(limit.max())
        centroids = np.empty((self.latent_dim, 2 * middle + 1), dtype=np.float32)
        frequencies = []
        for channel, histogram in enumerate(self.histogram.astype(np.int64)):
            edges = _cell_edges(step[channel], int(limit[channel]))
            below = mass_below(histogram, edges, _POSITIONS_PER_GRID_CELL)
            n = len(edges) - 1
            total = DENSITY_BITS + _POSITIONS_PER_GRID_CELL.bit_length() - 1
            # One count for every symbol, the rest in proportion; below 2^62, so int64 holds it.
            free = (1 << FREQUENCY_BITS) - n
            cumulative = np.arange(n + 1) + (below * free >> total)
            frequencies.append(np.diff(cumulative))
            if self.rules.midpoints:
                own = np.arange(-int(limit[channel]), int(limit[channel]) + 1) * step[channel]
            else:
                own = (
                    means_between(histogram, edges, _POSITIONS_PER_GRID_CELL) / (2 * UNITS) - RANGE
                )
            # float64 and rounded: an error of the last bit moves a latent by 2^-24 of its value.
            own = own.astype(np.float32)
            centroids[channel] = np.pad(own, middle - int(limit[channel]), mode="edge")
        models = [
            stream.model.Categorical((f - 1).astype(np.float64), perfect=False) for f in frequencies
        ]
        return StepTables(step, limit, frequencies, centroids, models)


def _limits(streams: list[StepTables], latent_dim: int) -> NDArray[np.int64]:
    """The largest symbols, (streams, latent_dim)."""
    return np.array([at.limit for at in streams]).reshape(len(streams), latent_dim)


def check_symbols(symbols: NDArray[np.integer], limit: NDArray[np.int64]) -> None:
    """Raises ValueError if a block's symbols are of another shape or beyond the limits.

    ``symbols`` (streams, latent_dim, frames) and ``limit`` (streams, latent_dim).
    """
    if symbols.ndim != 3 or symbols.shape[:2] != limit.shape:
        raise ValueError(
            f"symbols of shape {symbols.shape}: expected (streams, {limit.shape[1]}, frames)"
        )
    if (np.abs(symbols.astype(np.int64)) > limit[..., None]).any():
        raise ValueError(
            f"symbols from {symbols.min()} to {symbols.max()}: expected within the limits "
            f"{limit.tolist()}; quantise with the step of the same index"
        )


def range_decoder(data: bytes) -> Any:
    """constriction's decoder of a payload.

    Raises:
        FormatError: not a whole number of words.
    """
    if len(data) % 4:
        raise FormatError(
            f"{len(data)} bytes of coded symbols: expected a multiple of 4; the file is damaged"
        )
    return stream.queue.RangeDecoder(np.frombuffer(data, dtype="<u4").astype(np.uint32))


def not_ours(payloads: list[bytes], shapes: list[tuple[int, int, int]]) -> str:
    return (
        f"{' + '.join(str(len(data)) for data in payloads)} bytes do not decode to blocks of "
        f"(streams, latent_dim, frames) {shapes} symbols with these tables; expected the bytes of "
        f"the model and step the file names"
    )


def _check_arrays(sigma_units: NDArray[Any], histogram: NDArray[Any]) -> None:
    expected = f"int32 (latent_dim,) and (latent_dim, {GRID_CELLS})"
    if (
        sigma_units.dtype != np.int32
        or histogram.dtype != np.int32
        or histogram.shape != (*sigma_units.shape, GRID_CELLS)
    ):
        raise CheckpointError(
            f"entropy tables are {sigma_units.dtype} {sigma_units.shape} and {histogram.dtype} "
            f"{histogram.shape}, expected {expected}; store them without converting their type"
        )
    sums = histogram.sum(axis=1, dtype=np.int64)
    if (
        (histogram < 1).any()
        or (sums != 1 << DENSITY_BITS).any()
        or (sigma_units < 1).any()
        or (sigma_units > MAX_STEP_UNITS).any()
    ):
        raise CheckpointError(
            f"entropy tables hold sums {sorted(set(sums.tolist()))[:4]}, least count "
            f"{histogram.min()} and sigmas {sigma_units.min()}..{sigma_units.max()}; expected "
            f"2^{DENSITY_BITS}, at least 1 and 1..{MAX_STEP_UNITS}; fetch the checkpoint again"
        )


def _from_zero(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cumulative sums with a leading zero: one more entry than ``counts``."""
    return np.concatenate([[0], np.cumsum(counts)])


def _cell_edges(step: float, limit: int) -> NDArray[np.int64]:
    """Edges of the cells of symbols -limit .. limit, as positions; the outermost hold the tails."""
    units = round(step * UNITS)
    end = 2 * RANGE * UNITS  # the position of latent 0
    edges = end + (2 * np.arange(-limit, limit + 2) - 1) * units
    edges[0], edges[-1] = 0, 2 * end
    return edges
