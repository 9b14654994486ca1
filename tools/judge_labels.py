"""Do sounds of a label have its notes, and is it the label that is heard or the seed?

    python tools/judge_labels.py --real audio/train --manifest audio/manifest.csv

For each label with pitch, the clear partials that begin in a second and how long they last, in the
first channel of made clips and of the middles of real files (codec/metrics/tonal.py). Then how much
made latents have in common: the correlation of two sounds of one seed and different labels, and of
one label and different seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated

import cyclopts
import numpy as np
import torch
from cyclopts import Parameter

from codec.audio import read, resample
from codec.batch.folders import find_audio
from codec.evaluation.codecs.perceptual import middle
from codec.evaluation.generated.labels import Labels
from codec.metrics.spectra import MEASURING_RATE
from codec.metrics.tonal import Partials, partials
from codec.process import set_threads
from diffusion.generation import Generator, Sampling, generate_together, load

PITCHED = "piano,guitar,strings,notes_piano,notes_strings,speech_male,speech_female"
CONTRASTED = "rock,dog,rain,piano,speech_male"


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


def mean(found: Iterable[Partials]) -> str:
    """As two columns: how many a second, and how many frames."""
    values = np.array([[one.per_second, one.frames] for one in found])
    if not len(values):
        return "- | -"
    per_second, frames = np.nanmean(values, axis=0)
    return f"{per_second:.1f} | {frames:.2f}"


def of_files(paths: Sequence[Path], seconds: float) -> list[Partials]:
    found = []
    for path in paths:
        sound, rate = read(path)
        at_rate = np.asarray(resample(sound[:1], rate, MEASURING_RATE))
        found.append(partials(torch.from_numpy(middle(at_rate, MEASURING_RATE, seconds)[0].copy())))
    return found


def main(
    *,
    real: Annotated[Path, Parameter(help="Folder of real audio.")],
    manifest: Annotated[Path | None, Parameter(help="CSV with 'path' and 'class'.")] = None,
    pitched: Annotated[str, Parameter(help="Labels whose notes are counted.")] = PITCHED,
    contrasted: Annotated[str, Parameter(help="Labels that are compared.")] = CONTRASTED,
    count: Annotated[int, Parameter(help="Made clips of a label, and real ones at most.")] = 3,
    seconds: float = 6.0,
    threads: int = 1,
) -> None:
    """Print two tables."""
    set_threads(threads)
    model = load()
    labels = Labels([real], manifest)
    files: dict[str | None, list[Path]] = {}
    for path in find_audio(real):
        files.setdefault(labels.of(path, real), []).append(path)

    print("| label | real files | partials a second | frames | made clips | a second | frames |")
    print("|---|---|---|---|---|---|---|", flush=True)
    made: dict[str, list[torch.Tensor]] = {}
    for label in pitched.split(","):
        made[label] = latents_of(model, label, seconds, count)
        waveforms = (model.codec.decode(z[None])[0, 0] for z in made[label])
        own = files.get(label, [])
        places = np.linspace(0, len(own) - 1, min(count, len(own))).round().astype(int)
        chosen = [own[place] for place in places]
        found = mean(of_files(chosen, seconds))
        print(f"| {label} | {len(chosen)} | {found} | {count} | {mean(map(partials, waveforms))} |")

    names = contrasted.split(",")
    latents = [made.get(name) or latents_of(model, name, seconds, count) for name in names]
    of_seed, of_label = in_common(latents)
    print("\n| pairs of made latents | number | mean correlation | least | most |")
    print("|---|---|---|---|---|")
    for what, values in (("one seed, two labels", of_seed), ("one label, two seeds", of_label)):
        spread = f"{np.mean(values):.2f} | {min(values):.2f} | {max(values):.2f}"
        print(f"| {what} | {len(values)} | {spread} |")


if __name__ == "__main__":
    cyclopts.run(main)
