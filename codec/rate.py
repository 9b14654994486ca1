"""Choosing the quantiser's step for a wanted bit rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from codec.entropy import EntropyTables, encode_symbols
from codec.errors import RateError
from codec.quantise import STEP_INDICES, quantise, step_multiple

DEFAULT_KBPS_PER_CHANNEL = 3.0
SHORTEST_SECONDS = 5.0
"""A shorter clip may use the bytes of this one: a file's fixed parts alone exceed any rate."""


@dataclass(frozen=True)
class UsefulRange:
    """The steps that are of use with a model, and what they cost on its training data.

    Finer steps than ``finest_step`` were measured to buy nothing; coarser ones than
    ``coarsest_step`` are beyond what the decoder was trained to bear.
    """

    finest_step: int
    coarsest_step: int
    low_kbps: float
    """Per coded channel, at the coarsest step."""
    high_kbps: float
    """Per coded channel, at the finest step."""

    def __post_init__(self) -> None:
        if not 0 <= self.finest_step <= self.coarsest_step < STEP_INDICES:
            raise ValueError(
                f"useful steps {self.finest_step}..{self.coarsest_step}: expected a range "
                f"within 0..{STEP_INDICES - 1}"
            )
        if not 0 <= self.low_kbps <= self.high_kbps < math.inf:
            raise ValueError(f"useful rates {self.low_kbps}..{self.high_kbps}: expected a range")


def nearest_step(multiple: float) -> int:
    """The step index whose multiple of the posterior sigma is nearest."""
    return min(range(STEP_INDICES), key=lambda index: abs(step_multiple(index) - multiple))


@dataclass(frozen=True)
class StepChoice:
    """The step that was chosen, and whether it is the finest useful one."""

    step_index: int
    at_finest: bool


def check_kbps(kbps: float) -> None:
    """Raises RateError for what is no bit rate at all, before any work is done."""
    if not kbps > 0:
        raise RateError(f"{kbps:g} kbps is not a bit rate; expected a number above 0, such as 6")


def choose_step(
    file_bytes: Callable[[int], int], useful: UsefulRange, kbps: float, seconds: float
) -> StepChoice:
    """The finest useful step whose file stays at or below ``kbps``.

    ``file_bytes(step_index)`` is the real size of the whole file at a step. It falls as the index
    rises, so a binary search finds the step in about nine calls.

    Raises:
        RateError: even the coarsest useful step exceeds the rate; the message has the range.
    """
    seconds = max(seconds, SHORTEST_SECONDS)
    budget = kbps * 1000 * seconds / 8
    finest = file_bytes(useful.finest_step)
    if finest <= budget:
        return StepChoice(useful.finest_step, at_finest=True)
    coarsest = file_bytes(useful.coarsest_step)
    if coarsest > budget:
        low, high = (size * 8 / seconds / 1000 for size in (coarsest, finest))
        raise RateError(
            f"{kbps:g} kbps is below what this model reaches on this audio: "
            f"choose between {math.ceil(low * 100) / 100:.2f} and {high:.2f}"
        )
    too_fine, fits = useful.finest_step, useful.coarsest_step
    while fits - too_fine > 1:
        middle = (too_fine + fits) // 2
        if file_bytes(middle) <= budget:
            fits = middle
        else:
            too_fine = middle
    return StepChoice(fits, at_finest=False)


def measure_range(
    latents: np.ndarray,
    tables: EntropyTables,
    frame_rate: float,
    finest_step: int,
    coarsest_step: int,
) -> UsefulRange:
    """What two steps cost on standardised latents (latent_dim, frames) of one coded channel."""
    seconds = latents.shape[1] / frame_rate

    def kbps(step: int) -> float:
        symbols = quantise(latents, tables.at(step).step)
        return len(encode_symbols(symbols, step, tables)) * 8 / seconds / 1000

    return UsefulRange(finest_step, coarsest_step, kbps(coarsest_step), kbps(finest_step))
