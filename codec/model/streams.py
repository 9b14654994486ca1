"""Recordings of any length in pieces, to latents and back, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from codec.audio.pieces import regrouped
from codec.audio.resampling import resampled
from codec.audio.waveform import FloatArray, as_array, check_finite, checked_rate
from codec.errors import AudioError, LacunaError
from codec.model.blocks import FRAMES_PER_BLOCK, LatentBlock, decode_blocks, encode_blocks
from codec.model.inputs import check_latents
from codec.model.latent_codec import LatentCodec


def encode_pieces(
    codec: LatentCodec, pieces: Iterable[Tensor | np.ndarray], sample_rate: int
) -> Iterator[Tensor]:
    """Pieces (channels, any length) at ``sample_rate`` Hz -> (coded, latent_dim, frames) each.

    Raises:
        AudioError: integers, values that are not finite, another shape, or a channel count that
            differs or that the codec cannot code.
    """
    sample_rate = checked_rate(sample_rate)
    checked = _checked(pieces, sample_rate)
    first = next(checked, None)
    if first is None:
        return
    channels = len(first)
    codec.coded_channels(channels)
    rejoined = chain([first], checked)
    at_codec_rate = resampled(rejoined, sample_rate, codec.sample_rate, channels)
    for block in encode_blocks(codec, at_codec_rate, skip_silence=False):
        yield torch.from_numpy(block.latents)


def decode_pieces(
    codec: LatentCodec, latents: Iterable[Tensor | np.ndarray], channels: int | None = None
) -> Iterator[Tensor]:
    """(coded, latent_dim, any frames) each -> (channels, samples) each, at the codec's rate.

    Raises:
        LacunaError: another shape, or values that are not finite.
    """
    checked = _checked_latents(codec, latents)
    first = next(checked, None)
    if first is None:
        return
    coded = len(first)
    flat = (piece.reshape(-1, piece.shape[2]) for piece in chain([first], checked))
    nothing_silent = np.zeros(coded, np.bool_)
    blocks = (
        LatentBlock(block.reshape(coded, codec.latent_dim, -1), nothing_silent)
        for block in regrouped(flat, FRAMES_PER_BLOCK)
    )
    width = coded if codec.config.channels == 1 else (channels or codec.config.channels)
    for samples in decode_blocks(codec, blocks, width):
        yield torch.from_numpy(samples)


def _checked(pieces: Iterable[Tensor | np.ndarray], sample_rate: int) -> Iterator[FloatArray]:
    position, channels = 0, None
    for piece in pieces:
        if 0 in piece.shape:
            continue
        array = as_array(piece)
        check_finite(array, position, sample_rate, "the waveform")
        channels = channels or len(array)
        if len(array) != channels:
            raise AudioError(
                f"got a piece of {len(array)} channels after pieces of {channels}; expected "
                f"pieces of one recording"
            )
        position += array.shape[1]
        yield array


def _checked_latents(
    codec: LatentCodec, latents: Iterable[Tensor | np.ndarray]
) -> Iterator[FloatArray]:
    coded = None
    for piece in latents:
        z = piece if isinstance(piece, Tensor) else torch.from_numpy(np.asarray(piece))
        coded = coded or (z.shape[0] if z.ndim == 3 else 0)
        if z.ndim != 3 or z.shape[:2] != (coded, codec.latent_dim) or 0 in z.shape:
            raise LacunaError(
                f"expected latents ({coded or 'coded_channels'}, {codec.latent_dim}, frames), got "
                f"{tuple(z.shape)}"
            )
        check_latents(z)
        yield z.detach().float().cpu().numpy()
