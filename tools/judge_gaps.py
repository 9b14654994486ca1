"""How well does a gap that `lacuna inpaint` fills fit what is around it?

    python tools/judge_gaps.py recordings/ [--label guitar]

The middle 5 s of each recording get a gap from 2 to 3 s. Levels are those of the gap over those of
a second on both sides, in dB: of the recording's own decode, of `lacuna inpaint`, and of the
network alone, whose latents may have any mean. Seams are how much the mel spectra before and after
a border differ, in dB.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import cyclopts
import numpy as np
import torch
from cyclopts import Parameter

from codec.audio import read
from codec.batch.folders import find_audio
from codec.evaluation.codecs.perceptual import middle
from codec.metrics.mel import mel_spectrogram
from codec.model.sound import Sound, decode_waveform, encode_waveform
from codec.process import set_threads
from diffusion.edit import inpaint
from diffusion.generation import Generator, Sampling, load

SECONDS, GAP = 5.0, (2.0, 3.0)
QUIET = -12.0
"""dB: a gap that is so much below what is around it is near silence."""
BESIDE = 4096
"""Samples on both sides of a border."""


def level(sound: np.ndarray) -> float:
    return float(10 * np.log10(np.square(sound).mean() + 1e-12))


def seam(sound: torch.Tensor, rate: int, at: int) -> float:
    before, after = (
        20 * mel_spectrogram(part[:1], rate, 2048, 40)[0].mean(dim=0).clamp(min=1e-4).log10()
        for part in (sound[:, at - BESIDE : at], sound[:, at : at + BESIDE])
    )
    return float((before - after).abs().mean())


def measured(model: Generator, sound: Sound) -> tuple[float, float]:
    """Level of the gap over what is around it, and the mean of its two seams."""
    rate = sound.sample_rate
    waveform = decode_waveform(model.codec, sound)
    begin, end = (round(seconds * rate) for seconds in GAP)
    gap = waveform[:, begin:end]
    around = torch.cat([waveform[:, begin - rate : begin], waveform[:, end : end + rate]], dim=1)
    seams = [seam(waveform, rate, at) for at in (begin, end)]
    return level(gap.numpy()) - level(around.numpy()), float(np.mean(seams))


def alone(model: Generator, sound: Sound, sampling: Sampling) -> Sound:
    """As ``inpaint``, whatever the mean of the latents."""
    begin, end = (seconds * model.codec.frame_rate for seconds in GAP)
    known = torch.ones(sound.latents.shape[2], dtype=torch.bool)
    known[int(begin) : int(np.ceil(end))] = False
    return replace(sound, latents=model.fill(sound.latents, known, sampling))


def main(
    folder: Annotated[Path, Parameter(help="Recordings.")],
    /,
    *,
    label: str | None = None,
    seed: int = 0,
    threads: int = 1,
) -> None:
    """Print a row for each recording, and means."""
    set_threads(threads)
    model, sampling = load(), Sampling(label, seed)
    ways = ("recording", "network alone", "inpaint")
    rows = []
    print(f"| file | {' | '.join(f'{way}: level | seam' for way in ways)} |")
    print("|---|" + "---|---|" * len(ways), flush=True)
    for path in find_audio(folder):
        waveform, rate = read(path)
        sound = encode_waveform(model.codec, middle(waveform[:2], rate, SECONDS), rate)
        filled = (
            sound,
            alone(model, sound, sampling),
            inpaint(model, sound, [GAP], sampling=sampling),
        )
        rows.append([measured(model, one) for one in filled])
        print(f"| {path.name} | {' | '.join(f'{a:.1f} | {b:.1f}' for a, b in rows[-1])} |")
    levels, seams = np.moveaxis(np.array(rows), 2, 0)
    summary = {
        "mean size of the level (dB)": np.abs(levels).mean(axis=0),
        f"gaps {-QUIET:g} dB or more below": (levels < QUIET).sum(axis=0),
        "mean seam (dB)": seams.mean(axis=0),
    }
    print(f"\n| of {len(rows)} recordings | {' | '.join(ways)} |\n|---|" + "---|" * len(ways))
    for what, values in summary.items():
        print(f"| {what} | {' | '.join(f'{value:.3g}' for value in values)} |")


if __name__ == "__main__":
    cyclopts.run(main)
