"""Latents on disk, for people who train on them: one safetensors file per audio file.

It holds ``latents`` (coded_channels, latent_dim, frames), float32 and standardised, and in its
metadata what is needed to turn them back into the same audio.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from codec.audio import AudioReader, AudioWriter, StreamResampler, resampled_length
from codec.blocks import FRAMES_PER_BLOCK, LatentBlock, decode_blocks
from codec.codec import Codec
from codec.compression import CHUNK, Progress, latent_blocks
from codec.errors import AudioError, CheckpointError
from codec.files import atomic_path


def encode_file(
    codec: Codec, source: str, target: str, *, force: bool, progress: Progress
) -> tuple[int, ...]:
    """Write the latents of an audio file; returns their shape.

    Raises:
        AudioError: the audio cannot be used.
    """
    with AudioReader(source) as reader, atomic_path(Path(target), force=force) as partial:
        info = reader.info
        samples = 0

        def counted():  # type: ignore[no-untyped-def]
            nonlocal samples
            for chunk in reader.blocks(CHUNK):
                samples += chunk.shape[1]
                progress(samples / info.sample_rate)
                yield chunk

        blocks = [
            _with_silence(codec, block)
            for block in latent_blocks(codec, counted(), info.sample_rate, info.channels)
        ]
        latents = np.concatenate(blocks, axis=-1)
        metadata = {
            "latent_id": codec.latent_id,
            "model": codec.config.name,
            "model_sample_rate": str(codec.sample_rate),
            "hop_length": str(codec.hop_length),
            "sample_rate": str(info.sample_rate),
            "channels": str(info.channels),
            "samples": str(samples),
        }
        save_file({"latents": latents}, partial, metadata)
    return latents.shape


def _with_silence(codec: Codec, block: LatentBlock) -> np.ndarray:
    """The block's latents; digital silence becomes the latents that the encoder gives it."""
    import torch

    latents = block.latents.copy()
    for channel in np.flatnonzero(block.silent):
        zeros = torch.zeros(1, codec.config.channels, latents.shape[2] * codec.hop_length)
        with torch.inference_mode():
            latents[channel] = codec.encode(zeros.to(codec.device))[0, 0].cpu().numpy()
    return latents


def decode_file(
    codec: Codec, source: str, target: str, bits: str | None, *, force: bool, progress: Progress
) -> float:
    """Turn latents that ``encode_file`` wrote into an audio file; returns its seconds.

    Raises:
        CheckpointError: the latents are another codec's.
        AudioError: the file is not one of latents.
    """
    try:
        with safe_open(source, framework="np") as file:
            metadata = file.metadata() or {}
            latents = file.get_tensor("latents")
        latent_id, samples = metadata["latent_id"], int(metadata["samples"])
        rate, channels = int(metadata["sample_rate"]), int(metadata["channels"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise AudioError(
            f"'{source}' is not a file of latents as `lacuna encode` writes them: {error}"
        ) from None
    if latent_id != codec.latent_id:
        raise CheckpointError(
            f"'{source}' holds latents of the model '{metadata.get('model')}', latent_id "
            f"{latent_id}; the model at hand is '{codec.config.name}', {codec.latent_id}. "
            f"Pass the right checkpoint with --model"
        )
    length = resampled_length(samples, rate, codec.sample_rate)
    frames = -(-length // codec.hop_length)
    expected = (codec.coded_channels(channels), codec.latent_dim, frames)
    if latents.shape != expected or not np.isfinite(latents).all():
        raise AudioError(
            f"'{source}': expected finite latents of shape {expected} for {samples} samples of "
            f"{channels} channels at {rate} Hz, got {latents.shape}"
        )
    nothing_silent = np.zeros(expected[0], np.bool_)
    blocks = (
        LatentBlock(latents[..., i : i + FRAMES_PER_BLOCK].astype(np.float32), nothing_silent)
        for i in range(0, frames, FRAMES_PER_BLOCK)
    )
    resampler = StreamResampler(codec.sample_rate, rate, channels)
    written = 0
    with AudioWriter(target, rate, channels, bits, force=force) as writer:

        def keep(piece: np.ndarray) -> None:
            nonlocal written
            piece = piece[:, : samples - written]
            written += piece.shape[1]
            writer.write(piece)
            progress(written / rate)

        for decoded in decode_blocks(codec, blocks, channels):
            keep(resampler.process(decoded[:, :length]))
            length -= decoded.shape[1]
        keep(resampler.process(np.zeros((channels, 0), np.float32), last=True))
        writer.write(np.zeros((channels, samples - written), np.float32))
    return samples / rate
