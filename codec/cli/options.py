"""Options that commands share, and what most of them do first."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codec.errors import LacunaError

if TYPE_CHECKING:
    from codec.api import Codec

EXIT_DAMAGED = 3
"""Exit code when a file was damaged and only a part of it could be used."""

Model = Annotated[
    str, typer.Option("--model", "-m", help="A shipped model's name, or a checkpoint's path.")
]
ModelForRate = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A shipped model's name, or a checkpoint's path.",
        show_default="the best for the rate",
    ),
]
Device = Annotated[str, typer.Option(help="Where the network runs: cpu, cuda, cuda:1, mps.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads.", show_default="all cores")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite an existing output file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
JsonLines = Annotated[
    bool, typer.Option("--json", help="Print a JSON object for each file, and a summary.")
]
OutDir = Annotated[
    Path | None,
    typer.Option(
        "--out-dir", metavar="DIR", help="Folder for the results; IN may then be a folder."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="With --out-dir: processes, each at a file, with one thread if there are several.",
        show_default="one per core, 1 on a GPU",
    ),
]


def say(message: str) -> None:
    """Reports go to standard error: standard output may be the audio."""
    print(message, file=sys.stderr)


def use_device(device: str, threads: int | None) -> None:
    """Raises LacunaError for a device that torch does not know or that is not there."""
    import torch

    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise LacunaError(f"cannot use device '{device}': {reason}; try --device cpu") from None
    if threads is not None:
        torch.set_num_threads(threads)


def refuse_own_input(source: str, target: str) -> None:
    """Not even --force may replace the file that is being read."""
    if os.path.exists(source) and os.path.exists(target) and os.path.samefile(source, target):
        raise LacunaError(f"'{target}' is the input; give the output another name")


def expect_suffix(target: str, suffix: str) -> None:
    """Swapped or forgotten arguments must not give, say, a .wav that is none."""
    if Path(target).suffix.lower() != suffix:
        raise LacunaError(f"'{target}': expected an output name that ends in {suffix}")


def load_model(model: str, device: str, threads: int | None) -> Codec:
    from codec.api import load

    use_device(device, threads)
    return load(model, device)
