"""Searching for the step of a waveform layer: sizes fall as steps grow, about in proportion."""

from __future__ import annotations

import math
from collections.abc import Callable

from codec.network.layer_quantiser import STEP_INDICES, STEPS_PER_OCTAVE

CLOSE_ENOUGH = 0.985
"""A file of this share of its budget is not made again for the rest: steps are that far apart."""

BITS_PER_OCTAVE = 1.2
"""How many octaves a size falls, about, when steps are doubled; at high rates it is less."""
LEAST_SLOPE, MOST_SLOPE = 0.1 / STEPS_PER_OCTAVE, 4.0 / STEPS_PER_OCTAVE


def finest_within(
    size: Callable[[int], float],
    budget: float,
    start: int,
    slope: float = BITS_PER_OCTAVE / STEPS_PER_OCTAVE,
) -> int | None:
    """The finest step whose size is at most a budget, or close to it; None if there is none.

    ``start`` is tried first; ``slope`` is by how many octaves sizes fall with each step there.
    """
    too_fine, fits = -1, STEP_INDICES  # not known to be either
    step = start
    previous: tuple[int, float] | None = None
    while fits - too_fine > 1:
        used = size(step)
        if used > budget:
            too_fine = step
        else:
            fits = step
            if used >= CLOSE_ENOUGH * budget:
                break
        octaves = math.log2(max(used, 1.0))
        if previous is not None:  # how fast sizes fall here
            slope = (previous[1] - octaves) / (step - previous[0])
        previous = step, octaves
        slope = min(max(slope, LEAST_SLOPE), MOST_SLOPE)
        away = math.ceil((octaves - math.log2(budget)) / slope)
        step = min(max(step + away, too_fine + 1), fits - 1)
    return fits if fits < STEP_INDICES else None
