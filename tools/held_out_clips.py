"""10 s of each file that a training run without --valid and --manifest holds out, to measure on.

Ablations are decided by these clips, so that the validation files stay unseen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codec import read, write
from codec.training.data import split_files

SECONDS = 10


def main(
    data: Annotated[Path, typer.Argument(help="What is trained on: a folder for every class.")],
    out: Annotated[Path, typer.Argument(help="Gets the same folders.")],
) -> None:
    """Write the middle of every held-out file, as WAV."""
    _, held_out = split_files(data, None)
    for path in held_out:
        waveform, sample_rate = read(path)
        count = min(waveform.shape[1], SECONDS * sample_rate)
        start = (waveform.shape[1] - count) // 2
        kind, *inner = path.relative_to(data).parts
        clip = out / kind / f"{'_'.join(inner)}.wav"
        clip.parent.mkdir(parents=True, exist_ok=True)
        write(clip, waveform[:, start : start + count], sample_rate)
    print(f"{len(held_out)} clips in {out}")


if __name__ == "__main__":
    typer.run(main)
