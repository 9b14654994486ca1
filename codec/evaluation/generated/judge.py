"""How far a folder of generated audio is from a folder of real audio.

Four questions, none of which is answered by listening to the best example: do both sets sound
alike as sets (frechet.py), does each label have the spectrum it should have, are the sounds
recognised as what they are labelled as (classifier.py), and are they new (nearest.py)?
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from codec.batch.folders import find_audio
from codec.evaluation.generated.classifier import (
    Recognition,
    check_labels,
    cross_validate,
    fit,
    recognise,
    usable,
)
from codec.evaluation.generated.embeddings import Clip, Progress, embed_folder
from codec.evaluation.generated.frechet import Distances, check_files, compare_sets
from codec.evaluation.generated.labels import Labels
from codec.evaluation.generated.nearest import Memorisation, memorisation
from codec.files import atomic_path
from codec.model.latent_codec import LatentCodec


@dataclass(frozen=True)
class Envelope:
    """Mean absolute difference of long-term mean log-mel spectra."""

    label: str | None
    """None stands for all files."""
    generated_files: int
    reference_files: int
    difference_db: float
    """Difference between generated and reference."""
    train_difference_db: float | None
    """Difference of training and reference: what recordings of one label differ by."""


@dataclass(frozen=True)
class Recognitions:
    """What the label classifier makes of real and generated clips."""

    labels: int
    train_clips: int
    held_out: Recognition
    """How the training clips are recognised, each by classifiers that were fitted to others."""
    reference: Recognition | None
    generated: Recognition | None


@dataclass(frozen=True)
class Judgement:
    """All results about generated audio."""

    generated_files: int
    reference_files: int
    train_files: int
    distances: dict[str, Distances]
    envelopes: list[Envelope]
    recognitions: Recognitions | None
    memorisation: Memorisation | None
    skipped: list[str]


def judge_folders(
    codec: LatentCodec,
    generated: Path,
    reference: Path,
    *,
    train: Path | None = None,
    manifest: Path | None = None,
    progress: Progress = lambda name, done, total: None,
) -> Judgement:
    """Compare two folders of audio files of any length and format.

    Args:
        train: what the generator was trained on, for the classifier and the search for copies.
        manifest: a CSV with the labels of real files; see ``Labels``.

    Raises:
        AudioError: a folder without usable audio, or with too few files.
        LacunaError: training clips without labels, or a manifest that cannot be read.
    """
    roots = [folder for folder in (generated, reference, train) if folder is not None]
    labels = Labels(roots, manifest)
    if train is not None:  # its sounds take long; what is wrong with it is reported first
        check_labels([labels.of(path, train) for path in find_audio(train)])
    generated_clips, skipped = embed_folder(codec, generated, labels, progress=progress)
    reference_clips, more = embed_folder(codec, reference, labels, progress=progress)
    skipped += more
    check_files(generated_clips, reference_clips)
    learnt: list[Clip] = []
    if train is not None:
        learnt, more = embed_folder(codec, train, labels, whole=True, progress=progress)
        skipped += more
    return judge(generated_clips, reference_clips, learnt, codec.frame_rate, skipped)


def judge(
    generated: Sequence[Clip],
    reference: Sequence[Clip],
    train: Sequence[Clip],
    frame_rate: float,
    skipped: Sequence[str] = (),
) -> Judgement:
    """Compare sets of clips; ``train`` has tracks, or is empty. ``frame_rate`` is in Hz.

    Raises:
        AudioError: too few clips, or none that copies could be looked for in.
        LacunaError: training clips without labels.
    """
    return Judgement(
        generated_files=len(generated),
        reference_files=len(reference),
        train_files=len(train),
        distances=compare_sets(generated, reference),
        envelopes=compare_envelopes(generated, reference, train),
        recognitions=_recognitions(generated, reference, train) if train else None,
        memorisation=memorisation(generated, reference, train, frame_rate) if train else None,
        skipped=list(skipped),
    )


def compare_envelopes(
    generated: Sequence[Clip], reference: Sequence[Clip], train: Sequence[Clip] = ()
) -> list[Envelope]:
    """All files together, then the labels that generated and reference clips share."""
    shared = {clip.label for clip in generated} & {clip.label for clip in reference}
    rows = []
    for label in [None, *sorted(label for label in shared if label is not None)]:
        of_generated, of_reference, of_training = (
            [clip.envelope for clip in clips if label in (None, clip.label)]
            for clips in (generated, reference, train)
        )
        target = torch.stack(of_reference).mean(dim=0)
        difference, usual = (
            float((torch.stack(envelopes).mean(dim=0) - target).abs().mean()) if envelopes else None
            for envelopes in (of_generated, of_training)
        )
        assert difference is not None
        rows.append(Envelope(label, len(of_generated), len(of_reference), difference, usual))
    return rows


def _recognitions(
    generated: Sequence[Clip], reference: Sequence[Clip], train: Sequence[Clip]
) -> Recognitions:
    clips = usable(train)
    held_out, model = cross_validate(clips), fit(clips)
    return Recognitions(
        labels=len(model.labels),
        train_clips=len(clips),
        held_out=held_out,
        reference=recognise(model, reference),
        generated=recognise(model, generated),
    )


def write_report(judgement: Judgement, codec: LatentCodec, out: Path) -> str:
    """Write generated.md and generated.json to the folder ``out``; returns the markdown."""
    out.mkdir(parents=True, exist_ok=True)
    facts = {"codec": codec.config.name, "latent_id": codec.latent_id, **asdict(judgement)}
    with atomic_path(out / "generated.json", force=True) as partial:
        partial.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    text = "\n".join(
        [
            f"# Generated audio against real audio, heard by '{codec.config.name}'",
            "",
            f"Made by `{' '.join(['lacuna', *sys.argv[1:]])}`.",
            "",
            *markdown(judgement),
        ]
    )
    with atomic_path(out / "generated.md", force=True) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
    return text


def markdown(judgement: Judgement) -> list[str]:
    """The lines of the report, from the headings of second order down."""
    sections: list[Callable[[Judgement], list[str]]] = [
        _distance_lines,
        _recognition_lines,
        _memorisation_lines,
        _envelope_lines,
    ]
    lines = [line for section in sections for line in [*section(judgement), ""]]
    if judgement.skipped:
        lines += ["Skipped:", "", *(f"- {reason}" for reason in judgement.skipped), ""]
    return lines[:-1]


def _distance_lines(judgement: Judgement) -> list[str]:
    return [
        "## Distance of the sets",
        "",
        f"{judgement.generated_files} generated files, {judgement.reference_files} reference "
        "files; lower is better, with 95 % intervals from resampled files. The Frechet distance is "
        "too large for few files: compare it only with that of sets of the same size. The kernel "
        "distance is unbiased: about 0 for two sets of one kind.",
        "",
        "| embedding | Frechet distance | kernel distance |",
        "|---|---|---|",
        *(f"| {name} | {d.frechet} | {d.kernel} |" for name, d in judgement.distances.items()),
    ]


def _recognition_lines(judgement: Judgement) -> list[str]:
    recognitions = judgement.recognitions
    if recognitions is None:
        return ["## Labels", "", "Not looked at: that needs --train."]
    rows = [
        ("held-out training clips", recognitions.held_out),
        ("reference", recognitions.reference),
        ("generated", recognitions.generated),
    ]
    lines = [
        "## Labels",
        "",
        f"A classifier of {recognitions.labels} labels, fitted to {recognitions.train_clips} "
        f"training clips. Means over labels; by chance {1 / recognitions.labels:.1%} and "
        f"{min(1, 3 / recognitions.labels):.1%}.",
        "",
        "| clips | number | labels | recognised | among the three likeliest |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows:
        if row is None:
            lines.append(f"| {name} | 0: none has a label that the classifier knows | | | |")
        else:
            lines.append(
                f"| {name} | {row.clips} | {row.labels} | {row.top1:.0%} | {row.top3:.0%} |"
            )
    return lines


def _memorisation_lines(judgement: Judgement) -> list[str]:
    memorisation = judgement.memorisation
    if memorisation is None:
        return ["## Copies", "", "Not looked for: that needs --train."]
    verdict = (
        "**Nearer than real recordings are: listen to the pairs below, they may be copies.**"
        if memorisation.suspicious
        else "No nearer than real recordings that were not trained on."
    )
    return [
        "## Copies",
        "",
        f"Distance of pieces of 1.5 s to the nearest piece of {judgement.train_files} training "
        f"files (0 is equal, 1 unrelated). {verdict}",
        "",
        "| pieces | number | median | least | nearer than 95 % of the reference's |",
        "|---|---|---|---|---|",
        f"| generated | {memorisation.generated_pieces} | {memorisation.generated_median:.3f} "
        f"| {memorisation.generated_least:.3f} | {memorisation.share_near:.0%} |",
        f"| reference | {memorisation.reference_pieces} | {memorisation.reference_median:.3f} "
        f"| {memorisation.reference_least:.3f} | 5% |",
        "",
        "| generated file | second | distance | training file | second |",
        "|---|---|---|---|---|",
        *(
            f"| {m.file} | {m.seconds:.1f} | {m.distance:.3f} | {m.train_file} "
            f"| {m.train_seconds:.1f} |"
            for m in memorisation.nearest
        ),
    ]


def _envelope_lines(judgement: Judgement) -> list[str]:
    lines = [
        "## Long-term spectra",
        "",
        "Mean absolute difference of mean log-mel spectra in dB, and what the training files of "
        "that label differ by from the reference.",
        "",
        "| label | generated files | reference files | generated | training |",
        "|---|---|---|---|---|",
    ]
    for row in judgement.envelopes:
        usual = "" if row.train_difference_db is None else f"{row.train_difference_db:.1f}"
        lines.append(
            f"| {row.label or 'all files'} | {row.generated_files} | {row.reference_files} "
            f"| {row.difference_db:.1f} | {usual} |"
        )
    if len(judgement.envelopes) == 1:
        lines += [
            "",
            "No label is shared by both: put files in folders named by their label, begin their "
            "names with it (piano-3.wav), or give a --manifest with a 'class' column.",
        ]
    return lines
