"""Choosing the quantiser's step for a wanted bit rate or quality."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from codec.entropy.quantise import STEP_INDICES
from codec.errors import RateError
from codec.model.useful_range import UsefulRange

DEFAULT_KBPS_PER_CHANNEL = 3.0
SHORTEST_SECONDS = 5.0
"""A shorter clip may use the bytes of this one: a file's fixed parts alone exceed any rate."""


@dataclass(frozen=True)
class RateTarget:
    """What a user asked for. Without anything it is 3 kbps per channel.

    Raises:
        RateError: a rate that is not above 0, a quality outside 0..10, or both of them.
    """

    kbps: float | None = None
    """Ceiling for the average of the whole file."""
    quality: float | None = None
    """One step for every block: 0 for the coarsest useful one, 10 for the finest."""
    max_kbps: float | None = None
    """Ceiling for each block; blocks that exceed it get a coarser step."""

    def __post_init__(self) -> None:
        for name, rate in (("--kbps", self.kbps), ("--max-kbps", self.max_kbps)):
            if rate is not None and not rate > 0:
                raise RateError(
                    f"{name} {rate:g} is not a bit rate; expected a number above 0, such as 6"
                )
        if self.quality is not None and not 0 <= self.quality <= 10:
            raise RateError(f"--quality {self.quality:g}, expected 0 (smallest) to 10 (best)")
        if self.quality is not None and self.kbps is not None:
            raise RateError(
                f"--kbps {self.kbps:g} and --quality {self.quality:g} contradict each other; "
                f"give one, or --quality with --max-kbps"
            )

    def kbps_per_channel(self, channels: int) -> float:
        return DEFAULT_KBPS_PER_CHANNEL if self.kbps is None else self.kbps / channels

    def budget(self, channels: int, seconds: float) -> float:
        """Bytes that the whole file may have."""
        kbps = self.kbps_per_channel(channels) * channels
        return kbps * 1000 * max(seconds, SHORTEST_SECONDS) / 8


@dataclass(frozen=True)
class StepChoice:
    """The step that was chosen, and whether it is the finest useful one."""

    step_index: int
    at_finest: bool


def step_of_quality(useful: UsefulRange, quality: float) -> StepChoice:
    """Steps in equal ratios from the coarsest useful one (0) to the finest (10)."""
    span = useful.coarsest_step - useful.finest_step
    return StepChoice(useful.coarsest_step - round(span * quality / 10), quality == 10)


CLOSE_ENOUGH = 0.99
"""A file of this share of its budget is not made again for the rest."""


def choose_step(
    file_bytes: Callable[[int], int],
    estimate: Callable[[int], float],
    useful: UsefulRange,
    budget: float,
    seconds: float,
) -> StepChoice:
    """The finest useful step whose file has at most ``budget`` bytes, or one next to it.

    ``file_bytes(step_index)`` is the real size of the whole file at a step, ``estimate`` a guess
    that may be off by a factor and is quick. Both fall as the index rises. Real sizes are asked
    for about three times.

    Raises:
        RateError: even the coarsest useful step exceeds the budget; the message has the range.
    """
    sizes: dict[int, int] = {}
    too_fine, fits = useful.finest_step - 1, useful.coarsest_step + 1  # not known to be either
    if estimate(useful.finest_step) <= budget:
        too_fine = useful.finest_step
        sizes[too_fine] = file_bytes(too_fine)
        if sizes[too_fine] <= budget:
            return StepChoice(too_fine, at_finest=True)
    grid = np.linspace(useful.finest_step, useful.coarsest_step, 4).round().astype(int)
    guesses = np.array([estimate(int(step)) for step in grid])
    steps = np.arange(useful.finest_step, useful.coarsest_step + 1)
    guess = np.exp(np.interp(steps, grid, np.log(np.maximum(guesses, 1e-9))))

    correction = 1.0
    while fits - too_fine > 1:
        below = np.flatnonzero(guess * correction <= budget)
        wanted = int(steps[below[0]]) if below.size else useful.coarsest_step
        step = min(max(wanted, too_fine + 1), fits - 1)
        if len(sizes) > 3:  # the guesses do not lead there
            step = (too_fine + fits) // 2
        sizes[step] = file_bytes(step)
        correction = sizes[step] / guess[step - useful.finest_step]
        if sizes[step] > budget:
            too_fine = step
        else:
            fits = step
            if sizes[step] >= CLOSE_ENOUGH * budget:
                break
    if fits > useful.coarsest_step:
        seconds = max(seconds, SHORTEST_SECONDS)
        low, high = (
            size * 8 / seconds / 1000
            for size in (sizes[useful.coarsest_step], file_bytes(useful.finest_step))
        )
        raise RateError(
            f"{budget * 8 / seconds / 1000:g} kbps is below what this model reaches on this "
            f"audio: choose between {math.ceil(low * 100) / 100:.2f} and {high:.2f}"
        )
    return StepChoice(fits, at_finest=fits == useful.finest_step)


def step_below(block_bytes: Callable[[int], int], budget: float) -> int | None:
    """The finest step at which a block has at most ``budget`` bytes; None if there is none."""
    low, high = 0, STEP_INDICES - 1
    if block_bytes(high) > budget:
        return None
    while low < high:
        middle = (low + high) // 2
        if block_bytes(middle) <= budget:
            high = middle
        else:
            low = middle + 1
    return low
