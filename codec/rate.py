"""Choosing the quantiser's step for a wanted bit rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from codec.entropy import EntropyTables, encode_symbols
from codec.errors import RateError
from codec.quantise import STEP_INDICES, quantise, step_multiple

FINEST_MULTIPLE = 1.5
COARSEST_MULTIPLE = 16.0
"""Useful steps in posterior sigmas. Finer ones store what the posterior says is noise; coarser
ones are beyond what the decoder was trained to bear."""

FINEST_STEP = next(i for i in range(STEP_INDICES) if step_multiple(i) >= FINEST_MULTIPLE)
COARSEST_STEP = next(i for i in range(STEP_INDICES) if step_multiple(i) >= COARSEST_MULTIPLE)

DEFAULT_KBPS_PER_CHANNEL = 3.0
SHORTEST_SECONDS = 5.0
"""A shorter clip may use the bytes of this one: a file's fixed parts alone exceed any rate."""


@dataclass(frozen=True)
class StepChoice:
    """The step that was chosen, and whether it is the finest useful one."""

    step_index: int
    at_finest: bool


def check_kbps(kbps: float) -> None:
    """Raises RateError for what is no bit rate at all, before any work is done."""
    if not kbps > 0:
        raise RateError(f"{kbps:g} kbps is not a bit rate; expected a number above 0, such as 6")


def choose_step(file_bytes: Callable[[int], int], kbps: float, seconds: float) -> StepChoice:
    """The finest useful step whose file stays at or below ``kbps``.

    ``file_bytes(step_index)`` is the real size of the whole file at a step. It falls as the index
    rises, so a binary search finds the step in about nine calls.

    Raises:
        RateError: even the coarsest useful step exceeds the rate; the message has the range.
    """
    seconds = max(seconds, SHORTEST_SECONDS)
    budget = kbps * 1000 * seconds / 8
    finest = file_bytes(FINEST_STEP)
    if finest <= budget:
        return StepChoice(FINEST_STEP, at_finest=True)
    coarsest = file_bytes(COARSEST_STEP)
    if coarsest > budget:
        low, high = (size * 8 / seconds / 1000 for size in (coarsest, finest))
        raise RateError(
            f"{kbps:g} kbps is below what this model reaches on this audio: "
            f"choose between {math.ceil(low * 100) / 100:.2f} and {high:.2f}"
        )
    too_fine, fits = FINEST_STEP, COARSEST_STEP
    while fits - too_fine > 1:
        middle = (too_fine + fits) // 2
        if file_bytes(middle) <= budget:
            fits = middle
        else:
            too_fine = middle
    return StepChoice(fits, at_finest=False)


def useful_range(
    latents: np.ndarray, tables: EntropyTables, frame_rate: float
) -> tuple[float, float]:
    """kbps per coded channel at the coarsest and the finest useful step, on (latent_dim, n)."""
    seconds = latents.shape[1] / frame_rate

    def kbps(step: int) -> float:
        symbols = quantise(latents, tables.at(step).step)
        return len(encode_symbols(symbols, step, tables)) * 8 / seconds / 1000

    return kbps(COARSEST_STEP), kbps(FINEST_STEP)
