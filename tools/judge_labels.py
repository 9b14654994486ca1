"""Do made sounds have the notes and the level of their label, and does it rule over the seed?

    python tools/judge_labels.py --real audio/train --manifest audio/manifest.csv

For each label, of the middles of real files, of what the codec makes of their latents, and of made
clips, in the first channel: means of how many clear partials begin in a second and how many frames
of 46 ms they last (codec/metrics/tonal.py), and the median level; that of made clips with their
peaks limited, the loudest by so many dB. Then the correlation of made latents, and of their means
over time, which are level and color: of one seed and two labels, and of one label and two seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated

import cyclopts
import numpy as np
import torch
from cyclopts import Parameter

from codec.audio import limited, read, resample
from codec.batch.folders import find_audio
from codec.evaluation.codecs.perceptual import middle
from codec.evaluation.generated.labels import Labels
from codec.metrics.spectra import MEASURING_RATE
from codec.metrics.tonal import partials
from codec.process import set_threads
from diffusion.generation import Generator, Sampling, generate_together, load

LABELS = "piano,guitar,strings,notes_piano,speech_male,speech_female,rock,dog,rain"
PAIRS = ("one seed, two labels", "one label, two seeds")
MOST_FILES = 9
"""Real files of a label."""


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


def latents_of(model: Generator, label: str, seconds: float, count: int) -> list[torch.Tensor]:
    """Made latents, with the seeds 0 to ``count`` - 1."""
    sounds = generate_together(model, count, seconds, sampling=Sampling(label))
    return [sound.latents for sound in sounds]


def in_common(made: Sequence[Sequence[torch.Tensor]]) -> tuple[list[float], list[float]]:
    """Correlations of labels at one seed, and of seeds of one label, from latents [label][seed]."""
    pairs = combinations(made, 2)
    of_seed = [correlation(a, b) for one, other in pairs for a, b in zip(one, other, strict=True)]
    return of_seed, [correlation(a, b) for seeds in made for a, b in combinations(seeds, 2)]


def columns(sounds: Sequence[torch.Tensor]) -> str:
    """How many, partials a second, frames and level, of (time,) at MEASURING_RATE each."""
    if not sounds:
        return "0 | - | - | -"
    found = [partials(sound) for sound in sounds]
    per_second = np.mean([one.per_second for one in found])
    frames = np.nanmean([one.frames for one in found])
    level = np.median([10 * np.log10(float(x.square().mean()) + 1e-12) for x in sounds])
    return f"{len(sounds)} | {per_second:.1f} | {frames:.2f} | {level:.1f}"


def of_file(path: Path, seconds: float) -> torch.Tensor:
    sound, rate = read(path)
    at_rate = np.asarray(resample(sound[:1], rate, MEASURING_RATE))
    return torch.from_numpy(middle(at_rate, MEASURING_RATE, seconds)[0].copy())


def main(
    *,
    real: Annotated[Path, Parameter(help="Folder of real audio.")],
    manifest: Annotated[Path | None, Parameter(help="CSV with 'path' and 'class'.")] = None,
    labels: Annotated[str, Parameter(help="Which, with commas.")] = LABELS,
    count: Annotated[int, Parameter(help="Made clips of a label.")] = 3,
    seconds: float = 5.9,
    threads: int = 1,
) -> None:
    """Print two tables."""
    set_threads(threads)
    model, known = load(), Labels([real], manifest)
    files: dict[str | None, list[Path]] = {}
    for path in find_audio(real):
        files.setdefault(known.of(path, real), []).append(path)

    print("| label | sounds | number | partials a second | frames | level (dBFS) | limited by |")
    print("|---" * 7 + "|", flush=True)
    made: dict[str, list[torch.Tensor]] = {}
    for label in labels.split(","):
        own = files.get(label, [])
        places = np.linspace(0, len(own) - 1, min(MOST_FILES, len(own))).round().astype(int)
        heard = [of_file(own[place], seconds) for place in places]
        again = [model.codec(x[None, None])[0, 0] for x in heard]
        made[label] = latents_of(model, label, seconds, count)
        waveforms = [model.codec.decode(z[None])[0].numpy() for z in made[label]]
        decoded = [limited(waveform, MEASURING_RATE) for waveform in waveforms]
        new = [torch.from_numpy(waveform[0]) for waveform, _ in decoded]
        gains = " ".join(f"{decibels:.1f}" for _, decibels in decoded)
        for what, sounds in (("real", heard), ("decoded again", again), ("made", new)):
            print(f"| {label} | {what} | {columns(sounds)} | {gains if sounds is new else ''} |")

    print("\n| what | pairs | number | mean correlation | least | most |")
    print("|---" * 6 + "|")
    means = [[z.mean(dim=2) for z in seeds] for seeds in made.values()]
    for what, values in (("latents", list(made.values())), ("their means over time", means)):
        for kind, found in zip(PAIRS, in_common(values), strict=True):
            spread = f"{np.mean(found):.2f} | {min(found):.2f} | {max(found):.2f}"
            print(f"| {what} | {kind} | {len(found)} | {spread} |")


if __name__ == "__main__":
    cyclopts.run(main)
