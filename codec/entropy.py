"""Static entropy model and coder: one integer density per latent channel, for every step.

A density is a histogram on a fixed grid. From it the frequency table of any quantiser step is
derived with integer arithmetic alone, so every machine derives the same table, and constriction's
range coder turns symbols into bytes.

Exact frequencies in constriction: its coder works on frequencies that sum to 2^24, but its
``Categorical`` model takes floats. With ``perfect=False`` it computes the left edge of symbol
``i`` among ``n`` as ``trunc(scale * sum(p[:i])) + i``, where ``scale = (2^24 - n) / sum(p)``.
Fed with ``p[i] = frequency[i] - 1``, which sum to exactly ``2^24 - n``, the scale is 1.0 and
every partial sum is an integer below 2^24: nothing is rounded, and the edges are the cumulative
frequencies. The golden vectors in tests/codec/test_entropy.py pin this.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
from constriction import stream
from numpy.typing import ArrayLike, NDArray

from codec.errors import CheckpointError, FormatError
from codec.quantise import MAX_STEP_UNITS, RANGE, UNITS, step_sizes, symbol_limits

GRID_PER_UNIT = 32
GRID_CELLS = 2 * RANGE * GRID_PER_UNIT
"""The grid: 768 cells of 1/32 standard unit from -12 to 12."""

DENSITY_BITS = 22
"""A channel's histogram sums to 2^22, every grid cell holding at least 1."""

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

    ``at(step_index)`` derives (and keeps the latest 16 of) the tables of one step.
    """

    def __init__(self, sigma_units: NDArray[np.int32], histogram: NDArray[np.int32]) -> None:
        """``sigma_units`` (latent_dim,) in 2^-20 standard units, ``histogram`` (latent_dim, 768).

        Raises:
            CheckpointError: the arrays are not what ``fit`` makes.
        """
        _check_arrays(sigma_units, histogram)
        self.sigma_units = sigma_units
        self.histogram = histogram
        self.at = lru_cache(maxsize=16)(self._derive)

    @property
    def latent_dim(self) -> int:
        return len(self.sigma_units)

    @classmethod
    def fit(cls, latents: ArrayLike, sigma: ArrayLike) -> Self:
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
        return cls(sigma_units.astype(np.int32), histogram)

    def to_arrays(self) -> dict[str, NDArray[np.int32]]:
        """The arrays to store in a checkpoint: 4 * 769 bytes per latent channel."""
        return {"sigma_units": self.sigma_units, "histogram": self.histogram}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Self:
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
        return cls(arrays["sigma_units"], arrays["histogram"])

    def _derive(self, step_index: int) -> StepTables:
        step = step_sizes(self.sigma_units, step_index)
        limit = symbol_limits(step)
        middle = int(limit.max())
        centroids = np.empty((self.latent_dim, 2 * middle + 1), dtype=np.float32)
        frequencies = []
        for channel, histogram in enumerate(self.histogram.astype(np.int64)):
            edges = _cell_edges(step[channel], int(limit[channel]))
            mass_below = _mass_below(histogram, edges)
            n = len(edges) - 1
            total = DENSITY_BITS + _POSITIONS_PER_GRID_CELL.bit_length() - 1
            # One count for every symbol, the rest in proportion; below 2^62, so int64 holds it.
            free = (1 << FREQUENCY_BITS) - n
            cumulative = np.arange(n + 1) + (mass_below * free >> total)
            frequencies.append(np.diff(cumulative))
            own = _centroids(histogram, edges, mass_below)
            centroids[channel] = np.pad(own, middle - int(limit[channel]), mode="edge")
        models = [
            stream.model.Categorical((f - 1).astype(np.float64), perfect=False) for f in frequencies
        ]
        return StepTables(step, limit, frequencies, centroids, models)


def encode_symbols(symbols: NDArray[np.integer], step_index: int, tables: EntropyTables) -> bytes:
    """The bytes of ``symbols`` (latent_dim, n): channel after channel, a multiple of 4 bytes.

    Raises:
        ValueError: the shape is not (tables.latent_dim, n), or a symbol exceeds its limit.
    """
    at = tables.at(step_index)
    offsets = _offset_symbols(symbols, at)
    encoder = stream.queue.RangeEncoder()
    for channel, model in zip(offsets, at.models, strict=True):
        if channel.size:
            encoder.encode(channel, model)
    return encoder.get_compressed().astype("<u4").tobytes()


def decode_symbols(
    data: bytes, n: int, step_index: int, tables: EntropyTables
) -> NDArray[np.int16]:
    """The ``symbols`` (latent_dim, n) that ``encode_symbols`` made ``data`` from.

    Raises:
        FormatError: the bytes cannot come from these tables, step and ``n``.
    """
    if len(data) % 4:
        raise FormatError(
            f"{len(data)} bytes of coded symbols: expected a multiple of 4; the file is damaged"
        )
    at = tables.at(step_index)
    decoder = stream.queue.RangeDecoder(np.frombuffer(data, dtype="<u4").astype(np.uint32))
    symbols = np.empty((tables.latent_dim, n), dtype=np.int16)
    try:
        for row, limit, model in zip(symbols, at.limit, at.models, strict=True):
            if n:
                row[:] = decoder.decode(model, n) - limit
    except AssertionError as error:  # constriction's way of saying "no such bytes"
        raise FormatError(_not_ours(data, symbols.shape)) from error
    if not decoder.maybe_exhausted():
        raise FormatError(_not_ours(data, symbols.shape))
    return symbols


def cost_bits(symbols: NDArray[np.integer], step_index: int, tables: EntropyTables) -> float:
    """The information in ``symbols`` (latent_dim, n) in bits, without coding them.

    ``encode_symbols`` needs about 16 bits more (measured: 0 to 33), whatever ``n`` is.

    Raises:
        ValueError: the shape is not (tables.latent_dim, n), or a symbol exceeds its limit.
    """
    at = tables.at(step_index)
    bits = 0.0
    for channel, frequency in zip(_offset_symbols(symbols, at), at.frequencies, strict=True):
        counts = np.bincount(channel, minlength=len(frequency))
        bits += float(counts @ (FREQUENCY_BITS - np.log2(frequency)))
    return bits


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


def _mass_below(histogram: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Mass of the density below each position, exact: counts times positions per grid cell."""
    cell, inside = np.divmod(edges, _POSITIONS_PER_GRID_CELL)
    within = np.append(histogram, 0)[cell] * inside
    return _from_zero(histogram)[cell] * _POSITIONS_PER_GRID_CELL + within


