"""Which blocks a decoder is to denoise: the encoder finds out, since it knows what was quantised.

Each block is decoded from the latents as they were, as a file says them, and as denoised ones. The
one whose mel spectra are nearer to those of the first wins: whoever decodes the file in as many
steps never gets a block that is worse by this measure. Symbols and bytes are the same.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from codec.lac.denoising import Denoising
from codec.lac.draft import Draft, LatentSpool
from codec.lac.reader import Block
from codec.metrics.mel import mel_distance
from codec.model.blocks import LatentBlock, decode_blocks
from codec.model.latent_codec import LatentCodec


def choose_blocks(
    codec: LatentCodec, draft: Draft, encoded: LatentSpool, step_index: int, denoising: Denoising
) -> None:
    """Set ``draft.denoise`` for a file of this step; ``encoded`` has the encoder's own latents."""
    blocks = zip(draft.blocks(step_index), encoded, strict=True)
    for index, ((block, symbols, step), true) in enumerate(blocks):
        heard = ~block.silent
        if not heard.any():
            continue
        plain = np.zeros_like(block.latents)
        plain[heard] = codec.coder.dequantise(symbols[heard], step)
        denoised = denoising.latents(codec, Block(symbols, plain, block.silent, step), index)
        wanted, *others = (
            _sound(codec, LatentBlock(latents, block.silent), draft.header.channels, index)
            for latents in (true.latents, plain, denoised)
        )
        off = [float(mel_distance(x, wanted, codec.sample_rate).mean()) for x in others]
        draft.denoise[index] = off[1] < off[0]


def _sound(codec: LatentCodec, block: LatentBlock, channels: int, index: int) -> torch.Tensor:
    """(channels, time) of a block with silence around it."""
    samples: NDArray[np.float32] = next(decode_blocks(codec, [block], channels, index))
    return torch.from_numpy(samples)
