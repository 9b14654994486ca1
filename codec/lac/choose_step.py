"""Choosing the quantiser's step of a draft for a wanted bit rate or quality."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from codec.errors import RateError
from codec.lac.draft import Draft
from codec.lac.layered_draft import LayeredDraft
from codec.lac.rate import RateTarget, counted_kbps
from codec.model.useful_range import UsefulRange

CLOSE_ENOUGH = 0.99
"""A file of this share of its budget is not made again for the rest."""


LAYER_ABOVE_KBPS = 2.5
"""Per channel: above this rate files have a waveform layer, if the model has one; below it those
of which a few coefficients are all."""
LAYER_ABOVE_QUALITY = 4.0
"""Above this quality they have one too; up to it finer latents make it better."""
LAYER_STEPS = 670, 370
"""Step indices of the layer at that quality and at 10."""
BASE_KBPS, BASE_SHARE, BASE_MOST_KBPS = 0.7, 0.15, 1.6
"""What the latents of such a file take, per channel: so much, and a share of the whole."""
STEREO_KBPS = 0.15
"""And so much more in stereo, where side in its coarse steps does not take its half."""


@dataclass(frozen=True)
class StepChoice:
    """The step that was chosen, and whether it is the finest useful one."""

    step_index: int
    at_finest: bool


def step_of_quality(useful: UsefulRange, quality: float, best: float = 10.0) -> StepChoice:
    """Steps in equal ratios from the coarsest useful one (0) to the finest (``best``)."""
    span = useful.coarsest_step - useful.finest_step
    return StepChoice(useful.coarsest_step - round(span * quality / best), quality == 10)


def layer_step_of_quality(quality: float) -> StepChoice:
    """Steps of the waveform layer in equal ratios, from LAYER_ABOVE_QUALITY on."""
    coarsest, finest = LAYER_STEPS
    share = (quality - LAYER_ABOVE_QUALITY) / (10 - LAYER_ABOVE_QUALITY)
    return StepChoice(round(coarsest + (finest - coarsest) * share), quality == 10)


@dataclass(frozen=True)
class LayerPlan:
    """How a file with a waveform layer is made, should it turn out to be worth it."""

    base_step: int
    """The latents' step, which does not depend on the file."""
    only_sparse: bool
    """Only where all blocks are sparse (codec/model/layered_blocks.py)."""

    @classmethod
    def of(cls, useful: UsefulRange, target: RateTarget, channels: int) -> LayerPlan | None:
        """For what was asked for; None where the file is to have none in any case."""
        if target.quality is not None:  # latents are as fine as at the last one without a layer
            layered = target.quality > LAYER_ABOVE_QUALITY
            return cls(useful.finest_step, only_sparse=False) if layered else None
        kbps = target.kbps_per_channel(channels)
        if kbps <= LAYER_ABOVE_KBPS:
            return cls(useful.coarsest_step, only_sparse=True)
        return cls(base_step(useful, kbps, channels), only_sparse=False)


def base_step(useful: UsefulRange, kbps_per_channel: float, channels: int) -> int:
    """The step of the latents of a file with a waveform layer, about what they are to cost."""
    least = BASE_KBPS + (STEREO_KBPS if channels == 2 else 0.0)
    base_kbps = min(least + BASE_SHARE * kbps_per_channel, BASE_MOST_KBPS)
    base_kbps = min(max(base_kbps, useful.low_kbps), useful.high_kbps)
    span = math.log(useful.high_kbps / useful.low_kbps) or 1.0
    share = math.log(useful.high_kbps / base_kbps) / span
    return round(useful.finest_step + (useful.coarsest_step - useful.finest_step) * share)


