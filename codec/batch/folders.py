"""Files and whole folders of them, compressed and decompressed from path to path.

``find_files`` and ``plan`` say which files are done and what their results are called,
``compress_file`` and ``decompress_file`` do one, and ``run_here`` does many, of which each may fail
without stopping the rest. workers.py does the same in several processes.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import soundfile

from codec.api import Codec, Models
from codec.audio import AudioReader, AudioWriter
from codec.audio.pieces import CHUNK, Progress
from codec.errors import AudioError, LacunaError
from codec.files import output_file, read_bytes
from codec.lac.compress import CompressionReport, compress_stream
from codec.lac.decompress import decompress_stream
from codec.lac.rate import RateTarget
from codec.lac.reader import LacReader

SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} | {
    ".aif",
    ".oga",
    ".opus",
}
SUFFIXES -= {".raw"}  # without a header, so nobody knows the sample rate; often a photograph
"""Of the files that libsndfile reads; in lower case."""

Bar = Callable[[float | None], AbstractContextManager[Progress]]
"""Shows the progress of a file of so many seconds (None if that is unknown)."""


# ---------------------------------------------------------------- which files, and under what name


@dataclass(frozen=True)
class Job:
    """A file to read and the file to write; "-" is standard input and output."""

    source: str
    target: str


def find_files(
    folder: str | Path, suffixes: Collection[str], kind: str, outside: Path | None = None
) -> list[Path]:
    """All files below ``folder`` with one of the suffixes (in either case), sorted.

    Hidden files and folders are left out, and so is what lies below ``outside``.

    Raises:
        AudioError: no such folder, or no such file in it; ``kind`` names what was looked for.
    """
    root = Path(folder)
    if not root.is_dir():
        raise AudioError(f"'{root}' is not a folder, expected a folder of {kind}s")
    found = []
    for path in root.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        apart = outside is None or outside not in path.parents
        if path.suffix.lower() in suffixes and apart and not hidden and path.is_file():
            found.append(path)
    if not found:
        raise AudioError(f"no {kind} below '{root}'; looked for {', '.join(sorted(suffixes))}")
    return sorted(found)


def find_audio(folder: str | Path) -> list[Path]:
    """All files below ``folder`` with a suffix that libsndfile reads, sorted.

    Raises:
        AudioError: no such folder, or no such file in it.
    """
    return find_files(folder, SUFFIXES, "audio file")


def plan(
    source: str, out_dir: Path, suffixes: Collection[str], kind: str, new_suffix: str
) -> list[Job]:
    """What to do for ``source``, a file or a folder, so that the results lie in ``out_dir``.

    Subfolders are kept. ``song.wav`` becomes ``song`` + ``new_suffix``; files whose results would
    have the same name all keep their own suffix in it: ``song.wav.lac`` and ``song.flac.lac``.
    Results below an ``out_dir`` that lies inside ``source`` are not taken for sources.

    Raises:
        AudioError: no such file in the folder.
    """
    root = Path(source)
    if not root.is_dir():
        return [Job(source, str(out_dir / Path(root.name).with_suffix(new_suffix)))]
    from_root = _relative_to(out_dir, root)
    outside = root / from_root if from_root and from_root.parts else None
    paths = find_files(root, suffixes, kind, outside)
    names = _distinct([path.relative_to(root) for path in paths], new_suffix)
    return [Job(str(path), str(out_dir / name)) for path, name in zip(paths, names, strict=True)]


def _relative_to(path: Path, root: Path) -> Path | None:
    path, root = path.resolve(), root.resolve()
    return path.relative_to(root) if path.is_relative_to(root) else None


def _distinct(names: list[Path], suffix: str) -> list[Path]:
    """Each name with ``suffix`` in the place of its own, or after it where two would be equal."""
    chosen = [name.with_suffix(suffix) for name in names]
    while True:  # again, since song.wav.lac may be what became of song.wav.wav
        uses = Counter(map(_as_a_disk_sees_it, chosen))
        renamed = [
            name.with_name(name.name + suffix) if uses[_as_a_disk_sees_it(taken)] > 1 else taken
            for name, taken in zip(names, chosen, strict=True)
        ]
        if renamed == chosen:
            return chosen
        chosen = renamed


def _as_a_disk_sees_it(path: Path) -> str:
    """Equal for names that are one file on some systems: Song.lac and song.lac."""
    return unicodedata.normalize("NFC", str(path)).casefold()


# --------------------------------------------------------------------------------------- one file


@dataclass
class Outcome:
    """What became of a file."""

    job: Job
    status: Literal["done", "damaged", "skipped", "failed"]
    """Damaged: decoded in part, with silence for what was lost."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Numbers of the result, for scripts."""
    notes: list[str] = field(default_factory=list)
    """The result in words."""
    problems: list[str] = field(default_factory=list)
    """Why it failed, what was lost, and warnings."""


