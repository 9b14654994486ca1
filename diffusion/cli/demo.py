"""demo: a bundled recording, there and back, and a new sound."""

from __future__ import annotations

from pathlib import Path

from codec.cli import demo as codec_demo
from codec.cli.demo import DemoRate, OutFolder
from codec.cli.options import Compute, Model
from codec.model.shipped import DEFAULT_MODEL


def demo(
    *,
    out: OutFolder = Path("lacuna_demo"),
    kbps: DemoRate = None,
    model: Model = DEFAULT_MODEL,
    compute: Compute = Compute(),
) -> None:
    """Compress and decompress a bundled recording, compare the two, and make a new sound.

    Example: lacuna demo --out lacuna_demo
    """
    codec_demo.demo(out=out, kbps=kbps, model=model, compute=compute)
    from diffusion.demo import run_demo
    from diffusion.model.shipped import shipped_models

    if shipped_models():
        run_demo(out, compute.device)
