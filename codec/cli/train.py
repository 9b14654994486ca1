"""train codec and train context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from codec.cli.options import (
    ABOVE_ZERO,
    ONE_OR_MORE,
    ZERO_OR_MORE,
    Accelerated,
    Compute,
    Force,
)
from codec.errors import LacunaError, install_hint

Config = Annotated[str, Parameter(name="CONFIG", help="A name in configs/, or a .toml file.")]


@Parameter(name="*", group=Group("Training", sort_key=1))
@dataclass(frozen=True, kw_only=True)
class Training:
    """Options of every command that trains with a config."""

    out: Annotated[Path | None, Parameter(show_default="runs/ and the names of both")] = None
    """Folder of the run; an existing run goes on."""
    init: str | None = None
    """Start from this checkpoint's weights: fine-tuning."""
    minutes: Annotated[float | None, ABOVE_ZERO] = None
    """Train for so long in all calls; the learning rate falls to its end within them. Beside
    --steps or --schedule-minutes: end this call after so long; the same command goes on."""
    schedule_minutes: Annotated[float | None, ABOVE_ZERO] = None
    """Let the learning rate fall to its end in so long, in all calls."""
    steps: Annotated[int | None, ONE_OR_MORE] = None
    """Override the config."""
    batch_size: Annotated[int | None, ONE_OR_MORE] = None
    """Override the config."""
    seed: Annotated[int | None, ZERO_OR_MORE] = None
    """Override the config."""
    mixed_precision: str | None = None
    """auto (what is measured to be faster), no, bf16 or fp16."""
    settings: Annotated[tuple[str, ...], Parameter(name="--set", metavar="KEY=VALUE")] = ()
    """Override any value of the config: training.optimizer.learning_rate=1e-4; may be repeated."""

    def arguments(self) -> dict[str, Any]:
        """What all training functions take."""
        minutes, schedule_minutes = self.minutes, self.schedule_minutes
        if schedule_minutes is None and self.steps is None:
            minutes, schedule_minutes = None, minutes
        return {
            "init": self.init,
            "minutes": minutes,
            "schedule_minutes": schedule_minutes,
            "settings": self.settings,
            "overrides": {
                "steps": self.steps,
                "batch_size": self.batch_size,
                "seed": self.seed,
                "mixed_precision": self.mixed_precision,
            },
        }


@contextmanager
def needs_training() -> Iterator[None]:
    """Names the remedy where the training packages are not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise LacunaError(
            f"training needs the package '{error.name}': {install_hint('train')}"
        ) from None


def train_codec(
    config: Config,
    /,
    *,
    data: Annotated[Path, Parameter(help="Folder of audio to train on.")],
    training: Training = Training(),
    valid: Annotated[
        Path | None,
        Parameter(help="Folder to validate on.", show_default="every 20th file of --data"),
    ] = None,
    manifest: Annotated[
        Path | None, Parameter(help="CSV with a 'path' column and labels; selects files.")
    ] = None,
    decoder_only: Annotated[
        bool,
        Parameter(
            help="Train only the decoder of --init, on quantised latents: its files stay valid."
        ),
    ] = False,
    cache: Annotated[
        Path | None,
        Parameter(
            help="Folder that keeps decoded audio on disk: for more than memory holds, and for "
            "starts without decoding.",
            show_default="none: decoded audio is kept in memory",
        ),
    ] = None,
    accelerated: Accelerated = Accelerated(),
) -> None:
    """Train a codec.

    Example: lacuna train codec small --data music/ --out run/

    or, a decoder for your sounds: lacuna train codec small --init small --data piano/
    --decoder-only --minutes 20

    The same with several processes: torchrun --nproc_per_node 2 -m codec train codec ...
    """
    with needs_training():
        from codec.training.run import train_codec as run

    accelerated.use()
    run(
        config,
        data,
        training.out,
        valid=valid,
        manifest=manifest,
        decoder_only=decoder_only,
        cache=cache,
        cpu=accelerated.cpu,
        **training.arguments(),
    )


def train_context(
    checkpoint: Annotated[str, Parameter(name="CHECKPOINT", help="A trained codec.")],
    /,
    *,
    data: Annotated[Path, Parameter(help="Folder of audio to fit it to.")],
    out: Annotated[Path, Parameter(help="The checkpoint with its context model.")],
    updates: Annotated[
        int, ONE_OR_MORE, Parameter(help="Optimiser steps; 4000 take minutes.")
    ] = 4000,
    force: Force = False,
    compute: Compute = Compute(),
) -> None:
    """Give a trained codec a context model, which makes its files about half as large.

    Example: lacuna train context run/best.safetensors --data music/ --out my.safetensors
    """
    with needs_training():
        from codec.training.run_context import train_context as run

    compute.use()
    run(checkpoint, data, out, updates=updates, device=compute.device, force=force)
