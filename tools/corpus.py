"""A training corpus of free recordings, made from Debian's data packages.

    python tools/corpus.py OUT [--midi HOURS] [--add FOLDER] [--attribution FILE]

downloads the packages (apt-get download: nothing is installed), unpacks the recordings, reads each
one's licence, leaves out what is under the GPL alone, broken, silent, doubled, or narrower than its
sample rate says, joins short clips, resamples nothing, and leaves

    OUT/train/CLASS/, OUT/dev/CLASS/    the recordings; dev has an album, author or speaker of each
    OUT/manifest.csv                    path, split, seconds, ..., class, group, licence, author
    OUT/clips.csv                       where each short clip begins in its joined file
    OUT/held_out.csv                    for added folders: can each validation file be had again?

A stopped run goes on where it was. What is needed: apt-get and dpkg (Debian, Ubuntu), ffmpeg for
the voice prompts, and for --midi fluidsynth and fluid-soundfont-gm.
"""

from __future__ import annotations

import errno
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, NoReturn

import cyclopts
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent))  # wherever this is started or imported from

from corpus import debian, joining, midi, output
from corpus.packages import PACKAGES, Package
from corpus.recordings import (
    Ledger,
    Recording,
    Report,
    audio_files,
    from_folder,
    from_package,
    read_folder,
    usable,
    without_duplicates,
)

from codec.progress import file_progress
from codec.text import printable

HELD_OUT = "valid/"  # how paths of a folder's validation files begin


def main(
    out: Annotated[Path, Parameter(help="The corpus: a new folder, or one to go on with.")],
    /,
    *,
    package: Annotated[
        list[str] | None, Parameter(help="Only this package; may be repeated. (default: all)")
    ] = None,
    debs: Annotated[
        Path | None, Parameter(help="Where .deb files are kept. (default: OUT/debs)")
    ] = None,
    add: Annotated[
        list[Path] | None,
        Parameter(help="A folder of recordings with a manifest.csv; may be repeated."),
    ] = None,
    midi_hours: Annotated[
        float,
        Parameter(
            name="--midi",
            validator=Number(gte=0),
            help="Hours of notes with known pitches to play.",
        ),
    ] = 0.0,
    attribution: Annotated[
        Path | None, Parameter(help="Write who is to be named, as Markdown, to this file.")
    ] = None,
) -> None:
    """Make or complete the corpus in OUT."""
    console = Console(soft_wrap=True)
    chosen = _choose(package)
    if (
        any((out / split).exists() for split in ("train", "dev"))
        and not (out / "measured.jsonl").exists()
    ):
        _wrong(f"{out} has a folder train or dev that is not of this program")
    try:
        out.mkdir(parents=True, exist_ok=True)
        rows, report = make(out, chosen, debs or out / "debs", add or [], midi_hours)
        if attribution is not None:
            attribution.write_text(output.attribution(rows), encoding="utf-8")
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        console.print(
            f"The disk of {out} is full; the whole corpus needs about 9 GB: free some space and "
            "run the same command again, it goes on where it stopped.",
            markup=False,
        )
        sys.exit(1)
    except (ValueError, FileNotFoundError) as error:
        console.print(printable(str(error)), markup=False)
        sys.exit(1)
    for table in (output.summary(rows), output.classes(rows), output.dropped(report)):
        console.print(table)
        console.print()
    hours = sum(row.recording.measured.seconds for row in rows) / 3600
    console.print(f"{hours:.2f} hours in {len(rows)} files: {out / 'manifest.csv'}", markup=False)
    for problem in report.problems:
        console.print(f"- {printable(problem)}", markup=False)
    if not rows:
        sys.exit(1)


def _wrong(message: str) -> NoReturn:
    """As cyclopts ends for an option that it does not take."""
    print(printable(message), file=sys.stderr)
    sys.exit(2)


def _choose(names: list[str] | None) -> list[Package]:
    packages = {package.name: package for package in PACKAGES}
    unknown = [name for name in names or [] if name not in packages]
    if unknown:
        _wrong(f"no package {', '.join(unknown)}; known are {', '.join(packages)}")
    return [packages[name] for name in names or packages]


