"""latents and train diffusion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from codec.cli.options import Accelerated
from codec.cli.train import Config, Training, needs_training
from codec.errors import LacunaError
from codec.model.shipped import DEFAULT_MODEL
from diffusion.cli.options import CodecModel

Manifest = Annotated[
    Path | None,
    Parameter(
        help="CSV with the columns path and class (the label); selects files.",
        show_default="labels are the names of folders",
    ),
]

MAX_GAIN_DB = 40.0
"""Levels beyond it are a slip of the keyboard."""


def latents(
    folder: Annotated[Path, Parameter(name="DIR", help="Folder of audio files.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder of the latents; an interrupted run goes on.")],
    codec: CodecModel = DEFAULT_MODEL,
    manifest: Manifest = None,
    gains: Annotated[
        str, Parameter(help="Levels in dB at which every file is encoded, as '0,-6,-12'.")
    ] = "0",
    accelerated: Accelerated = Accelerated(),
) -> None:
    """Encode a folder of audio once, for `train diffusion`; needs the training packages.

    Example: lacuna latents music/ --out latents/

    With several processes: torchrun --nproc_per_node 2 -m diffusion latents ...
    """
    with needs_training():
        from diffusion.training.run import make_latents as run
    accelerated.use()
    run(
        folder,
        out,
        codec=codec,
        manifest=manifest,
        gains_db=_gains(gains),
        cpu=accelerated.cpu,
    )


def _gains(text: str) -> tuple[float, ...]:
    try:
        gains = tuple(float(part) for part in text.split(","))
    except ValueError:
        gains = ()
    if not gains or not all(abs(gain) <= MAX_GAIN_DB for gain in gains):
        raise LacunaError(
            f"--gains '{text}' is no list of levels; expected numbers from -{MAX_GAIN_DB:g} to "
            f"{MAX_GAIN_DB:g} dB, as '0,-6,-12'"
        )
    return gains


def train_diffusion(
    config: Config,
    /,
    *,
    training: Training,
    latents: Annotated[
        Path | None, Parameter(help="What `lacuna latents` made, to train on.")
    ] = None,
    data: Annotated[
        Path | None, Parameter(help="Or a folder of audio; its latents are made first.")
    ] = None,
    codec: CodecModel = DEFAULT_MODEL,
    valid: Annotated[
        Path | None,
        Parameter(
            help="Latents (with --data: audio) to validate on.", show_default="every 20th clip"
        ),
    ] = None,
    manifest: Manifest = None,
    accelerated: Accelerated = Accelerated(),
) -> None:
    """Train a diffusion model.

    Example: lacuna train diffusion diffusion_small --latents latents/ --out run/

    The same with several processes: torchrun --nproc_per_node 2 -m diffusion train diffusion ...
    """
    with needs_training():
        from diffusion.training.run import train_diffusion as run
    accelerated.use()
    run(
        config,
        training.out,
        latents=latents,
        data=data,
        codec=codec,
        valid=valid,
        manifest=manifest,
        cpu=accelerated.cpu,
        **training.arguments(),
    )
