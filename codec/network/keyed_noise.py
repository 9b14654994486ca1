"""Noise that belongs to a place: the same latent frame of a channel always gets the same.

What a decoder makes up must not depend on where decoding began: a file decoded from its middle
sounds as it does decoded whole. Philox is a counter-based generator (Salmon et al. 2011, "Parallel
random numbers: as easy as 1, 2, 3"), so any frame's numbers are drawn without those before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_NORMAL, _UNIFORM = 0, 1


def normal(first_frame: int, frames: int, channels: Sequence[int], count: int) -> Tensor:
    """Unit Gaussian values: (channels, frames, count), float32."""
    return _draw(_NORMAL, first_frame, frames, channels, count)


def uniform(first_frame: int, frames: int, channels: Sequence[int], count: int) -> Tensor:
    """Values from 0 to 1: (channels, frames, count), float32."""
    return _draw(_UNIFORM, first_frame, frames, channels, count)


def _draw(kind: int, first_frame: int, frames: int, channels: Sequence[int], count: int) -> Tensor:
    values = np.empty((len(channels), frames, count), np.float32)
    for row, channel in enumerate(channels):
        bits = np.random.Philox(key=np.array([channel, kind], np.uint64), counter=0)
        generator, state = np.random.Generator(bits), bits.state
        draw = generator.standard_normal if kind == _NORMAL else generator.random
        for frame in range(frames):
            # Halos reach before the first frame.
            state["state"]["counter"][2] = (first_frame + frame) % (1 << 64)
            bits.state = state
            draw(dtype=np.float32, out=values[row, frame])
    return torch.from_numpy(values)
