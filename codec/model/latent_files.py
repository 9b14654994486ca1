"""Latents on disk, for people who train on them: one safetensors file per audio file.

It holds ``latents`` (coded_channels, latent_dim, frames), float32 and standardised, and in its
metadata what is needed to turn them back into the same audio.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from codec.audio.pieces import CHUNK, Progress
from codec.audio.reading import AudioReader
from codec.audio.writing import AudioWriter
from codec.errors import AudioError, CheckpointError
from codec.files import atomic_path, unicode_path
from codec.model.latent_codec import LatentCodec
from codec.model.sound import Sound, decode_stream, encode_stream, frames_for


def encode_file(
    codec: LatentCodec, source: str, target: str, *, force: bool, progress: Progress
) -> tuple[int, ...]:
    """Write the latents of an audio file; returns their shape.

    Digital silence is stored as the latents that the network gives it.

    Raises:
        AudioError: the audio cannot be used.
        LacunaError: the file cannot be written there.
    """
    with AudioReader(source) as reader, atomic_path(target, force=force) as partial:
        info = reader.info
        blocks = reader.blocks(CHUNK)
        sound = encode_stream(codec, blocks, info.sample_rate, info.channels, progress)
        metadata = {
            "latent_id": codec.latent_id,
            "model": codec.config.name,
            "model_sample_rate": str(codec.sample_rate),
            "hop_length": str(codec.hop_length),
            "sample_rate": str(sound.sample_rate),
            "channels": str(sound.channels),
            "samples": str(sound.samples),
        }
        # Not save_file, which makes files that only their owner may read.
        partial.write_bytes(to_bytes({"latents": sound.latents}, metadata))
    return tuple(sound.latents.shape)


def decode_file(
    codec: LatentCodec,
    source: str,
    target: str,
    bits: str | None,
    *,
    force: bool,
    progress: Progress,
) -> float:
    """Turn latents that ``encode_file`` wrote into an audio file; returns its seconds.

    Raises:
        CheckpointError: the latents are another codec's.
        AudioError: the file is not one of latents.
    """
    if not Path(source).is_file():
        raise AudioError(f"'{source}' not found, or not a file; check the path")
    try:
        with unicode_path(source) as named, safe_open(named, framework="pt") as file:
            metadata = file.metadata() or {}
            latents = file.get_tensor("latents").float()
        latent_id, samples = metadata["latent_id"], int(metadata["samples"])
        rate, channels = int(metadata["sample_rate"]), int(metadata["channels"])
        if min(samples, rate, channels) < 1:
            raise ValueError(f"{samples} samples of {channels} channels at {rate} Hz")
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise AudioError(
            f"'{source}' is not a file of latents as `lacuna encode` writes them: {error}"
        ) from None
    if latent_id != codec.latent_id:
        raise CheckpointError(
            f"'{source}' holds latents of the model '{metadata.get('model')}', latent_id "
            f"{latent_id}; the model at hand is '{codec.config.name}', latent_id "
            f"{codec.latent_id}. Pass the right checkpoint with --model"
        )
    frames = frames_for(codec, samples, rate)
    expected = (codec.coded_channels(channels), codec.latent_dim, frames)
    if latents.shape != expected or not torch.isfinite(latents).all():
        raise AudioError(
            f"'{source}': expected finite latents of shape {expected} for {samples} samples of "
            f"{channels} channels at {rate} Hz, got {tuple(latents.shape)}"
        )
    written = 0
    with AudioWriter(target, rate, channels, bits, force=force) as writer:
        for piece in decode_stream(codec, Sound(latents, rate, channels, samples)):
            writer.write(piece)
            written += piece.shape[1]
            progress(written / rate)
    return samples / rate
