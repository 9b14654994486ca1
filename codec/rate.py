"""Choosing the quantiser's step for a wanted bit rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from codec.blocks import LatentBlock
from codec.entropy import EntropyTables, cost_bits
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

_CODER_BITS = 16  # what the range coder adds to a block beside the information in it


@dataclass(frozen=True)
class StepChoice:
    """The step that was chosen, and whether it is the finest useful one."""

    step_index: int
    at_finest: bool


def symbol_bits(blocks: Iterable[LatentBlock], step_index: int, tables: EntropyTables) -> float:
    """Size of all blocks' payloads at a step, in bits, from the tables' probabilities."""
    bits = 0.0
    step = tables.at(step_index).step
    for block in blocks:
        for channel in np.flatnonzero(~block.silent):
            symbols = quantise(block.latents[channel], step)
            bits += cost_bits(symbols, step_index, tables)
        bits += _CODER_BITS
    return bits


def choose_step(
    blocks: Callable[[], Iterable[LatentBlock]],
    tables: EntropyTables,
    kbps: float,
    seconds: float,
    overhead_bytes: int,
) -> StepChoice:
    """The finest useful step whose file stays at or below ``kbps``.

    ``blocks()`` is called for each step that is tried; ``overhead_bytes`` is what the file holds
    beside the symbols.

    Raises:
        RateError: even the coarsest useful step exceeds the rate; the message has the range.
    """
    seconds = max(seconds, SHORTEST_SECONDS)
    budget = kbps * 1000 * seconds - 8 * overhead_bytes
    bits = {step: symbol_bits(blocks(), step, tables) for step in (FINEST_STEP, COARSEST_STEP)}
    if bits[FINEST_STEP] <= budget:
        return StepChoice(FINEST_STEP, at_finest=True)
    if bits[COARSEST_STEP] > budget:
        low, high = (
            (bits[step] + 8 * overhead_bytes) / seconds / 1000
            for step in (COARSEST_STEP, FINEST_STEP)
        )
        raise RateError(
            f"{kbps:g} kbps is below what this model reaches on this audio: "
            f"choose between {np.ceil(low * 100) / 100:.2f} and {high:.2f}"
        )
    too_fine, fits = FINEST_STEP, COARSEST_STEP
    while fits - too_fine > 1:
        middle = (too_fine + fits) // 2
        if symbol_bits(blocks(), middle, tables) <= budget:
            fits = middle
        else:
            too_fine = middle
    return StepChoice(fits, at_finest=False)


def useful_range(
    latents: np.ndarray, tables: EntropyTables, frame_rate: float
) -> tuple[float, float]:
    """kbps per coded channel at the coarsest and the finest useful step, on (latent_dim, n)."""
    block = LatentBlock(latents[None], np.zeros(1, np.bool_))
    seconds = latents.shape[1] / frame_rate
    low, high = (
        symbol_bits([block], step, tables) / seconds / 1000 for step in (COARSEST_STEP, FINEST_STEP)
    )
    return low, high
