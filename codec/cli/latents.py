"""encode and decode: the continuous latents of an audio file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from codec.model.shipped import DEFAULT_MODEL

if TYPE_CHECKING:
    pass
from codec.cli.app import app
from codec.cli.options import (
    Device,
    Force,
    Model,
    Threads,
    expect_suffix,
    load_model,
    refuse_own_input,
    say,
)


@app.command(epilog="Example: lacuna encode song.wav song.safetensors")
def encode(
    source: Annotated[str, typer.Argument(metavar="IN", help="Audio file; '-' is stdin.")],
    target: Annotated[str, typer.Argument(metavar="OUT.safetensors")],
    model: Model = DEFAULT_MODEL,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Write the continuous latents of an audio file: (coded_channels, latent_dim, frames)."""
    from codec.model.latent_files import encode_file
    from codec.progress import audio_progress

    refuse_own_input(source, target)
    expect_suffix(target, ".safetensors")
    codec = load_model(model, device, threads)
    with audio_progress("encoding", None) as progress:
        shape = encode_file(codec, source, target, force=force, progress=progress)
    say(f"{target}: latents {shape} at {codec.frame_rate:.2f} Hz, latent_id {codec.latent_id}")


@app.command(epilog="Example: lacuna decode song.safetensors song.wav")
def decode(
    source: Annotated[str, typer.Argument(metavar="IN.safetensors")],
    target: Annotated[str, typer.Argument(metavar="OUT.wav", help="Audio file; '-' is stdout.")],
    bits: Annotated[
        str | None, typer.Option(help="Sample format: 16, 24 or float.", show_default="16")
    ] = None,
    model: Model = DEFAULT_MODEL,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Turn latents, as `encode` writes them, back into audio."""
    from codec.model.latent_files import decode_file
    from codec.progress import audio_progress

    refuse_own_input(source, target)
    codec = load_model(model, device, threads)
    with audio_progress("decoding", None) as progress:
        seconds = decode_file(codec, source, target, bits, force=force, progress=progress)
    say(f"{target}: {seconds:.2f} s")
