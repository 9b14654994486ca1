"""Do made sounds have the notes and the level of their label, and does it rule over the seed?

    python tools/judge_labels.py --real audio/train --manifest audio/manifest.csv

First for each label: how many clear partials begin in a second, how many frames of 46 ms they last
(codec/metrics/tonal.py) and how loud it is, in the first channel,

- of real files: all their pieces of 5.9 s, as the network, which draws windows by length, was shown
  them. The middles of the files are a row of their own: a long quiet file counts less there;
- of up to 24 of these pieces through the codec, not quantised, and decoded as made clips are: what
  it loses is not the network's;
- of made clips, with the peaks of some limited, of the loudest by so many dB.

Then made clips beside real ones, and how latents of one seed and two labels correlate, and of one
label and two seeds, in the first coded channel: as they are; smoothed over 21 frames, about a
second, over which the posterior's own noise cancels; and their means over time. Last an analysis of
variance of what the clips sound like (the embeddings of codec/evaluation/generated/embeddings.py):
the shares that label and seed explain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated

import cyclopts
import numpy as np
import torch
import torch.nn.functional as F
from cyclopts import Parameter

from codec.audio import limited, read, resample
from codec.batch.folders import find_audio
from codec.evaluation.codecs.perceptual import middle
from codec.evaluation.evenly import evenly
from codec.evaluation.generated.embeddings import embed
from codec.evaluation.generated.labels import Labels
from codec.metrics.spectra import MEASURING_RATE
from codec.metrics.tonal import WINDOW, partials
from codec.model.sound import Sound, decode_waveform, encode_waveform
from codec.process import set_threads
from diffusion.generation import Generator, Sampling, generate_together, load

LABELS = "piano,guitar,strings,notes_piano,speech_male,speech_female,rock,dog,rain"
PAIRS = ("one seed, two labels", "one label, two seeds")
DECODED = 24
"""Pieces of a label, at most, that go through the codec: spread evenly over all of them."""
SMOOTHED = 21
"""Frames of a moving average: about a second."""


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


def files_by_label(folder: Path, manifest: Path | None) -> dict[str | None, list[Path]]:
    """The audio files below a folder, by what the manifest or their own folder says of them."""
    known = Labels([folder], manifest)
    files: dict[str | None, list[Path]] = {}
    for path in find_audio(folder):
        files.setdefault(known.of(path, folder), []).append(path)
    return files


def heard_of(model: Generator, sound: Sound) -> tuple[np.ndarray, float]:
    """Its waveform (channels, time) with peaks limited, and the loudest by so many dB."""
    return limited(decode_waveform(model.codec, sound).numpy(), sound.sample_rate)


def first_channel(model: Generator, sound: Sound) -> torch.Tensor:
    """Its first channel, (time,), with peaks limited."""
    return torch.from_numpy(heard_of(model, sound)[0][0])


def in_common(made: Sequence[Sequence[torch.Tensor]]) -> tuple[list[float], list[float]]:
    """Correlations of labels at one seed, and of seeds of one label, from latents [label][seed]."""
    pairs = combinations(made, 2)
    of_seed = [correlation(a, b) for one, other in pairs for a, b in zip(one, other, strict=True)]
    return of_seed, [correlation(a, b) for seeds in made for a, b in combinations(seeds, 2)]


def explained(values: np.ndarray) -> tuple[float, float]:
    """The shares of the variance of (labels, seeds, dimensions) that label and seed explain.

    Every dimension counts alike. Of random numbers they are (labels - 1) / (labels * seeds - 1),
    and the same with seeds.
    """
    values = values - values.mean(axis=(0, 1))
    values = values / np.maximum(values.std(axis=(0, 1)), 1e-9)
    labels, seeds, _ = values.shape
    whole = np.square(values).sum()
    by_label, by_seed = (np.square(values.mean(axis=axis)).sum() for axis in (1, 0))
    return float(seeds * by_label / whole), float(labels * by_seed / whole)


@dataclass(frozen=True)
class Heard:
    """What sounds of one kind have on average."""

    number: int
    per_second: float
    frames: float
    level: float
    """Median, in dBFS."""

    @classmethod
    def of(cls, sounds: Sequence[torch.Tensor]) -> Heard:
        """Measure sounds of (time,) at MEASURING_RATE each; of none, nothing is known."""
        if not sounds:
            return cls(0, np.nan, np.nan, np.nan)
        found = [partials(sound) for sound in sounds]
        lengths = [one.frames for one in found if one.per_second]
        levels = [10 * np.log10(float(x.square().mean()) + 1e-12) for x in sounds]
        return cls(
            len(sounds),
            float(np.mean([one.per_second for one in found])),
            float(np.mean(lengths)) if lengths else np.nan,
            float(np.median(levels)),
        )

    def __str__(self) -> str:
        return f"{self.number} | {self.per_second:.1f} | {self.frames:.2f} | {self.level:.1f}"


def beside(made: Heard, real: Heard) -> str:
    """How many more partials a second, how much longer, how much louder."""
    more, longer = made.per_second / real.per_second - 1, made.frames / real.frames - 1
    return f"{more:+.0%} | {longer:+.0%} | {made.level - real.level:+.1f}"


def as_if_made(model: Generator, waveform: torch.Tensor, label: str) -> torch.Tensor:
    """A recording (time,) through the codec, decoded as sounds of the label are."""
    sound = encode_waveform(model.codec, waveform, MEASURING_RATE)
    return decode_waveform(model.codec, replace(sound, clarity=model.profile(label).clarity))[0]


def of_file(path: Path, seconds: float) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The middle of a file's first channel, and all pieces as long; the rest if that is all."""
    sound, rate = read(path)
    at_rate = np.asarray(resample(sound[:1], rate, MEASURING_RATE))
    size = round(seconds * MEASURING_RATE)
    pieces = [piece for piece in torch.from_numpy(at_rate[0]).split(size) if len(piece) > WINDOW]
    whole = [piece for piece in pieces if len(piece) == size]
    chosen = torch.from_numpy(middle(at_rate, MEASURING_RATE, seconds)[0].copy())
    return chosen, whole or pieces


