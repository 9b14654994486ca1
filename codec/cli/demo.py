"""demo: a bundled recording, there and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    pass
from codec.cli.app import app
from codec.cli.options import Device, ModelForRate, Threads, load_model


@app.command(epilog="Example: lacuna demo --out lacuna_demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("lacuna_demo"),
    kbps: Annotated[float | None, typer.Option(show_default="3 per channel")] = None,
    model: ModelForRate = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Compress and decompress a bundled recording and show what became of it."""
    from codec.demo import CHANNELS, run_demo
    from codec.lac.rate import RateTarget
    from codec.model.shipped import models_for_rate

    wanted = model or models_for_rate(RateTarget(kbps).kbps_per_channel(CHANNELS))[0]
    run_demo(load_model(wanted, device, threads), out, kbps)