def _centroids(
    histogram: NDArray[np.int64], edges: NDArray[np.int64], mass_below: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Mean of the density within each pair of neighbouring edges, in standard units.

    float64, because no symbol depends on it: an error of the last bit moves a latent by 2^-24 of
    its value and no more.
    """
    cell, inside = np.divmod(edges, _POSITIONS_PER_GRID_CELL)
    size = float(_POSITIONS_PER_GRID_CELL)
    middles = (np.arange(GRID_CELLS) + 0.5) * size
    moments = np.concatenate([[0.0], np.cumsum(histogram * size * middles)])
    within = np.append(histogram, 0)[cell] * (inside * (cell * size + inside / 2))
    positions = np.diff(moments[cell] + within) / np.diff(mass_below)
    return (positions / (2 * UNITS) - RANGE).astype(np.float32)


def _offset_symbols(symbols: NDArray[np.integer], at: StepTables) -> NDArray[np.int32]:
    """Symbols counted from each channel's smallest one, as tables and coder index them."""
    if symbols.ndim != 2 or len(symbols) != len(at.limit):
        raise ValueError(f"symbols of shape {symbols.shape}: expected ({len(at.limit)}, n)")
    limit = at.limit[:, None]
    if (np.abs(symbols.astype(np.int64)) > limit).any():
        raise ValueError(
            f"symbols from {symbols.min()} to {symbols.max()}: expected within the limits "
            f"{at.limit.tolist()}; quantise with the step of the same index"
        )
    return (symbols + limit).astype(np.int32)


def _not_ours(data: bytes, shape: tuple[int, ...]) -> str:
    return (
        f"{len(data)} bytes do not decode to {shape[0]} x {shape[1]} symbols with these tables; "
        f"expected the bytes of the model and step the file names"
    )
