"""The figure of the README: partials of original, Lacuna and Opus beside each other.

Spectrograms up to 6 kHz with a window of 93 ms, where a missing partial is plain to see. Needs
opusenc and opusdec.

    python tools/figure.py music/song.ogg speech/voice.flac --out docs/partials.png
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

import cyclopts
import numpy as np
import torch
from cyclopts import Parameter
from PIL import Image

from codec import LacunaError, audio
from codec.api import Models
from codec.evaluation.codecs.evaluate import Lacuna
from codec.evaluation.codecs.peers import Coder, Peer, installed
from codec.evaluation.codecs.perceptual import middle
from codec.files import atomic_path
from codec.metrics.pictures import partials_figure

OPUS_KBPS = 12.0
DOTS_PER_INCH = 110


def main(
    clips: Annotated[list[Path], Parameter(help="Recordings, one row each.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The picture, a PNG.")],
    kbps: Annotated[float, Parameter(help="Of Lacuna.")] = 6.0,
    seconds: Annotated[float, Parameter(help="From the middle of each recording.")] = 4.0,
) -> None:
    """Draw one row a recording: the original, Lacuna, and Opus at 12 kbps."""
    torch.set_num_threads(1)
    coders: list[tuple[str, Coder]] = [
        ("Lacuna", Lacuna(kbps, Models())),
        ("Opus", Peer("opus", OPUS_KBPS)),
    ]
    usable, notes = installed([Peer("opus", OPUS_KBPS)])
    if not usable:
        raise LacunaError(notes[0])
    rows: list[tuple[str, int, list[tuple[str, np.ndarray]]]] = []
    for path in clips:
        waveform, rate = audio.read(path)
        sounds = [("original", waveform)]
        for name, coder in coders:
            trip = coder(waveform, rate)
            spent = trip.bytes * 8 / (waveform.shape[1] / rate) / 1000
            sounds.append((f"{name}, {spent:.1f} kbps", trip.waveform))
        rows.append((path.stem, rate, [(title, middle(x, rate, seconds)) for title, x in sounds]))
    full = io.BytesIO()
    partials_figure(rows).savefig(full, format="png", dpi=DOTS_PER_INCH)
    with atomic_path(out, force=True) as partial:  # a palette takes a third of the bytes
        Image.open(full).convert("RGB").quantize(128).save(partial, format="PNG", optimize=True)
    print(out)


if __name__ == "__main__":
    cyclopts.run(main)