Work = Callable[[Models, Job, Bar], Outcome]
"""``compress_file`` or ``decompress_file`` with their options; errors are raised."""


def no_bar(seconds: float | None) -> AbstractContextManager[Progress]:
    return nullcontext(lambda done: None)


def compress_file(
    models: Models, job: Job, bar: Bar = no_bar, *, target: RateTarget, force: bool
) -> Outcome:
    """Compress an audio file with the model that suits the rate, or the one that ``models`` has.

    Raises:
        LacunaError: as for ``AudioReader``, ``output_file`` and ``compress_stream``.
    """
    with (
        AudioReader(job.source) as reader,
        output_file(job.target, force=force) as output,
        bar(reader.info.seconds) as progress,
    ):

        def attempt(codec: Codec) -> tuple[Codec, CompressionReport]:
            chunks, info = reader.blocks(CHUNK), reader.info
            return codec, compress_stream(
                codec, chunks, info.sample_rate, info.channels, output, target, info.tags, progress
            )

        rate = target.kbps_per_channel(reader.info.channels)
        codec, report = models.for_rate(rate, attempt)
    ratio = report.samples * reader.info.channels * 2 / report.bytes
    smaller = f"{ratio:.0f} times smaller than" if ratio > 1 else "which is more than"
    notes = [
        f"{job.target}: {report.bytes:,} bytes for {report.seconds:.2f} s, "
        f"{report.kbps:.2f} kbps, {smaller} 16-bit PCM"
    ]
    if report.at_finest:
        notes.append(f"this is the finest useful setting of '{codec.config.name}' for this audio")
    facts = {
        "seconds": report.seconds,
        "bytes": report.bytes,
        "kbps": report.kbps,
        "at_finest": report.at_finest,
    }
    return Outcome(job, "done", facts, notes)


def decompress_file(
    models: Models,
    job: Job,
    bar: Bar = no_bar,
    *,
    start: float,
    duration: float | None,
    bits: str | None,
    force: bool,
) -> Outcome:
    """Decompress a .lac file, or ``duration`` seconds from ``start`` on.

    Raises:
        LacunaError: as for ``LacReader``, ``AudioWriter`` and ``decompress_stream``.
    """
    reader = LacReader(read_bytes(job.source))
    header = reader.header
    codec = models.for_file(header)
    total = reader.samples / header.sample_rate if reader.samples is not None else None
    with (
        AudioWriter(job.target, header.sample_rate, header.channels, bits, force=force) as writer,
        bar(duration if duration is not None else total) as progress,
    ):
        report = decompress_stream(codec, reader, writer.write, start, duration, progress)
    facts = {
        "seconds": report.samples / header.sample_rate,
        "sample_rate": header.sample_rate,
        "channels": header.channels,
        "clipped": writer.clipped,
    }
    notes = [
        f"{job.target}: {facts['seconds']:.2f} s, {header.sample_rate} Hz, "
        f"{header.channels} channels"
    ]
    if writer.clipped:
        notes.append(
            f"{writer.clipped} samples exceeded full scale and were clipped; --bits float keeps"
        )
    problems = report.problems()
    return Outcome(job, "damaged" if problems else "done", facts, notes, problems)


# -------------------------------------------------------------------------------------- many files


@contextmanager
def collected_warnings(texts: list[str]) -> Iterator[None]:
    """Append the warnings of the body to ``texts`` instead of showing them."""
    with warnings.catch_warnings(record=True) as caught:
        try:
            yield
        finally:
            texts += [str(warning.message) for warning in caught]


def attempt(work: Work, models: Models, job: Job) -> Outcome:
    """Do a file, in a new folder if need be; a failure is the outcome's last problem."""
    warned: list[str] = []
    try:
        Path(job.target).parent.mkdir(parents=True, exist_ok=True)
        with collected_warnings(warned):
            outcome = work(models, job, no_bar)
    except LacunaError as error:
        outcome = Outcome(job, "failed", problems=[str(error)])
    except OSError as error:
        outcome = Outcome(job, "failed", problems=[str(error)])
    except Exception as error:  # a bug, or out of memory; the next file may still do
        reason = f"{type(error).__name__}: {error}; to see where, do this file alone"
        outcome = Outcome(job, "failed", problems=[" ".join(reason.split())])
    outcome.problems[:0] = warned
    return outcome


def run_here(
    work: Work, jobs: Sequence[Job], models: Models, report: Callable[[Outcome], None]
) -> None:
    """Do the files one after the other in this process; ``report`` is called after each."""
    for job in jobs:
        report(attempt(work, models, job))
