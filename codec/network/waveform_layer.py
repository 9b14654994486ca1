"""The waveform layer: coefficients of a lapped transform in steps that the base layer scales.

What the base layer knows of loudness, the levels of bands four times a frame, decides how coarsely
each coefficient is quantised: a step grows with the level of its band, though not as fast, and with
frequency. So noise from rounding stays below the sound, quiet moments are left to the renderer, and
bits go where pitch is heard. One more factor, the same for a whole block, is the file's to choose.

Where a coefficient was rounded to zero the renderer's own is taken, but it must not be large, or it
would have been coded. What lies above the coded band is the renderer's alone.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from codec.network.config import FRAME
from codec.network.lapped import SPLITS, Floats, by_frequency, in_pieces
from codec.network.layer_quantiser import SHRINK
from codec.network.views import SHORT_EDGES, SHORT_FRAMES, SHORT_WINDOW

LEVEL_EXPONENT = 0.6
"""A band that is louder by 10 dB has steps that are larger by 6."""
FREQUENCY_EXPONENT, CORNER = 0.7, 23.2
"""And steps grow with 1 + frequency over 1 kHz (in the short view's bins) to this power, since
listeners hear less of what is high."""
SIDE = 1.4
"""Side has steps this much larger: mid, louder in nearly all bands, hides their noise."""

FILL = 0.25
"""Steps that the renderer's part of a coefficient rounded to zero has at most."""


def unit_steps(levels: Floats, split: NDArray[np.integer], channel: int, channels: int) -> Floats:
    """The step of every coefficient of a channel where the factor is 1: (frames, FRAME).

    Args:
        levels: log powers (frames, SHORT_FRAMES, SHORT_BANDS) that a map expects.
        channels: coded ones, of which the second of two is side.
    """
    out = np.empty((len(levels), FRAME), levels.dtype)
    for s in np.unique(split).tolist():
        out[split == s] = by_frequency(_steps_of_pieces(levels[split == s], s))
    if (channel, channels) == (1, 2):
        out *= SIDE
    return out


def _steps_of_pieces(levels: Floats, split: int) -> Floats:
    """The steps of all pieces of frames that are in 2^split: (..., pieces, FRAME / pieces)."""
    pieces, shape = 1 << split, levels.shape[:-2]
    if pieces < SHORT_FRAMES:
        together = levels.reshape(*shape, pieces, SHORT_FRAMES // pieces, levels.shape[-1])
        levels = np.log(np.exp(together).mean(axis=-2))
    elif pieces > SHORT_FRAMES:
        levels = levels.repeat(pieces // SHORT_FRAMES, axis=-2)
    shares, tilt = (x.astype(levels.dtype) for x in _between_bands(FRAME // pieces))
    steps = levels @ shares
    steps += tilt
    return np.exp(steps, out=steps)


@lru_cache
def _between_bands(size: int) -> tuple[Floats, Floats]:
    """What levels of bands count in the log of a bin's step, (SHORT_BANDS, size), and its rest."""
    frequency = (np.arange(size) + 0.5) * (SHORT_WINDOW / 2 / size)
    middles = (SHORT_EDGES[:-1] + SHORT_EDGES[1:] - 1) / 2
    below = np.clip(np.searchsorted(middles, frequency) - 1, 0, len(middles) - 2)
    share = np.clip((frequency - middles[below]) / np.diff(middles)[below], 0, 1)
    shares, bins = np.zeros((len(middles), size)), np.arange(size)
    shares[below, bins], shares[below + 1, bins] = 1 - share, share
    return shares * (LEVEL_EXPONENT / 2), FREQUENCY_EXPONENT * np.log1p(frequency / CORNER)


def choose_split(waveform: Floats, levels: Floats) -> NDArray[np.uint8]:
    """In how many pieces to code each frame: what takes the fewest bits at equal error.

    Args:
        waveform: (rows, frames * FRAME), all channels together.
        levels: (rows, frames, SHORT_FRAMES, SHORT_BANDS) log powers.
    """
    costs, factor = [], 0.0
    for s in range(SPLITS):
        ratio = in_pieces(waveform, s)
        ratio /= _steps_of_pieces(levels, s)
        if s == 0:  # a step at which one in ten of the coefficients below 4.3 kHz is coded
            factor = max(float(np.quantile(np.abs(ratio[..., :400]), 0.9)), 1e-9)
        ratio /= factor
        ratio *= ratio
        ratio += 1
        costs.append(np.log(ratio, out=ratio).sum(axis=(0, 2, 3)))
    return np.argmin(costs, axis=0).astype(np.uint8)


def combine(made: Floats, symbols: NDArray[np.integer], steps: Floats) -> Floats:
    """The renderer's coefficients (frames, FRAME) with what is coded (frames, bins) in their place.

    ``steps`` (frames, FRAME) are those that the symbols were quantised with.
    """
    coded = symbols.shape[1]
    size = np.abs(symbols) - SHRINK
    limit = FILL * steps[:, :coded]
    fill = np.clip(made[:, :coded], -limit, limit)
    out = made.copy()
    out[:, :coded] = np.where(symbols, np.sign(symbols) * size * steps[:, :coded], fill)
    return out