def make(
    out: Path, packages: list[Package], debs: Path, folders: list[Path], midi_hours: float
) -> tuple[list[output.Row], Report]:
    """All steps; OSError if the disk is full, ValueError for a folder without a manifest."""
    report = Report()
    ledger = Ledger(out / "measured.jsonl")
    manifests = {folder: read_folder(folder) for folder in folders}
    soundfont = midi.find_soundfont() if midi_hours else None
    unpacked = _unpack_all(out, packages, debs, report)

    recordings: list[Recording] = []
    for package, folder in unpacked:
        files = audio_files(folder)
        with file_progress(f"measuring {package.name}") as progress:
            measured = ledger.measure(files, progress)
        recordings += from_package(package, folder, measured, report)
    held_out: dict[Path, dict[str, str]] = {}
    for folder, rows in manifests.items():
        with file_progress(f"measuring {folder}") as progress:
            measured = ledger.measure([folder / row["path"] for row in rows], progress)
        kept = [row for row in rows if not row["path"].startswith(HELD_OUT)]
        held_out |= {folder / row["path"]: row for row in rows if row not in kept}
        recordings += from_folder(folder, kept, measured, report)

    recordings = usable(recordings, report)
    known = ledger.measure(list(held_out), lambda *_: None)
    guarded = {file: facts for file, facts in known.items() if not isinstance(facts, str)}
    recordings, origins = without_duplicates(recordings, list(guarded.values()), report)
    placed = _place_all(out, recordings, report)
    placed += _play(out, ledger, soundfont, midi_hours)
    output.write_manifest(out, placed)
    if held_out:
        sources = dict(zip(guarded, origins, strict=True))
        output.write_held_out(out, held_out, sources)
    return placed, report


def _unpack_all(
    out: Path, packages: list[Package], debs: Path, report: Report
) -> list[tuple[Package, Path]]:
    """The packages that could be had, with the folder of each."""
    unpacked = []
    with file_progress("packages") as progress:
        for number, package in enumerate(packages):
            progress(package.name, number, len(packages))
            folder = out / "unpacked" / package.name
            try:
                debian.unpack(debian.fetch(package.name, debs), folder)
            except debian.PackageError as error:
                report.problems.append(str(error))
            else:
                unpacked.append((package, folder))
    return unpacked


def _place_all(out: Path, recordings: list[Recording], report: Report) -> list[output.Row]:
    """Every recording at its place under OUT; short clips of packages joined."""
    packages = out / "unpacked"
    packaged = [r for r in recordings if r.file.is_relative_to(packages)]
    local = [r for r in recordings if not r.file.is_relative_to(packages)]
    whole, joined = joining.group_clips(packaged, report)
    rows, clips, used = [], [], Counter[str]()
    with file_progress("writing") as progress:
        for recording in [*whole, *local]:
            name = joining.file_name(recording)
            path = Path(recording.split, recording.kind, name)
            used[str(path).lower()] += 1
            if used[str(path).lower()] > 1:
                path = path.with_stem(f"{path.stem}_{used[str(path).lower()]}")
            joining.place(recording, out / path, link=recording.file.is_relative_to(packages))
            rows.append(output.Row(path.as_posix(), recording))
            progress(name, len(rows), len(whole) + len(local) + len(joined))
        for item in joined:
            summary = item.summary()
            path = Path(summary.split, summary.kind, item.name)
            starts, facts = joining.write_joined(item, out / path)
            rows.append(output.Row(path.as_posix(), summary.with_facts(facts)))
            clips += [
                (path.as_posix(), f"{start:.3f}", clip.source, clip.licence, clip.author)
                for start, clip in zip(starts, item.clips, strict=True)
            ]
            progress(item.name, len(rows), len(whole) + len(local) + len(joined))
    output.write_csv(out / "clips.csv", ("path", "start", "source", "licence", "author"), clips)
    return rows


def _play(out: Path, ledger: Ledger, soundfont: Path | None, hours: float) -> list[output.Row]:
    """As many pieces as make `hours`; the last program of each family goes to the dev split."""
    rows: list[output.Row] = []
    seconds, number = 0.0, 0
    with file_progress("playing notes (s)") as progress:
        while soundfont is not None and seconds < hours * 3600:
            program, family, _ = midi.compose(number)
            split, kind = ("dev" if program % 8 == 7 else "train"), f"notes_{family}"
            file = midi.render(number, out / split / kind, soundfont)
            facts = ledger.measure([file], lambda *_: None)[file]
            assert not isinstance(facts, str), facts
            source = f"fluid-soundfont-gm: program {program}, piece {number}"
            recording = Recording(
                file, source, split, kind, "midi", "MIT", "Frank Wen (FluidR3 GM)", facts
            )
            rows.append(output.Row(file.relative_to(out).as_posix(), recording))
            seconds += facts.seconds
            number += 1
            progress(file.name, round(seconds), round(hours * 3600))
    return rows


if __name__ == "__main__":
    cyclopts.run(main)
