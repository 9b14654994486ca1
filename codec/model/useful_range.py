"""The quantiser steps that are of use with a model, and the bit rates they come to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from codec.entropy.coder import SymbolCoder
from codec.entropy.quantise import STEP_INDICES


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

    @property
    def is_one_step(self) -> bool:
        """There is one rate and no other."""
        return self.finest_step == self.coarsest_step

    def __post_init__(self) -> None:
        if not 0 <= self.finest_step <= self.coarsest_step < STEP_INDICES:
            raise ValueError(
                f"useful steps {self.finest_step}..{self.coarsest_step}: expected a range "
                f"within 0..{STEP_INDICES - 1}"
            )
        if not 0 <= self.low_kbps <= self.high_kbps < math.inf:
            raise ValueError(f"useful rates {self.low_kbps}..{self.high_kbps}: expected a range")


def measure_range(
    blocks: list[NDArray[Any]],
    coder: SymbolCoder,
    frame_rate: float,
    finest_step: int,
    coarsest_step: int,
) -> UsefulRange:
    """What two steps cost on blocks (streams, latent_dim, frames): latents, or tokens."""
    seconds = sum(block.shape[0] * block.shape[2] for block in blocks) / frame_rate

    def kbps(step: int) -> float:
        coded = sum(len(coder.encode(coder.quantise(block, step), step)) for block in blocks)
        return coded * 8 / seconds / 1000

    return UsefulRange(finest_step, coarsest_step, kbps(coarsest_step), kbps(finest_step))
