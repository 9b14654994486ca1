"""The figures of README and docs/DENOISING.md: partials of the same sound beside each other.

Spectrograms up to 6 kHz with a window of 93 ms, where a missing partial is plain to see: of the
original, Lacuna and Opus, for which opusenc and opusdec are needed, or of one file of Lacuna as it
is and denoised.

    python tools/figure.py music/song.ogg speech/voice.flac --out docs/partials.png
    python tools/figure.py clips/* --denoised --kbps 1.5 --out docs/denoised.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts
import numpy as np
import torch
from cyclopts import Parameter

import codec
from codec import LacunaError
from codec.api import Models
from codec.evaluation.codecs.evaluate import Lacuna
from codec.evaluation.codecs.peers import Coder, Peer, installed
from codec.evaluation.codecs.perceptual import middle
from codec.metrics.pictures import partials_figure, write_png

OPUS_KBPS = 12.0
DOTS_PER_INCH = 110

Titled = list[tuple[str, np.ndarray]]


def beside_opus(waveform: np.ndarray, rate: int, kbps: float) -> Titled:
    """By Lacuna, and by Opus at 12 kbps."""
    usable, notes = installed([Peer("opus", OPUS_KBPS)])
    if not usable:
        raise LacunaError(notes[0])
    coders: list[tuple[str, Coder]] = [("Lacuna", Lacuna(kbps, Models())), ("Opus", usable[0])]
    trips = [(name, coder(waveform, rate)) for name, coder in coders]
    seconds = waveform.shape[1] / rate
    return [
        (f"{name}, {trip.bytes * 8 / seconds / 1000:.1f} kbps", trip.waveform)
        for name, trip in trips
    ]


def denoised(waveform: np.ndarray, rate: int, kbps: float) -> Titled:
    """The same file, without a search, as it is and denoised by default."""
    data = codec.compress(waveform, rate, kbps=kbps, search=0)
    ways: tuple[tuple[str, int | None], ...] = (("as it is", 0), ("denoised", None))
    return [
        (f"{name}, {kbps:g} kbps", codec.decompress(data, steps=steps)[0].numpy())
        for name, steps in ways
    ]


def main(
    clips: Annotated[list[Path], Parameter(help="Recordings, one row each.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The picture, a PNG.")],
    kbps: Annotated[float, Parameter(help="Of Lacuna.")] = 6.0,
    seconds: Annotated[float, Parameter(help="From the middle of each recording.")] = 4.0,
    with_denoised: Annotated[
        bool, Parameter(name="--denoised", negative=(), help="Not Opus: Lacuna denoised.")
    ] = False,
) -> None:
    """Draw one row a recording: the original, Lacuna, and Opus at 12 kbps."""
    torch.set_num_threads(1)
    coded = denoised if with_denoised else beside_opus
    rows: list[tuple[str, int, Titled]] = []
    for path in clips:
        waveform, rate = codec.read(path)
        sounds = [("original", waveform), *coded(waveform, rate, kbps)]
        rows.append((path.stem, rate, [(title, middle(x, rate, seconds)) for title, x in sounds]))
    write_png(partials_figure(rows), out, dpi=DOTS_PER_INCH, colors=128)
    print(out)


if __name__ == "__main__":
    cyclopts.run(main)
