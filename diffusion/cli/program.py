"""The command ``lacuna`` with all that it can do: the codec's commands and the diffusion stage's.

Heavy imports happen inside the commands, so that --help is quick.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from codec.cli import app as codec_app
from codec.cli import demo as codec_demo
from codec.cli import models as codec_models
from codec.cli.options import AsJson, Device, ModelForRate, Threads
from codec.cli.program import main as run_program
from codec.errors import LacunaError
from codec.model.shipped import DEFAULT_MODEL
from diffusion.cli.generate import add_commands


def _extended(base: typer.Typer) -> typer.Typer:
    """The same program, to which commands can be added without changing the codec's own."""
    program = copy.copy(base)
    program.registered_commands = list(base.registered_commands)
    program.registered_groups = list(base.registered_groups)
    return program


app = _extended(codec_app.app)
# These two have more to tell and to show here.
app.registered_commands = [
    c for c in app.registered_commands if c.callback not in (codec_models.models, codec_demo.demo)
]
train_app = _extended(codec_app.train_app)
app.registered_groups = [
    g for g in app.registered_groups if g.typer_instance is not codec_app.train_app
]
app.add_typer(train_app, name="train")
add_commands(app)

CodecModel = Annotated[
    str, typer.Option("--codec", help="A shipped codec's name, or a checkpoint's path.")
]
TrainingDevice = Annotated[
    str, typer.Option(help="cpu, or auto for what Accelerate finds.", metavar="[cpu|auto]")
]
Manifest = Annotated[
    Path | None,
    typer.Option(
        help="CSV with the columns path and class (the label); selects files.",
        show_default="labels are the names of folders",
    ),
]


MAX_GAIN_DB = 40.0
"""Levels beyond it are a slip of the keyboard."""


def main() -> None:
    """Entry point of the console command."""
    run_program(app)


@app.command(epilog="Example: lacuna models")
def models(as_json: AsJson = False) -> None:
    """List the models that ship with this package, and the labels they know."""
    from diffusion.model.checkpoint import load as load_checkpoint
    from diffusion.model.shipped import shipped_models

    rows = []
    for name, path in shipped_models().items():
        loaded = load_checkpoint(path)
        rows.append(
            {
                "name": name,
                "kind": "diffusion",
                "labels": list(loaded.labels),
                "codec": loaded.codec,
                "latent_id": loaded.latent_id,
                "path": str(path),
            }
        )
    if as_json:
        print(json.dumps(codec_models.codec_rows() + rows))
        return
    codec_models.models()
    for row in rows:
        print(
            f"{row['name']} (diffusion): makes and edits latents of '{row['codec']}', latent_id "
            f"{row['latent_id']}\n  labels: {', '.join(row['labels'])}\n  {row['path']}"
        )


@app.command(epilog="Example: lacuna demo --out lacuna_demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("lacuna_demo"),
    kbps: Annotated[float | None, typer.Option(show_default="3 per channel")] = None,
    model: ModelForRate = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Compress and decompress a bundled recording, show what became of it, and make a new sound."""
    from diffusion.demo import run_demo
    from diffusion.model.shipped import shipped_models

    codec_demo.demo(out, kbps, model, device, threads)
    if shipped_models():
        run_demo(out, device)


@contextmanager
def _needs_training() -> Iterator[None]:
    """Name the remedy where the training packages are not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise LacunaError(
            f"training needs the package '{error.name}': pip install 'lacuna-codec[train]'"
        ) from None


def _limit(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


@app.command("latents", epilog="Example: lacuna latents music/ --out latents/")
def make_latents(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of audio files.")],
    out: Annotated[Path, typer.Option(help="Folder of the latents; an interrupted run goes on.")],
    codec: CodecModel = DEFAULT_MODEL,
    manifest: Manifest = None,
    gains: Annotated[
        str, typer.Option(help="Levels in dB at which every file is encoded, as '0,-6,-12'.")
    ] = "0",
    device: TrainingDevice = "auto",
    threads: Threads = None,
) -> None:
    """Encode a folder of audio once, for `train diffusion`; needs the training packages.

    With several processes: accelerate launch -m diffusion latents ...
    """
    with _needs_training():
        from diffusion.training.run import make_latents as run
    _limit(threads)
    run(
        folder,
        out,
        codec=codec,
        manifest=manifest,
        gains_db=_gains(gains),
        cpu=device == "cpu",
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


@train_app.command(
    "diffusion",
    epilog="Example: lacuna train diffusion diffusion_small --latents latents/ --out run/",
)
def train_diffusion(
    config: Annotated[str, typer.Argument(help="A name in configs/, or a .toml file.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; an existing run goes on.")],
    latents: Annotated[
        Path | None, typer.Option(help="What `lacuna latents` made, to train on.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Or a folder of audio; its latents are made first.")
    ] = None,
    codec: CodecModel = DEFAULT_MODEL,
    valid: Annotated[
        Path | None,
        typer.Option(
            help="Latents (with --data: audio) to validate on.", show_default="every 20th clip"
        ),
    ] = None,
    manifest: Manifest = None,
    init: Annotated[
        str | None, typer.Option(help="Start from this checkpoint's weights: fine-tuning.")
    ] = None,
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
            "--set",
            help="Override a value: training.optimizer.learning_rate=1e-4; may be repeated.",
        ),
    ] = None,
    mixed_precision: Annotated[str | None, typer.Option(help="no, bf16 or fp16.")] = None,
    device: TrainingDevice = "auto",
    threads: Threads = None,
) -> None:
    """Train a diffusion model; also through: accelerate launch -m diffusion train diffusion ..."""
    with _needs_training():
        from diffusion.training.run import train_diffusion as run
    _limit(threads)
    run(
        config,
        out,
        latents=latents,
        data=data,
        codec=codec,
        valid=valid,
        manifest=manifest,
        init=init,
        minutes=minutes,
        schedule_minutes=schedule_minutes,
        cpu=device == "cpu",
        settings=settings or (),
        overrides={
            "steps": steps,
            "batch_size": batch_size,
            "seed": seed,
            "mixed_precision": mixed_precision,
        },
    )


if __name__ == "__main__":
    main()
