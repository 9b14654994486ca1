"""encode and decode: the continuous latents of an audio file."""

from __future__ import annotations

from typing import Annotated

from codec.cli.options import (
    AudioOutput,
    Compute,
    Force,
    Model,
    expect_suffix,
    refuse_own_input,
    say,
    word,
)
from codec.model.shipped import DEFAULT_MODEL


def encode(
    source: Annotated[str, word("IN", "Audio file; '-' is stdin.")],
    target: Annotated[str, word("OUT", "A .safetensors file.")],
    /,
    *,
    model: Model = DEFAULT_MODEL,
    force: Force = False,
    compute: Compute = Compute(),
) -> None:
    """Write the continuous latents of an audio file: (coded_channels, latent_dim, frames).

    Example: lacuna encode song.wav song.safetensors
    """
    refuse_own_input(source, target)
    expect_suffix(target, ".safetensors")
    compute.use()
    codec = compute.load(model)
    from codec.model.latent_files import encode_file
    from codec.progress import audio_progress

    with audio_progress("encoding", None) as progress:
        shape = encode_file(codec, source, target, force=force, progress=progress)
    say(f"{target}: latents {shape} at {codec.frame_rate:.2f} Hz, latent_id {codec.latent_id}")


def decode(
    source: Annotated[str, word("IN", "A .safetensors file, as `lacuna encode` writes it.")],
    target: Annotated[str, word("OUT", "Audio file; '-' is stdout.")],
    /,
    *,
    model: Model = DEFAULT_MODEL,
    output: AudioOutput = AudioOutput(),
    compute: Compute = Compute(),
) -> None:
    """Turn latents back into audio.

    Example: lacuna decode song.safetensors song.wav
    """
    refuse_own_input(source, target)
    compute.use()
    codec = compute.load(model)
    from codec.model.latent_files import decode_file
    from codec.progress import audio_progress

    with audio_progress("decoding", None) as progress:
        seconds = decode_file(
            codec, source, target, output.bits, force=output.force, progress=progress
        )
    say(f"{target}: {seconds:.2f} s")
