"""compress and decompress, of a file or of a folder."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codec.errors import LacunaError

if TYPE_CHECKING:
    from codec.batch.folders import Job, Outcome, Work
from codec.cli.app import app
from codec.cli.options import (
    EXIT_DAMAGED,
    Device,
    Force,
    JsonLines,
    ModelForRate,
    OutDir,
    Threads,
    Workers,
    expect_suffix,
    refuse_own_input,
    say,
    use_device,
)

FOLDER_HELP = (
    "\n\nWith --out-dir, IN may be a folder: its subfolders are kept, hidden files are left out, "
    "and files that differ in nothing but their suffix keep it ({clash}). A file that fails does "
    "not stop the others. Results that are there already are skipped, so that the same command "
    "goes on where it was stopped; --force makes them again."
    "\n\n--json: for each file an object with source, target, status (done, damaged, skipped or "
    "failed), problems (a list of texts), and where there is a result {facts}; at the end one with "
    "the key summary, which holds the number of files of each status, and sums."
)


@app.command(
    epilog="Example: lacuna compress song.wav song.lac --kbps 6"
    + FOLDER_HELP.format(
        clash="song.wav.lac beside song.flac.lac", facts="seconds, bytes, kbps and at_finest"
    )
)
def compress(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Audio file or folder; '-' is stdin.")
    ],
    target: Annotated[
        str | None, typer.Argument(metavar="OUT.lac", help="'-' is stdout.", show_default=False)
    ] = None,
    out_dir: OutDir = None,
    kbps: Annotated[
        float | None,
        typer.Option(help="Ceiling for each file's bit rate.", show_default="3 per channel"),
    ] = None,
    quality: Annotated[
        float | None,
        typer.Option(help="Instead of a rate: 0 (smallest) to 10 (best).", show_default=False),
    ] = None,
    max_kbps: Annotated[
        float | None,
        typer.Option(help="Ceiling for each block of 256 frames, 6 to 12 s.", show_default="none"),
    ] = None,
    model: ModelForRate = None,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
    workers: Workers = None,
    as_json: JsonLines = False,
) -> None:
    """Compress an audio file, or a folder of them, into small .lac files."""
    _check_places(source, target, out_dir, "OUT.lac", as_json)
    if target is not None and target != "-":
        expect_suffix(target, ".lac")
    from codec.batch.folders import SUFFIXES, compress_file, plan
    from codec.lac.rate import RateTarget

    rate = RateTarget(kbps, quality, max_kbps)
    how = _How(device, threads, workers, force, as_json)
    work = partial(compress_file, model=model, target=rate, force=force)
    if target is not None:
        _do_file("compress", work, source, target, how)
    else:
        assert out_dir is not None
        jobs = plan(source, out_dir, SUFFIXES, "audio file", ".lac")
        _do_files("compress", work, jobs, model, how)


@app.command(
    epilog="Example: lacuna decompress song.lac song.wav --start 12.5 --duration 3"
    + FOLDER_HELP.format(
        clash="song.lac.wav beside song.LAC.wav",
        facts="seconds, sample_rate, channels and clipped samples",
    )
)
def decompress(
    source: Annotated[str, typer.Argument(metavar="IN.lac", help="File or folder; '-' is stdin.")],
    target: Annotated[
        str | None,
        typer.Argument(metavar="OUT.wav", help="Audio file; '-' is stdout.", show_default=False),
    ] = None,
    out_dir: OutDir = None,
    start: Annotated[float, typer.Option(help="Seconds to skip.")] = 0.0,
    duration: Annotated[
        float | None, typer.Option(help="Seconds to decode.", show_default="to the end")
    ] = None,
    bits: Annotated[
        str | None, typer.Option(help="Sample format: 16, 24 or float.", show_default="16")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="A checkpoint.", show_default="the one the file names"),
    ] = None,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
    workers: Workers = None,
    as_json: JsonLines = False,
) -> None:
    """Decompress .lac files into audio files, with the sample rate and length they had."""
    _check_places(source, target, out_dir, "OUT.wav", as_json)
    from codec.batch.folders import decompress_file, plan

    how = _How(device, threads, workers, force, as_json)
    work = partial(
        decompress_file, model=model, start=start, duration=duration, bits=bits, force=force
    )
    if target is not None:
        _do_file("decompress", work, source, target, how)
    else:
        assert out_dir is not None
        jobs = plan(source, out_dir, {".lac"}, ".lac file", ".wav")
        _do_files("decompress", work, jobs, model, how)


def _check_places(
    source: str, target: str | None, out_dir: Path | None, metavar: str, as_json: bool
) -> None:
    """Where to read and to write, before anything is done."""
    if target is not None and out_dir is not None:
        raise LacunaError(f"got both '{target}' and --out-dir '{out_dir}'; give one of them")
    if out_dir is None and os.path.isdir(source):
        raise LacunaError(
            f"'{source}' is a folder, expected an audio file; for all files in it, "
            f"name a folder for the results with --out-dir"
        )
    if target is None and out_dir is None:
        raise LacunaError(f"no output; name a file, {metavar}, or a folder, with --out-dir")
    if out_dir is not None:
        if source == "-":
            raise LacunaError(f"'-' has no name to use in --out-dir '{out_dir}'; name {metavar}")
        if out_dir.exists() and not out_dir.is_dir():
            raise LacunaError(f"--out-dir '{out_dir}' is a file; give a folder, which may be new")
    if target == "-" and as_json:
        raise LacunaError("--json and the output '-' both write to stdout; name a file instead")


@dataclass(frozen=True)
class _How:
    """The options that say how files are done, not what becomes of them."""

    device: str
    threads: int | None
    workers: int | None
    force: bool
    as_json: bool


class _Tally:
    """Counts what becomes of files and reports it: to scripts here, to people in ``text``."""

    def __init__(self, verb: str, as_json: bool) -> None:
        self._verb, self._as_json = verb, as_json
        self.counts = {"done": 0, "damaged": 0, "skipped": 0, "failed": 0}
        self._seconds, self._bytes = 0.0, 0

    def add(self, outcome: Outcome) -> None:
        self.counts[outcome.status] += 1
        self._seconds += outcome.facts.get("seconds", 0.0)
        self._bytes += outcome.facts.get("bytes", 0)
        if self._as_json:
            file = {**asdict(outcome.job), "status": outcome.status, **outcome.facts}
            print(json.dumps({**file, "problems": outcome.problems}), flush=True)

    def finish(self) -> None:
        if self._as_json:
            summary: dict[str, Any] = {**self.counts, "seconds": self._seconds}
            if self._verb == "compress":
                summary |= {"bytes": self._bytes, "kbps": self._kbps}
            print(json.dumps({"summary": summary}))

    @property
    def _kbps(self) -> float | None:
        return self._bytes * 8 / self._seconds / 1000 if self._seconds else None

    def text(self) -> str:
        """Such as: 12 compressed, 3 skipped, 1 failed; 34,567 bytes, 5.98 kbps on average."""
        damaged = f"{self.counts['damaged']} damaged, " if self.counts["damaged"] else ""
        text = (
            f"{self.counts['done']} {self._verb}ed, {damaged}{self.counts['skipped']} skipped, "
            f"{self.counts['failed']} failed"
        )
        if self._verb == "compress" and self._kbps is not None:
            text += f"; {self._bytes:,} bytes, {self._kbps:.2f} kbps on average"
        return text


def _do_file(verb: str, work: Work, source: str, target: str, how: _How) -> None:
    """One file, whose failure is that of the command."""
    from codec.batch.folders import Job, Outcome, collected_warnings, loader
    from codec.progress import audio_progress

    refuse_own_input(source, target)
    use_device(how.device, how.threads)
    tally, job = _Tally(verb, how.as_json), Job(source, target)
    warned: list[str] = []
    try:
        with collected_warnings(warned):
            outcome = work(loader(how.device), job, partial(audio_progress, f"{verb}ing"))
    except (LacunaError, OSError) as error:
        tally.add(Outcome(job, "failed", problems=[*warned, str(error)]))
        tally.finish()
        raise
    finally:
        for text in warned:
            say(f"lacuna: warning: {text}")
    if not how.as_json:
        for text in outcome.notes:
            say(text)
    for text in outcome.problems:
        say(f"lacuna: warning: {text}")
    outcome.problems[:0] = warned
    tally.add(outcome)
    tally.finish()
    if outcome.status == "damaged":
        raise typer.Exit(EXIT_DAMAGED)


def _do_files(verb: str, work: Work, jobs: list[Job], model: str | None, how: _How) -> None:
    """Many files: what fails is told and counted, and what is there already is left alone."""
    from codec.batch.folders import Outcome, loader, run_here
    from codec.batch.workers import run_in_workers
    from codec.progress import file_progress

    tally = _Tally(verb, how.as_json)
    waiting = []
    for job in jobs:
        if Path(job.target).is_file() and not how.force:
            tally.add(Outcome(job, "skipped"))
        else:
            waiting.append(job)

    def report(outcome: Outcome) -> None:
        tally.add(outcome)
        source = outcome.job.source
        for text in outcome.problems:
            kind = (
                "error"
                if outcome.status == "failed" and text is outcome.problems[-1]
                else "warning"
            )
            say(f"lacuna: {kind}: {text if source in text else f'{source}: {text}'}")
        progress(source, sum(tally.counts.values()), len(jobs))

    # Not beside JSON: where standard error is a terminal, the bar would draw it in there.
    bar = nullcontext(lambda *_: None) if how.as_json else file_progress(f"{verb}ing")
    with bar as progress:
        progress("", len(jobs) - len(waiting), len(jobs))
        if waiting:
            use_device(how.device, how.threads)
            load = loader(how.device)
            if model is not None:
                load(model)  # a wrong name is one error, not one for each file
            workers = min(how.workers or _default_workers(how.device), len(waiting))
            if workers == 1:
                run_here(work, waiting, load, report)
            else:
                run_in_workers(work, waiting, workers, how.device, how.threads or 1, report)
    tally.finish()
    if not how.as_json:
        say(tally.text())
    if tally.counts["failed"]:
        raise typer.Exit(1)
    if tally.counts["damaged"]:
        raise typer.Exit(EXIT_DAMAGED)


def _default_workers(device: str) -> int:
    """One per core this process may use; a GPU is shared badly."""
    if device != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
