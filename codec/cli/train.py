"""train codec and train context."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codec.errors import LacunaError

if TYPE_CHECKING:
    pass
from codec.cli.app import train_app
from codec.cli.options import Device, Force, Threads, use_device


@train_app.command("codec", epilog="Example: lacuna train codec small --data music/ --out run/")
def train_codec(
    config: Annotated[str, typer.Argument(help="A name in configs/, or a .toml file.")],
    data: Annotated[Path, typer.Option(help="Folder of audio to train on.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; an existing run goes on.")],
    valid: Annotated[
        Path | None,
        typer.Option(help="Folder to validate on.", show_default="every 20th file of --data"),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="CSV with a 'path' column and labels; selects files.")
    ] = None,
    init: Annotated[
        str | None, typer.Option(help="Start from this checkpoint's weights: fine-tuning.")
    ] = None,
    decoder_only: Annotated[
        bool,
        typer.Option(
            "--decoder-only",
            help="Train only the decoder of --init, on quantised latents: its files stay valid.",
        ),
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="End this call after so long; run it again to go on."),
    ] = None,
    schedule_minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Fit the learning-rate schedule to so much time in all calls."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Override the config.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Override the config.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Override the config.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Override a value: training.kl.target_kbps=16; may be repeated."
        ),
    ] = None,
    mixed_precision: Annotated[str | None, typer.Option(help="no, bf16 or fp16.")] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps decoded audio on disk: for more than memory holds, and for "
            "starts without decoding.",
            show_default="none: decoded audio is kept in memory",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, or auto for what Accelerate finds.")] = "auto",
    threads: Threads = None,
) -> None:
    """Train a codec; the same through: accelerate launch -m codec train codec ..."""
    try:
        from codec.training.run import train_codec as run
    except ModuleNotFoundError as error:
        raise LacunaError(
            f"training needs the package '{error.name}': pip install 'lacuna-codec[train]'"
        ) from None

    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    run(
        config,
        data,
        out,
        valid=valid,
        manifest=manifest,
        init=init,
        decoder_only=decoder_only,
        minutes=minutes,
        schedule_minutes=schedule_minutes,
        cache=cache,
        cpu=device == "cpu",
        settings=settings or (),
        overrides={
            "steps": steps,
            "batch_size": batch_size,
            "seed": seed,
            "mixed_precision": mixed_precision,
        },
    )


@train_app.command(
    "context",
    epilog="Example: lacuna train context run/best.safetensors --data music/ --out my.safetensors",
)
def train_context(
    source: Annotated[str, typer.Argument(metavar="CKPT", help="A trained codec.")],
    data: Annotated[Path, typer.Option(help="Folder of audio to fit it to.")],
    out: Annotated[Path, typer.Option(help="The checkpoint with its context model.")],
    updates: Annotated[int, typer.Option(min=1, help="Optimiser steps; 4000 take minutes.")] = 4000,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Give a trained codec a context model, which makes its files about half as large."""
    from codec.training.run_context import train_context as run

    use_device(device, threads)
    run(source, data, out, updates=updates, device=device, force=force)
