"""Files compressed and decompressed from path to path, of which each may fail without stopping
the rest.

``compress_file`` and ``decompress_file`` do one, and ``run_here`` does many; workers.py does the
same in several processes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from codec.api import Models
from codec.audio import AudioReader, AudioWriter
from codec.audio.pieces import CHUNK, Progress
from codec.batch.folders import Job
from codec.errors import LacunaError
from codec.files import output_file, read_bytes
from codec.lac.compress import compress_stream
from codec.lac.decompress import decompress_stream, survey
from codec.lac.rate import RateTarget
from codec.lac.reader import LacReader

Bar = Callable[[float | None], AbstractContextManager[Progress]]
"""Shows the progress of a file of so many seconds (None if that is unknown)."""


@dataclass
class Outcome:
    """The result for a file."""

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
    models: Models,
    job: Job,
    bar: Bar = no_bar,
    *,
    target: RateTarget,
    force: bool,
    for_denoising: int | None = None,
    denoiser: str | None = None,
) -> Outcome:
    """Compress an audio file with the default model, or the one that ``models`` has.

    Raises:
        LacunaError: as for ``AudioReader``, ``output_file`` and ``compress_stream``.
    """
    with (
        AudioReader(job.source) as reader,
        output_file(job.target, force=force) as output,
        bar(reader.info.seconds) as progress,
    ):
        codec, chunks, info = models.for_compressing(), reader.blocks(CHUNK), reader.info
        report = compress_stream(
            codec,
            chunks,
            info.sample_rate,
            info.channels,
            output,
            target,
            info.tags,
            progress,
            for_denoising=for_denoising,
            denoiser=denoiser,
        )
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
    apart: bool = False,
    steps: int | None = None,
    denoiser: str | None = None,
) -> Outcome:
    """Decompress a .lac file, or ``duration`` seconds from ``start`` on, with its tags.

    With ``apart`` a damaged file, of which only a part can be decoded, does not take the name of
    the finished result (song.wav) but one of its own (song.damaged.wav), which is left as it is
    if it is there already. So when the same command goes on later, what is damaged counts as
    damaged again, and a file that was mended meanwhile is done.

    Raises:
        LacunaError: as for ``LacReader``, ``AudioWriter`` and ``decompress_stream``.
    """
    reader = LacReader(read_bytes(job.source))
    header = reader.header
    codec = models.for_file(header)
    total = reader.samples / header.sample_rate if reader.samples is not None else None
    if apart and (problems := survey(reader, start, duration).problems()):
        job = Job(job.source, damaged_name(job.target))
        if Path(job.target).is_file() and not force:
            return Outcome(job, "damaged", problems=[*problems, f"{job.target} is there already"])
    writer = AudioWriter(
        job.target, header.sample_rate, header.channels, bits, force=force, tags=header.tags
    )
    with (
        writer,
        bar(duration if duration is not None else total) as progress,
    ):
        report = decompress_stream(
            codec, reader, writer.write, start, duration, progress, steps=steps, denoiser=denoiser
        )
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
    if writer.lost_tags:
        lost = ", ".join(writer.lost_tags)
        notes.append(f"tags that such a file cannot hold are lost: {lost}")
    problems = report.problems()
    status: Literal["done", "damaged"] = "damaged" if problems else "done"
    if writer.clipped:
        problems.append(clipping(writer.clipped))
    return Outcome(job, status, facts, notes, problems)


def clipping(samples: int) -> str:
    """What to say of ``AudioWriter.clipped``."""
    return f"{samples} samples exceeded full scale and were clipped; --bits float keeps them"


def damaged_name(target: str) -> str:
    """song.damaged.wav for song.wav."""
    path = Path(target)
    return str(path.with_name(f"{path.stem}.damaged{path.suffix}"))


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
