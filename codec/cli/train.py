"""train codec and train context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from codec.cli.options import ONE_OR_MORE, ZERO_OR_MORE, Accelerated, Compute, Force
from codec.errors import LacunaError, install_hint

Config = Annotated[str, Parameter(name="CONFIG", help="A name in configs/, or a .toml file.")]


@Parameter(name="*", group=Group("Training", sort_key=1))
@dataclass(frozen=True, kw_only=True)
class Training:
    """Of every command that trains with a config."""

    out: Path
    """Folder of the run; an existing run goes on."""
    init: str | None = None
    """Start from this checkpoint's weights: fine-tuning."""
    minutes: Annotated[float | None, ZERO_OR_MORE] = None
    """End this call after so long; run it again to go on."""
    schedule_minutes: Annotated[float | None, ZERO_OR_MORE] = None
    """Fit the learning-rate schedule to so much time in all calls."""
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
        return {
            "init": self.init,
            "minutes": self.minutes,
            "schedule_minutes": self.schedule_minutes,
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
    training: Training,
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