def of_pairs(made: Sequence[Sequence[torch.Tensor]]) -> Iterator[str]:
    """What latents [label][seed], (coded_channels, latent_dim, frames), have in common."""
    yield "| what | pairs | number | mean correlation | least | most |"
    yield "|---" * 6 + "|"
    smooth = [[F.avg_pool1d(z, SMOOTHED, stride=1) for z in seeds] for seeds in made]
    means = [[z.mean(dim=2) for z in seeds] for seeds in made]
    smoothed = f"latents over {SMOOTHED} frames"
    for what, values in (("latents", made), (smoothed, smooth), ("means over time", means)):
        for kind, found in zip(PAIRS, in_common(values), strict=True):
            limits = f"{np.mean(found):.2f} | {min(found):.2f} | {max(found):.2f}"
            yield f"| {what} | {kind} | {len(found)} | {limits} |"


def of_variance(embeddings: Sequence[Sequence[dict[str, torch.Tensor]]]) -> Iterator[str]:
    """What label and seed explain of the embeddings [label][seed] of made clips."""
    labels, seeds = len(embeddings), len(embeddings[0])
    yield "| share of the variance of | label | seed | both together and chance |"
    yield "|---" * 4 + "|"
    for name in embeddings[0][0]:
        values = np.array([[one[name].mean(dim=0).numpy() for one in row] for row in embeddings])
        by_label, by_seed = explained(values)
        yield f"| {name} | {by_label:.0%} | {by_seed:.0%} | {1 - by_label - by_seed:.0%} |"
    by_label, by_seed = (n / (labels * seeds - 1) for n in (labels - 1, seeds - 1))
    yield f"| random numbers | {by_label:.0%} | {by_seed:.0%} | {1 - by_label - by_seed:.0%} |"


def main(
    *,
    real: Annotated[Path, Parameter(help="Folder of real audio.")],
    manifest: Annotated[Path | None, Parameter(help="CSV with 'path' and 'class'.")] = None,
    labels: Annotated[str, Parameter(help="Which, with commas.")] = LABELS,
    count: Annotated[int, Parameter(help="Made clips of a label.")] = 3,
    seconds: float = 5.9,
    threads: int = 1,
) -> None:
    """Print four tables."""
    set_threads(threads)
    model, files = load(), files_by_label(real, manifest)

    print("| label | sounds | number | partials a second | frames | level (dBFS) | limited |")
    print("|---" * 7 + "|", flush=True)
    made: list[list[torch.Tensor]] = []
    embeddings, differences = [], []
    for label in labels.split(","):
        heard = [of_file(path, seconds) for path in files.get(label, [])]
        pieces = [piece for _, all_of_it in heard for piece in all_of_it]
        again = [as_if_made(model, x, label) for x in evenly(pieces, DECODED)]
        sounds = generate_together(model, count, seconds, sampling=Sampling(label))
        made.append([sound.latents[:1] for sound in sounds])
        decoded = [heard_of(model, sound) for sound in sounds]
        embeddings.append([embed(model.codec, x, label, label).embeddings for x, _ in decoded])
        new = [torch.from_numpy(waveform[0]) for waveform, _ in decoded]
        peaks = [decibels for _, decibels in decoded if decibels > 0]
        rows = {
            "real": pieces,
            "real, middles": [chosen for chosen, _ in heard],
            "real, decoded": again,
            "made": new,
        }
        measured = {what: Heard.of(sounds) for what, sounds in rows.items()}
        for what, heard_there in measured.items():
            limits = f"{len(peaks)}, {max(peaks):.1f}" if what == "made" and peaks else ""
            print(f"| {label} | {what} | {heard_there} | {limits} |", flush=True)
        for what in ("real", "real, decoded"):
            differences.append(f"| {label} | {what} | {beside(measured['made'], measured[what])} |")

    print("\n| label | made beside | partials a second | frames | level (dB) |")
    print("|---" * 5 + "|")
    print(*differences, "", *of_pairs(made), "", *of_variance(embeddings), sep="\n")


if __name__ == "__main__":
    cyclopts.run(main)
