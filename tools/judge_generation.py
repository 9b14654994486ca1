"""Is the evaluation of generated audio to be believed, and what does it say?

Judges sets whose order is known beside the generated one: real audio, its reconstructions by the
codec, generated audio, latents drawn from the prior and decoded, and white noise. A measure that
does not put them in this order says nothing about generated audio either.

    python tools/judge_generation.py --generated made/ --valid valid/ --train train/ \
        --manifest manifest.csv --out judged/ --docs docs/GENERATION.md

The validation files are dealt out to two halves, label by label. Every set has a part for each
half, and is measured against the half that the part does not belong to; a row is the mean of
both. So all rows are distances between sets of the same size and of different recordings, and
reconstructions gain nothing from sharing their recordings with the reference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import cyclopts
import numpy as np
from cyclopts import Parameter
from matplotlib.figure import Figure

from codec import audio
from codec.api import Codec, load
from codec.batch.folders import find_audio
from codec.errors import LacunaError
from codec.evaluation.evenly import evenly
from codec.evaluation.generated.embeddings import Clip, embed_folder
from codec.evaluation.generated.frechet import compare_sets
from codec.evaluation.generated.judge import judge, markdown
from codec.evaluation.generated.labels import Labels
from codec.files import atomic_path
from codec.metrics.pictures import partials_figure, write_png
from codec.metrics.spectra import MEASURING_RATE
from codec.model.blocks import FRAMES_PER_BLOCK, LatentBlock, decode_blocks, encode_blocks
from codec.model.shipped import DEFAULT_MODEL
from codec.progress import file_progress

SECONDS = 15.0
"""Seconds of each validation file, at most, that the windows are taken from."""
ROWS = ("real", "reconstructions", "generated", "prior", "noise")
TITLES = {
    "real": "real validation audio, half against half",
    "reconstructions": "the codec's reconstructions of it",
    "generated": "generated",
    "prior": "prior: latents of a unit Gaussian, decoded",
    "noise": "white noise with each file's level",
}
PICTURED = 4
PICTURE_BYTES = 300_000


@dataclass(frozen=True)
class Row:
    """A set's distances to real audio: means over both halves, and of their 95 % intervals."""

    name: str
    files: int
    measures: dict[str, float]
    """Such as "log_mel frechet"."""
    reach: dict[str, float]
    """Half the width of the interval of each."""


def make_sets(codec: Codec, valid: Path, out: Path) -> None:
    """Write the folders real, reconstructions, prior and noise, with the files of ``valid``."""
    rng = np.random.default_rng(0)
    with file_progress("making sets") as progress:
        paths = find_audio(valid)
        for done, path in enumerate(paths):
            progress(path.name, done, len(paths))
            waveform, rate = audio.read(path)
            waveform = waveform[:2, : round(SECONDS * rate)]
            real = audio.resample(waveform, rate, codec.sample_rate)
            channels, samples = real.shape
            blocks = list(encode_blocks(codec, [real], skip_silence=False))
            random = [
                LatentBlock(
                    rng.standard_normal(b.latents.shape, dtype=np.float32), np.zeros_like(b.silent)
                )
                for b in blocks
            ]
            level = np.sqrt(np.mean(real**2, axis=1, keepdims=True))
            made = {
                "real": real,
                "reconstructions": decoded(codec, blocks, channels, samples),
                "prior": decoded(codec, random, channels, samples),
                "noise": level * rng.standard_normal(real.shape).astype(np.float32),
            }
            for name, sound in made.items():
                target = (out / name / path.relative_to(valid)).with_suffix(".flac")
                target.parent.mkdir(parents=True, exist_ok=True)
                audio.write(target, sound, codec.sample_rate, force=True)


def decoded(codec: Codec, blocks: Sequence[LatentBlock], channels: int, samples: int) -> np.ndarray:
    """(channels, samples) of blocks that were encoded, or made up, together."""
    assert all(b.latents.shape[2] == FRAMES_PER_BLOCK for b in blocks[:-1])
    pieces = list(decode_blocks(codec, blocks, channels))
    return np.concatenate(pieces, axis=1)[:, :samples]


