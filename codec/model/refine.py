"""What the base layer makes of a block, with the waveform layer's coefficients in their place.

Every block is transformed with one frame on either side, so that the window over the border of two
blocks is whole. What the neighbor does not say there, since it is lost or has no such layer, is the
renderer's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from codec.entropy.coefficients import Layer
from codec.network.config import FRAME
from codec.network.lapped import inverse, transform
from codec.network.layer_quantiser import step_factor
from codec.network.waveform_layer import combine, unit_steps


def refined(
    rendered: Tensor, levels: Tensor, layers: Sequence[Layer | None], channel: int
) -> Tensor:
    """A channel of a block, (1, time), with its coded coefficients.

    Args:
        rendered: the block and a frame on either side, (1, time), as the renderer makes it.
        levels: (frames, SHORT_FRAMES, SHORT_BANDS) log powers that the map expects there.
        layers: of the block before, the block itself, and the one after.
    """
    own = layers[1]
    assert own is not None
    count = len(own.split)
    ends = [0, 1, 1 + count]  # where the three blocks begin, of the block's frames and two more
    outer = [layers[0], own, layers[2]]
    parts = [(-1, 1), (0, count), (0, 1)]
    split = np.concatenate(
        [
            layer.split[begin:][:length] if layer is not None else np.zeros(length, np.uint8)
            for layer, (begin, length) in zip(outer, parts, strict=True)
        ]
    )
    steps = unit_steps(levels.numpy(), split, channel, len(own.symbols))
    edges = (1, 1 + count)
    coefficients = transform(rendered.numpy(), split, edges)[0]
    for layer, start, (begin, length) in zip(outer, ends, parts, strict=True):
        if layer is None:
            continue
        at = slice(start, start + length)
        if layer.alone:
            coefficients[at] = 0.0
        symbols = layer.symbols[channel, begin:][:length]
        scaled = steps[at] * step_factor(layer.step_index)
        coefficients[at] = combine(coefficients[at], symbols, scaled)
    out = torch.from_numpy(inverse(coefficients[None], split, edges))
    return out[:, FRAME : (1 + count) * FRAME]
