"""From unpacked packages and local folders to the list of recordings that may be used."""

from __future__ import annotations

import csv
import json
import multiprocessing
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import soundfile

from codec.process import available_cores
from corpus.debian import AUDIO
from corpus.duplicates import find_matches
from corpus.licences import CopyrightFile, choose
from corpus.measure import Measured, measure
from corpus.packages import Package

SILENT = 1e-3  # peak below -60 dBFS
MIN_BANDWIDTH = 0.5  # of what the sample rate can hold
MIN_RATE = 16000
MIN_SECONDS = 0.1
_WORTH_A_WORKER = 50  # files for which another process is started


@dataclass(frozen=True)
class Recording:
    """One file with all that the manifest says of it."""

    file: Path
    source: str  # where it comes from: package and path in it
    split: str
    kind: str
    group: str
    licence: str
    author: str
    measured: Measured

    def with_facts(self, measured: Measured) -> Recording:
        """The same with other measurements."""
        return replace(self, measured=measured)


@dataclass
class Report:
    """What was left out: files by group and reason, and what somebody should look at."""

    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def drop(self, group: str, reason: str) -> None:
        self.dropped[group, reason] += 1


class Ledger:
    """Measurements, kept in a file of one JSON line each, so that none is made twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Measured | str] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                    key, value = entry["key"], entry["value"]
                    self.known[key] = value if isinstance(value, str) else Measured(**value)
                except (ValueError, KeyError, TypeError):
                    continue  # the line that a stopped run did not finish

    def measure(
        self, files: Sequence[Path], progress: Callable[[str, int, int], None]
    ) -> dict[Path, Measured | str]:
        """Each file's measurements, or why it cannot be decoded."""
        keys = {file: _key(file) for file in files}
        missing = [file for file in files if keys[file] not in self.known]
        done = len(files) - len(missing)
        with self.path.open("a", encoding="utf-8") as ledger:
            for file, value in _measure_all(missing):
                self.known[keys[file]] = value
                plain = value if isinstance(value, str) else asdict(value)
                ledger.write(json.dumps({"key": keys[file], "value": plain}) + "\n")
                ledger.flush()
                done += 1
                progress(file.name, done, len(files))
        return {file: self.known[keys[file]] for file in files}


def _measure_all(files: list[Path]) -> Iterator[tuple[Path, Measured | str]]:
    workers = min(available_cores(), len(files) // _WORTH_A_WORKER)
    if workers < 2:
        for file in files:
            yield file, _try(file)
        return
    # spawned, because a forked copy of a process with threads may hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool:
        yield from zip(files, pool.map(_try, files, chunksize=4), strict=True)


def _key(file: Path) -> str:
    stat = file.stat()
    return f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns}"


def _try(file: Path) -> Measured | str:
    try:
        return measure(file)
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        return str(error) or type(error).__name__


def audio_files(folder: Path) -> list[Path]:
    """All files with a suffix of audio, in order of their names."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO and p.is_file())


def from_package(
    package: Package, unpacked: Path, measured: dict[Path, Measured | str], report: Report
) -> list[Recording]:
    """The package's recordings that a free licence covers; the rest goes to the report."""
    try:
        copyright_file = CopyrightFile(unpacked, package)
    except OSError as error:
        report.problems.append(f"{package.name}: its copyright file cannot be read ({error})")
        return []
    root = unpacked / package.root
    recordings = []
    for file, facts in measured.items():
        if not file.is_relative_to(root):
            report.drop(package.group, "not among the package's recordings")
            continue
        inner = file.relative_to(root).as_posix()
        path = package.source + inner
        kind = package.class_of(inner)
        if kind is None:
            report.drop(package.group, "not among the package's recordings")
        elif isinstance(facts, str):
            report.drop(package.group, "broken")
            report.problems.append(f"{package.name}: {inner} cannot be decoded: {facts}")
        else:
            licence = copyright_file.licence(path, facts.artist, facts.licence)
            if licence.name is None:
                report.drop(package.group, f"licence: {licence.stated}")
                continue
            split = "dev" if re.search(package.dev, inner) else "train"
            source = f"{package.name}: {package.root}{inner}"
            recordings.append(
                Recording(
                    file, source, split, kind, package.group, licence.name, licence.author, facts
                )
            )
    return recordings


