"""latents and train diffusion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from codec.cli.extra import require
from codec.cli.options import ONE_OR_MORE, Accelerated
from codec.cli.train import Config, Training, needs_training
from codec.errors import LacunaError
from codec.model.shipped import DEFAULT_MODEL
from diffusion.cli.options import CodecModel
from diffusion.model.shipped import DEFAULT_MODEL as DEFAULT_DIFFUSION

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
    workers: Annotated[
        int, ONE_OR_MORE, Parameter(help="Processes on the CPU, each with one thread.")
    ] = 1,
    accelerated: Accelerated = Accelerated(),
) -> None:
    """Encode a folder of audio once, for `train diffusion`; needs the training packages.

    Example: lacuna latents music/ --out latents/ --workers 4

    On several GPUs or machines: torchrun --nproc_per_node 2 -m diffusion latents ...
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
        workers=workers,
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
    training: Training = Training(),
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
            help="Latents (with --data: audio) to validate on.", show_default="every 20th recording"
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


def train_adapter(
    *,
    label: Annotated[str, Parameter(help="A new name, for `generate --label`.")],
    data: Annotated[Path, Parameter(help="Folder of audio to adapt to.")],
    training: Training = Training(),
    codec: Annotated[
        str | None,
        Parameter(
            help="A codec's name, or a checkpoint's path.",
            show_default="the shipped one that the model was trained on",
        ),
    ] = None,
    valid: Annotated[
        Path | None,
        Parameter(help="Folder to validate on.", show_default="every 20th file of --data"),
    ] = None,
    accelerated: Accelerated = Accelerated(),
) -> None:
    """Teach a diffusion model your sounds: a small file beside it; needs the extra `adapt`.

    Example: lacuna train adapter --label bells --data bells/ --minutes 20

    then: lacuna generate new.wav --label bells --adapter runs/adapter-bells/best.safetensors

    The model is the shipped one, or that of --init. It stays as it is; the adapter works with this
    model alone, and brings it the label.
    """
    require("adapting a diffusion model", "adapt", "peft")
    with needs_training():
        from diffusion.training.run_adapter import train_adapter as run
    accelerated.use()
    arguments = training.arguments()
    init = arguments.pop("init") or DEFAULT_DIFFUSION
    run(
        label,
        data,
        training.out,
        init=init,
        codec=codec,
        valid=valid,
        cpu=accelerated.cpu,
        **arguments,
    )
