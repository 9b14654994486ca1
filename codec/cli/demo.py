"""demo: a bundled recording, there and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from codec.cli.options import Compute, Model
from codec.model.shipped import DEFAULT_MODEL

OutFolder = Annotated[Path, Parameter(metavar="DIR", help="Folder for the results.")]
DemoRate = Annotated[
    float | None, Parameter(help="Ceiling for the bit rate.", show_default="3 per channel")
]


def demo(
    *,
    out: OutFolder = Path("lacuna_demo"),
    kbps: DemoRate = None,
    model: Model = DEFAULT_MODEL,
    compute: Compute = Compute(),
) -> None:
    """Compress and decompress a bundled recording and compare the two.

    Example: lacuna demo --out lacuna_demo
    """
    compute.use()
    from codec.api import Models
    from codec.demo import run_demo

    run_demo(Models(model, compute.device), out, kbps)