def choose_step(
    draft: Draft, useful: UsefulRange, target: RateTarget, best_quality: float = 10.0
) -> StepChoice:
    """The step for ``target``; blocks above its ``max_kbps`` are held to coarser ones in the draft.

    ``best_quality`` has the finest step.

    Raises:
        RateError: the model cannot reach so low a rate.
    """
    if target.max_kbps is not None:
        draft.limit_blocks(target.max_kbps)
    if target.quality is not None and draft.header.tokens and useful.is_one_step:
        raise RateError(
            f"--quality {target.quality:g}: the model '{draft.header.model}' has one quality, "
            f"{useful.high_kbps:.2f} kbps per channel; leave --quality out"
        )
    if target.quality is not None:
        choice = step_of_quality(useful, target.quality, best_quality)
    elif draft.header.tokens and target.kbps is None:  # as many books as there are
        choice = StepChoice(useful.finest_step, at_finest=True)
    else:
        budget = target.budget(draft.header.channels, draft.seconds, draft.fixed_bytes)
        choice = step_within(draft, useful, budget)
    return _unless_limited(choice, draft)


def choose_layer(draft: LayeredDraft, target: RateTarget) -> StepChoice | None:
    """The step of the waveform layer for ``target``; None where it would have next to nothing.

    Raises:
        RateError: a block exceeds ``max_kbps`` without its layer.
    """
    seconds = draft.samples / draft.header.sample_rate
    if target.max_kbps is not None:
        draft.limit_blocks(target.max_kbps)
    if target.quality is not None:
        return _unless_limited(layer_step_of_quality(target.quality), draft)
    step = draft.choose(target.budget(draft.header.channels, seconds, draft.fixed_bytes))
    return None if step is None else StepChoice(step, at_finest=step == 0)


def _unless_limited(choice: StepChoice, draft: Draft | LayeredDraft) -> StepChoice:
    """Not at the finest where a block is held to a coarser step."""
    limited = any(least > choice.step_index for least in draft.least_steps)
    return replace(choice, at_finest=choice.at_finest and not limited)


def step_within(draft: Draft, useful: UsefulRange, budget: float) -> StepChoice:
    """The finest useful step whose file has at most ``budget`` bytes, or one next to it.

    The real size of the whole file is measured at about three steps: the first is where guesses
    from a few blocks lead, the next where these lead once they are corrected by what was measured.

    Raises:
        RateError: even the coarsest useful step exceeds the budget; the message has the range.
    """
    sizes: dict[int, int] = {}
    too_fine, fits = useful.finest_step - 1, useful.coarsest_step + 1  # not known to be either
    if draft.estimate(useful.finest_step) <= budget:
        too_fine = useful.finest_step
        sizes[too_fine] = draft.size(too_fine)
        if sizes[too_fine] <= budget:
            return StepChoice(too_fine, at_finest=True)
    grid = np.linspace(useful.finest_step, useful.coarsest_step, 4).round().astype(int)
    guesses = np.array([draft.estimate(int(step)) for step in grid])
    steps = np.arange(useful.finest_step, useful.coarsest_step + 1)
    guess = np.exp(np.interp(steps, grid, np.log(np.maximum(guesses, 1e-9))))

    correction = 1.0
    while fits - too_fine > 1:
        below = np.flatnonzero(guess * correction <= budget)
        predicted = int(steps[below[0]]) if below.size else useful.coarsest_step
        step = min(max(predicted, too_fine + 1), fits - 1)
        if len(sizes) > 3:  # the guesses do not lead there
            step = (too_fine + fits) // 2
        sizes[step] = draft.size(step)
        correction = sizes[step] / guess[step - useful.finest_step]
        if sizes[step] > budget:
            too_fine = step
        else:
            fits = step
            if sizes[step] >= CLOSE_ENOUGH * budget:
                break
    if fits > useful.coarsest_step:
        asked, low, high = (
            counted_kbps(size, draft.seconds, draft.fixed_bytes)
            for size in (budget, sizes[useful.coarsest_step], draft.size(useful.finest_step))
        )
        least = math.ceil(low * 100) / 100
        if useful.is_one_step:
            remedy = f"it has one rate, {least:.2f}: give that or more, or leave the rate out"
        else:
            remedy = f"choose between {least:.2f} and {high:.2f}"
        raise RateError(f"{asked:g} kbps is below what this model reaches on this audio: {remedy}")
    return StepChoice(fits, at_finest=fits == useful.finest_step)
