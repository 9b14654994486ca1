"""Is it new? The distance of generated latents to the nearest window of the training data.

The distance is that of codec/evaluation/generated/nearest.py. Windows are of one coded channel, so
that a copy of one channel of a stereo recording is found too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from codec.evaluation.generated.nearest import nearest

WINDOW_SECONDS = 1.5
"""A note or a word may be like another one, a phrase is a copy."""


def windows_of(latents: Tensor, real: Tensor, window: int) -> Tensor:
    """Queries from a batch: windows side by side, of each channel that is there.

    Args:
        latents: (batch, coded_channels, latent_dim, frames).
        real: (batch, coded_channels, 1, frames), 1 where the channel exists and is no padding;
            windows that hold anything else are left out.

    Returns:
        (queries, latent_dim, window).
    """
    whole = latents.shape[3] // window * window
    values, kept = (x[..., :whole].unflatten(3, (-1, window)) for x in (latents, real))
    return values.transpose(2, 3)[kept[:, :, 0].amin(dim=3) > 0]


@dataclass(frozen=True)
class Memorisation:
    """Median and least distance to the training data: of generated and of held-out windows."""

    generated: float
    generated_least: float
    held_out: float
    held_out_least: float

    def __str__(self) -> str:
        return (
            f"distance to the nearest training window: generated {self.generated:.3f} (least "
            f"{self.generated_least:.3f}), held-out recordings {self.held_out:.3f} (least "
            f"{self.held_out_least:.3f}); much nearer than held-out ones would be memorised"
        )


def memorisation(generated: Tensor, held_out: Tensor, tracks: Iterable[Tensor]) -> Memorisation:
    """Compare generated windows with ones that were never trained on, as ``nearest`` takes them."""
    both = nearest(torch.cat([generated, held_out]), tracks).distance
    ours, theirs = both[: len(generated)], both[len(generated) :]
    return Memorisation(
        float(ours.median()), float(ours.min()), float(theirs.median()), float(theirs.min())
    )
