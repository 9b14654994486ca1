"""Blocks with a waveform layer on their way into a file: their latents, and their coefficients over
the steps that a decoder will know.

The decoder knows levels from quantised latents, so these are quantised first; and from those of the
next block too, so each block waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import torch

from codec.entropy.coefficients import Layer, without_zeros
from codec.model.blocks import (
    LatentBlock,
    block_windows,
    encode_block,
    latent_window,
    silence_of,
)
from codec.model.latent_codec import LatentCodec
from codec.network.config import FRAME
from codec.network.lapped import transform
from codec.network.layer_quantiser import quantise, step_factor
from codec.network.waveform_layer import choose_split, unit_steps

LARGEST_VALUE = 60_000.0
"""Values are held as float16."""

SPARSE_COEFFICIENTS, SPARSE_SHARE = 5, 0.99
"""A block is sparse if so many coefficients a frame hold this share of its power, each weighed by
its frequency, so that what is high and quiet counts. Tones and beeps do; an instrument's single
notes come to .96 at most (tests/codec/lac/test_sparse.py)."""


@dataclass(frozen=True)
class Coefficients:
    """A block's coefficients over their unit steps, to be quantised."""

    split: np.ndarray
    """(frames,) uint8"""
    values: np.ndarray
    """(coded_channels, frames, FRAME) float16; zeros in channels that are silent."""
    sparse: bool
    """A few of them hold all of the sound."""

    def at(self, step_index: int) -> Layer:
        """The layer with a step: as many bins as are not all zero."""
        symbols = quantise(self.values, step_factor(step_index))
        return Layer(step_index, self.split, without_zeros(symbols), self.sparse)

    def first(self, frames: int) -> Coefficients:
        """Those of the first frames, as float32: quicker where they are quantised several times."""
        values = self.values[:, :frames].astype(np.float32)
        return Coefficients(self.split[:frames], values, self.sparse)


def encode_layered_blocks(
    codec: LatentCodec,
    chunks: Iterable[np.ndarray],
    requantised: Callable[[LatentBlock], np.ndarray],
    only_sparse: bool = False,
) -> Iterator[tuple[LatentBlock, Coefficients | None]]:
    """As ``encode_blocks``, with each block's coefficients.

    ``requantised`` gives the latents that a decoder will have of a block. With ``only_sparse``
    there are coefficients until a block is not sparse, and then none.
    """
    silence = silence_of(codec)
    layered, previous = True, None
    blocks = _requantised_blocks(codec, chunks, requantised)
    for current, following in pairwise(chain(blocks, [None])):
        assert current is not None
        block, decoded, sound = current
        coefficients = None
        if layered:
            sparse = is_sparse(sound[~block.silent])
            layered = sparse or not only_sparse
        if layered:
            around = previous, decoded, following[1] if following is not None else None
            coefficients = _coefficients(codec, sound, around, silence, sparse)
        yield block, coefficients
        previous = decoded


def _requantised_blocks(
    codec: LatentCodec,
    chunks: Iterable[np.ndarray],
    requantised: Callable[[LatentBlock], np.ndarray],
) -> Iterator[tuple[LatentBlock, LatentBlock, np.ndarray]]:
    """Each block, as a decoder will have it, and its sound with a frame on either side."""
    for window, samples in block_windows(codec, chunks):
        block = encode_block(codec, window, samples, skip_silence=True, tokens=False)
        decoded = LatentBlock(requantised(block), block.silent)
        yield block, decoded, _with_a_frame_around(codec, window, decoded)


def is_sparse(sound: np.ndarray) -> bool:
    """Whether a few coefficients hold all of a block's coded channels, (rows, frames * FRAME)."""
    if not len(sound):
        return True
    frames = sound.shape[1] // FRAME
    coefficients = transform(sound, np.zeros(frames, np.uint8))
    power = (coefficients**2 * (np.arange(FRAME) + 0.5)).ravel()
    few = SPARSE_COEFFICIENTS * frames * len(sound)
    return bool(np.partition(power, -few)[-few:].sum() >= SPARSE_SHARE * power.sum())


def _with_a_frame_around(codec: LatentCodec, window: np.ndarray, block: LatentBlock) -> np.ndarray:
    """The coded channels of a block and of a frame on either side, (coded, time)."""
    first = (codec.autoencoder.encoder.receptive_frames - 1) * FRAME
    span = window[:, first : first + (block.latents.shape[2] + 2) * FRAME]
    return codec.to_rows(torch.from_numpy(span)[None])[0, :, 0].numpy()


@torch.inference_mode()
def _coefficients(
    codec: LatentCodec,
    sound: np.ndarray,
    blocks: tuple[LatentBlock | None, LatentBlock, LatentBlock | None],
    silence: np.ndarray | None,
    sparse: bool,
) -> Coefficients:
    own = blocks[1]
    frames = own.latents.shape[2]
    values = np.zeros((len(sound), frames, FRAME), np.float16)
    heard = np.flatnonzero(~own.silent)
    if not heard.size:
        return Coefficients(np.zeros(frames, np.uint8), values, sparse)
    first = codec.autoencoder.decoder.receptive_frames - 1
    levels = []
    for channel in heard:
        window = latent_window(codec, blocks, int(channel), silence)
        z = torch.from_numpy(window).to(codec.device)[None]
        levels.append(codec.levels(z)[0, first : first + frames + 2].cpu().numpy())
    waveform = sound[heard]
    split = choose_split(waveform, np.stack(levels))
    split[0] = split[-1] = 0
    coefficients = transform(waveform, split, (1, 1 + frames))
    for channel, level, row in zip(heard, levels, coefficients, strict=True):
        ratio = row / unit_steps(level, split, int(channel), len(sound))
        values[channel] = np.clip(ratio[1:-1], -LARGEST_VALUE, LARGEST_VALUE)
    return Coefficients(split[1:-1], values, sparse)
