"""Latents to integers and back: uniform cells around multiples of a per-channel step.

The step of latent channel ``c`` is its mean posterior sigma times a multiple that one integer in
the file, the step index, selects. Symbol ``k`` stands for the cell ``[(k - 1/2) step,
(k + 1/2) step]``; it is decoded to the centroid of the stored density inside that cell (see
static_tables.py), or to its middle (see ``Rules``).

Everything that fixes which symbol means what is integer arithmetic, or float64 operations that
IEEE 754 defines to the last bit, so every machine agrees. All values are in standardised units:
latents have about zero mean and unit variance per channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

STEP_INDICES = 1024
"""Index 0 is the finest step, 1023 the coarsest."""

STEPS_PER_OCTAVE = 96
"""Neighbouring indices differ by 2^(1/96): 1/96 bit per latent, about 1 % of a 1-bit rate."""

UNITS = 1 << 20
"""Steps are whole numbers of 2^-20 standard units, hence exact in float64 and in int64."""

RANGE = 12
"""Densities and cells end here (standard units); what lies beyond is clamped."""

MIN_STEP_UNITS, MAX_STEP_UNITS = UNITS // 256, UNITS * 16
"""Steps are clamped to 1/256 .. 16: at most 6,145 symbols, and at least three inside RANGE."""


@dataclass(frozen=True)
class Rules:
    """What a kind of model wants of the quantiser."""

    side_steps: int = 0
    """By how much the step index of side, the second of two streams, is above that of mid."""
    midpoints: bool = False
    """Symbols are decoded to the middle of their cell. A decoder that was trained with uniform
    noise, which does not pull latents towards their mean, wants that (docs/CODING.md)."""

    def step_indices(self, step_index: int, streams: int) -> list[int]:
        """The step index of each stream of a block."""
        if streams != 2:
            return [step_index] * streams
        return [step_index, min(step_index + self.side_steps, STEP_INDICES - 1)]


# round(2^(k/96) * 2^20), written out because pow() may differ in the last bit between platforms.
_FRACTIONS = (
    *(1048576, 1056174, 1063828, 1071537, 1079302, 1087123, 1095000, 1102935),
    *(1110928, 1118978, 1127086, 1135254, 1143480, 1151766, 1160113, 1168519),
    *(1176987, 1185516, 1194106, 1202759, 1211475, 1220254, 1229096, 1238003),
    *(1246974, 1256010, 1265112, 1274279, 1283513, 1292814, 1302182, 1311618),
    *(1321123, 1330696, 1340339, 1350052, 1359835, 1369689, 1379614, 1389611),
    *(1399681, 1409824, 1420040, 1430330, 1440695, 1451135, 1461650, 1472242),
    *(1482910, 1493656, 1504480, 1515382, 1526363, 1537424, 1548564, 1559786),
    *(1571089, 1582474, 1593941, 1605491, 1617125, 1628844, 1640647, 1652536),
    *(1664511, 1676572, 1688722, 1700959, 1713285, 1725700, 1738205, 1750801),
    *(1763488, 1776267, 1789138, 1802103, 1815162, 1828315, 1841564, 1854909),
    *(1868350, 1881889, 1895526, 1909262, 1923097, 1937032, 1951069, 1965207),
    *(1979448, 1993792, 2008240, 2022792, 2037450, 2052214, 2067086, 2082065),
)


def octave_fraction(index: int) -> int:
    """2^(index / 96) in units of 2^-20, index 0..95."""
    return _FRACTIONS[index]


def _multiple_units(step_index: int) -> int:
    """The multiple of sigma in units of 2^-22: it is 1/4 at index 0."""
    if not 0 <= step_index < STEP_INDICES:
        raise ValueError(f"step_index {step_index}: expected 0..{STEP_INDICES - 1}")
    octave, fraction = divmod(step_index, STEPS_PER_OCTAVE)
    return _FRACTIONS[fraction] << octave


def step_multiple(step_index: int) -> float:
    """The step in posterior sigmas: 2^(step_index / 96) / 4, from 0.25 to 402.

    Raises:
        ValueError: ``step_index`` is outside 0..1023.
    """
    return _multiple_units(step_index) / (4 * UNITS)


def nearest_step(multiple: float) -> int:
    """The step index whose multiple of the posterior sigma is nearest."""
    return min(range(STEP_INDICES), key=lambda index: abs(step_multiple(index) - multiple))


def step_sizes(sigma_units: NDArray[np.int32], step_index: int) -> NDArray[np.float64]:
    """The quantiser step of every latent channel, (latent_dim,), in standard units.

    ``sigma_units`` is the mean posterior sigma of each channel in units of 2^-20, (latent_dim,).
    """
    product = sigma_units.astype(np.int64) * _multiple_units(step_index)
    units = (product + (1 << 21)) >> 22
    return np.clip(units, MIN_STEP_UNITS, MAX_STEP_UNITS) / UNITS


def symbol_limits(step: NDArray[np.float64]) -> NDArray[np.int64]:
    """The largest symbol at each step, of its shape: the first whose cell reaches RANGE."""
    units = np.rint(step * UNITS).astype(np.int64)
    return np.maximum((2 * RANGE * UNITS + units - 1) // (2 * units), 1)


def quantise(latents: ArrayLike, step: NDArray[np.float64]) -> NDArray[np.int16]:
    """Nearest cell of each latent, halves to even, clamped to the channel's last symbols.

    ``latents`` (..., latent_dim, frames) in standard units and ``step`` (latent_dim,), or
    (streams, latent_dim) where each stream has its own, give int16 symbols of the latents' shape.

    Raises:
        ValueError: the latents hold NaN, or have not one row for each step.
    """
    values = np.asarray(latents)
    if values.shape[-1 - step.ndim : -1] != step.shape:
        raise ValueError(
            f"latents of shape {values.shape}: expected (..., {', '.join(map(str, step.shape))}, "
            f"frames), one row for each step"
        )
    if np.isnan(values).any():
        raise ValueError("latents hold NaN: expected numbers; check the audio and the weights")
    limit = symbol_limits(step)[..., None]
    cells = np.rint(values.astype(np.float64) / step[..., None])
    return np.clip(cells, -limit, limit).astype(np.int16)


def dequantise(symbols: NDArray[np.integer], centroids: NDArray[np.float32]) -> NDArray[np.float32]:
    """The centroid of each symbol's cell.

    ``symbols`` (..., latent_dim, frames) index the rows of ``centroids`` (latent_dim, 2 m + 1),
    whose column ``k + m`` belongs to symbol ``k``; the result has the symbols' shape.

    Raises:
        ValueError: a symbol lies outside the table, or latent_dim differs.
    """
    latent_dim, width = centroids.shape
    middle = width // 2
    if symbols.ndim < 2 or symbols.shape[-2] != latent_dim:
        raise ValueError(f"symbols of shape {symbols.shape}: expected (..., {latent_dim}, frames)")
    if symbols.size and np.abs(symbols.astype(np.int64)).max() > middle:
        raise ValueError(
            f"symbols from {symbols.min()} to {symbols.max()}: expected -{middle}..{middle}; "
            f"use the centroids of the step index the symbols were made with"
        )
    rows = np.arange(latent_dim)[:, None]
    return centroids[rows, symbols.astype(np.int64) + middle]