def halves(clips: Sequence[Clip]) -> tuple[list[Clip], list[Clip]]:
    """Dealt out by turns, in the order of labels and names."""
    ordered = sorted(clips, key=lambda clip: (clip.label or "", clip.name))
    return ordered[::2], ordered[1::2]


def measure(sets: dict[str, list[Clip]]) -> list[Row]:
    """A row for each set, against the halves of the real one."""
    real = halves(sets["real"])
    rows = []
    for name in ROWS:
        measures: dict[str, list[float]] = {}
        reach: dict[str, list[float]] = {}
        for part, other in zip(halves(sets[name]), reversed(real), strict=True):
            for embedding, distances in compare_sets(part, other).items():
                for kind in ("frechet", "kernel"):
                    estimate = getattr(distances, kind)
                    key = f"{embedding} {kind}"
                    measures.setdefault(key, []).append(estimate.value)
                    reach.setdefault(key, []).append(estimate.high - estimate.value)
        rows.append(
            Row(
                name,
                len(sets[name]),
                {key: float(np.mean(values)) for key, values in measures.items()},
                {key: float(np.mean(values)) for key, values in reach.items()},
            )
        )
    return rows


def disorder(rows: Sequence[Row]) -> list[str]:
    """What is not real < reconstructions < generated < prior and noise, in words."""
    by_name = {row.name: row for row in rows}
    pairs = [
        ("real", "reconstructions"),
        ("reconstructions", "generated"),
        ("generated", "prior"),
        ("generated", "noise"),
    ]
    lines = []
    for key in rows[0].measures:
        for names in pairs:
            nearer, farther = (by_name[name].measures[key] for name in names)
            if nearer < farther:
                continue
            chance = nearer - farther < max(by_name[name].reach[key] for name in names)
            lines.append(
                f"by the {key} distance, {names[0]} ({nearer:.3g}) should be nearer to real audio "
                f"than {names[1]} ({farther:.3g}) and is not"
                + ("; the intervals are wider than that difference" if chance else "")
            )
    return lines


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The comparison as markdown lines."""
    keys = list(rows[0].measures)
    yield f"| set | files | {' | '.join(keys)} |"
    yield "|---|---|" + "---|" * len(keys)
    for row in rows:
        values = " | ".join(f"{row.measures[key]:.3g} ± {row.reach[key]:.2g}" for key in keys)
        yield f"| {TITLES[row.name]} | {row.files} | {values} |"
    yield ""
    wrong = disorder(rows)
    if wrong:
        yield "**The order is not what it should be:**"
        yield ""
        yield from (f"- {line}" for line in wrong)
    else:
        yield "The order is right by all four: real, reconstructions, generated, prior and noise."


def draw(pairs: Sequence[tuple[str, Path, Path]], seconds: float = 5.0) -> Figure:
    """Spectrograms up to 6 kHz: a row for each label, a real clip on the left, a generated one
    right, each as bright as it is loud beside the real one.
    """
    rows = []
    for label, *paths in pairs:
        sounds = []
        for path, what in zip(paths, ("real", "generated"), strict=True):
            waveform, rate = audio.read(path)
            sound = audio.resample(waveform[:1, : round(seconds * rate)], rate, MEASURING_RATE)
            sounds.append((what, sound))
        rows.append((label, MEASURING_RATE, sounds))
    return partials_figure(rows)


def save_picture(figure: Figure, path: Path) -> None:
    """Write a PNG below PICTURE_BYTES: as sharp as that allows."""
    for dpi in (100, 80, 60, 45, 30):
        write_png(figure, path, dpi=dpi, colors=64)
        if path.stat().st_size < PICTURE_BYTES:
            return
    raise LacunaError(f"'{path}' has {path.stat().st_size} bytes, expected < {PICTURE_BYTES}")


def pictured(sets: dict[str, list[Clip]], real: Path, made: Path) -> list[tuple[str, Path, Path]]:
    """Up to PICTURED labels that real and generated clips share: label, real and generated file."""
    first: list[dict[str | None, str]] = []
    for name in ("real", "generated"):
        first.append({})
        for clip in sets[name]:
            first[-1].setdefault(clip.label, clip.name)
    shared = sorted(label for label in first[0].keys() & first[1].keys() if label is not None)
    labels = evenly(shared, PICTURED)
    return [(label, real / first[0][label], made / first[1][label]) for label in labels]


def report(codec: Codec, rows: Sequence[Row], lines: Sequence[str], picture: str | None) -> str:
    """The whole page; ``lines`` are those of the judgement of the generated files."""
    text = [
        f"# Generated audio, judged (codec '{codec.config.name}', latent_id {codec.latent_id})",
        "",
        "Made by tools/judge_generation.py, whose docstring says how the sets are compared. Each "
        "distance is to validation audio, the mean of two halves, ± half of a 95 % interval from "
        "resampled files; lower is better. The kernel distance is unbiased and may be below 0; the "
        "Frechet distance is too large for so few files, for all rows alike if they have as many.",
        "",
        *table(rows),
        "",
        *lines,
    ]
    if picture is not None:
        text += [
            "",
            "## Pictures",
            "",
            "Up to 6 kHz, windows of 93 ms: the first real and the first generated clip of some "
            "labels, not chosen by ear.",
            "",
            f"![spectrograms of real and generated clips]({picture})",
        ]
    return "\n".join(text) + "\n"


def main(
    *,
    generated: Annotated[Path, Parameter(help="Folder of generated audio.")],
    valid: Annotated[Path, Parameter(help="Folder of real audio, not trained on.")],
    train: Annotated[Path, Parameter(help="Folder of what was trained on.")],
    out: Annotated[Path, Parameter(help="Folder for the sets and the report; may exist.")],
    manifest: Annotated[Path | None, Parameter(help="CSV with 'path' and 'class'.")] = None,
    docs: Annotated[
        Path | None, Parameter(help="A page to write the report to as well, picture beside it.")
    ] = None,
    model: Annotated[str, Parameter(alias="-m", help="The codec.")] = DEFAULT_MODEL,
    device: str = "cpu",
) -> None:
    """Make the comparison sets, judge them all, write one table and a picture."""
    codec = load(model, device)
    labels = Labels([generated, valid, train], manifest)
    make_sets(codec, valid, out)
    # Made files have no line in the manifest: each has the label of the file it was made from.
    label_of = {
        path.relative_to(valid).with_suffix(".flac").as_posix(): labels.of(path, valid)
        for path in find_audio(valid)
    }
    sets: dict[str, list[Clip]] = {}
    skipped: list[str] = []
    with file_progress("listening") as progress:
        for name in ROWS:
            folder = generated if name == "generated" else out / name
            clips, problems = embed_folder(codec, folder, labels, progress=progress)
            if name != "generated":
                clips = [replace(clip, label=label_of[clip.name]) for clip in clips]
            sets[name] = clips
            skipped += problems
        rows = measure(sets)
        learnt, problems = embed_folder(codec, train, labels, whole=True, progress=progress)
    skipped += problems
    judgement = judge(sets["generated"], sets["real"], learnt, codec.frame_rate, skipped)

    pairs = pictured(sets, out / "real", generated)
    page = docs if docs is not None else out / "generation.md"
    picture = page.with_suffix(".png")
    if pairs:
        save_picture(draw(pairs), picture)
    text = report(codec, rows, markdown(judgement), picture.name if pairs else None)
    with atomic_path(page, force=True) as partial:
        partial.write_text(text, encoding="utf-8")
    facts = {"rows": [asdict(row) for row in rows], "disorder": disorder(rows)}
    with atomic_path(out / "generation.json", force=True) as partial:
        partial.write_text(json.dumps({**facts, **asdict(judgement)}, indent=1))
    print(text)


if __name__ == "__main__":
    cyclopts.run(main)