def from_folder(
    folder: Path,
    rows: Iterable[dict[str, str]],
    measured: dict[Path, Measured | str],
    report: Report,
) -> list[Recording]:
    """The recordings of a folder with a manifest; its groups keep their names."""
    recordings = []
    for row in rows:
        facts = measured[folder / row["path"]]
        licence = choose(re.sub(r"\(.*?\)", "", row["licence"]))
        if isinstance(facts, str):
            report.drop(row["group"], "broken")
            report.problems.append(f"{folder / row['path']} cannot be decoded: {facts}")
        elif licence is None:
            report.drop(row["group"], f"licence: {row['licence']}")
        else:
            author = re.sub(r"\s*F0=\d+", "", row.get("attribution") or "")  # a voice's pitch
            source = f"{row['group']}: {row.get('source', '')}"
            recordings.append(
                Recording(
                    folder / row["path"], source, "train", row["class"], row["group"],
                    licence, author, facts,
                )
            )  # fmt: skip
    return recordings


def read_folder(folder: Path) -> list[dict[str, str]]:
    """The rows of FOLDER/manifest.csv; ValueError says what is missing."""
    path = folder / "manifest.csv"
    needed = ("path", "class", "group", "licence")
    try:
        with path.open(newline="", encoding="utf-8") as table:
            reader = csv.DictReader(table)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read ({error}); a folder needs a manifest") from error
    missing = [name for name in needed if name not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}")
    home = folder.resolve()
    for row in rows:
        inside = (folder / row["path"]).resolve().is_relative_to(home)
        if not inside or not re.fullmatch(r"\w[\w -]*", row["class"]):
            raise ValueError(
                f"{path}: path {row['path']!r} or class {row['class']!r} cannot be used; a path "
                "has to be inside the folder, a class a plain word"
            )
    absent = [row["path"] for row in rows if not (folder / row["path"]).is_file()]
    if absent:
        raise ValueError(f"{path} names files that are not there, {absent[0]} for one")
    return rows


def usable(recordings: list[Recording], report: Report) -> list[Recording]:
    """Without silence, what is too short or narrower than its sample rate says."""
    kept = []
    for recording in recordings:
        facts = recording.measured
        if facts.sample_rate < MIN_RATE:
            report.drop(recording.group, f"sample rate below {MIN_RATE} Hz")
        elif facts.seconds < MIN_SECONDS:
            report.drop(recording.group, "shorter than 0.1 s")
        elif facts.peak < SILENT:
            report.drop(recording.group, "silence")
        elif facts.bandwidth_hz < MIN_BANDWIDTH * facts.sample_rate / 2:
            report.drop(recording.group, "narrower than its sample rate says")
        else:
            kept.append(recording)
    return kept


def without_duplicates(
    recordings: list[Recording], held_out: Sequence[Measured], report: Report
) -> tuple[list[Recording], list[str]]:
    """One of each, the longest, and nothing that a held-out recording is cut from.

    Returns those that stay, and for each held-out recording where in a package it is, or "".
    """
    order = sorted(recordings, key=lambda recording: -recording.measured.seconds)
    facts = [*held_out, *(recording.measured for recording in order)]
    first_of: dict[str, int] = {}
    gone: dict[int, str] = {}
    origins = [""] * len(held_out)
    for place, item in enumerate(facts):
        if first_of.setdefault(item.digest, place) != place:
            gone[place] = "duplicate"
    matches = find_matches([item.fingerprint() for item in facts])
    for match in sorted(matches, key=lambda match: (match.first, match.second)):
        if match.second < len(held_out) or match.first in gone:
            continue
        if match.first < len(held_out):
            gone[match.second] = "a held-out recording is cut from it"
            source = order[match.second - len(held_out)].source
            place = f"{source}, from {max(0.0, -match.seconds):.1f} s"
            origins[match.first] = origins[match.first] or place
        else:
            gone.setdefault(match.second, "near-duplicate")
    for place, reason in gone.items():
        if place >= len(held_out):
            report.drop(order[place - len(held_out)].group, reason)
    kept = {order[n].file for n in range(len(order)) if n + len(held_out) not in gone}
    return [recording for recording in recordings if recording.file in kept], origins
