"""Less noise between partials: for made sounds, which have no original to be true to.

A map says the power that is to be expected. Where the latents leave open at which bin a partial is,
that is a hump, and the renderer, which learned from files, fills it with noise: a voice through
unquantised latents has half the clear partials of the recording. Of a recording that is honest. A
made sound is to have as many as recordings have, so its spectrum is given back what averaging took,
as postfilters of speech synthesis do (Toda and Tokuda 2007, "A speech parameter generation
algorithm considering global variance for HMM-based speech synthesis").
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

CONTRAST = 0.5
"""At a clarity of 1 peaks stand out of the log powers around by half as much again,"""
QUIETER = 1.4
"""and noise is softer by so many nats of power: 6 dB."""
AROUND = 11
"""Bins of the medium view that are around: 237 Hz."""


def sharpened(levels: Tensor, clarity: float) -> Tensor:
    """Log powers (..., bins) with more contrast over bins, and the same power around each."""
    mean = _around(levels)
    sharp = levels + CONTRAST * clarity * (levels - mean)
    before, after = (_around(x.exp()).log() for x in (levels, sharp))
    return sharp + before - after


def _around(x: Tensor) -> Tensor:
    """The mean over AROUND bins; the outermost go on."""
    rows = F.pad(x.flatten(0, -2)[:, None], (AROUND // 2, AROUND // 2), mode="replicate")
    return F.avg_pool1d(rows, AROUND, stride=1)[:, 0].view_as(x)
