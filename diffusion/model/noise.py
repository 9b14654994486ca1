"""The noise that sounds are made from: more of what is slow, less of what is fast.

From white noise the network makes notes too short. That is decided above t = .8, and neither more
steps, an earlier end nor another guidance changes it (tools/note_lengths.py, docs/GENERATION.md):
too little of what it makes goes on for more than a second. The sampler carries each rate of the
noise to about the same rate of the latents, so it is the noise that makes up for it, as much as a
label needs (profile.py): voices need nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

SLOW_BELOW = 0.047
"""Cycles per frame: once a second. The mean over time, which is level and color, stays as it is."""


def colored(noise: Tensor, slow: float) -> Tensor:
    """White noise (..., frames), ``slow`` times as large below and so many times smaller above."""
    if slow == 1:
        return noise
    rates = torch.fft.rfftfreq(noise.shape[-1], device=noise.device)
    gains = torch.where(rates < SLOW_BELOW, slow, 1 / slow)
    gains[0] = 1.0
    return torch.fft.irfft(torch.fft.rfft(noise) * gains, n=noise.shape[-1])
