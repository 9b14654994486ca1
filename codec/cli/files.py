"""compress and decompress, of a file or of a folder."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from codec.cli.options import (
    EXIT_DAMAGED,
    AudioOutput,
    Compute,
    Folders,
    Force,
    Model,
    Rate,
    expect_suffix,
    refuse_own_input,
    say,
    word,
)
from codec.errors import LacunaError
from codec.model.shipped import DEFAULT_MODEL
from codec.process import available_cores, check_count

if TYPE_CHECKING:
    from codec.batch.folders import Job
    from codec.batch.work import Outcome, Work


DenoiserWeights = Annotated[
    str | None,
    Parameter(
        help="The diffusion model's checkpoint.", show_default="a shipped one of these latents"
    ),
]


def compress(
    source: Annotated[str, word("IN", "Audio file or folder; '-' is stdin.")],
    target: Annotated[str | None, word("OUT", "A .lac file; '-' is stdout.")] = None,
    /,
    *,
    rate: Rate = Rate(),
    model: Model = DEFAULT_MODEL,
    for_denoising: Annotated[
        int | None,
        Parameter(
            help="For `decompress --steps` of this number: blocks that it would make worse stay.",
            show_default="off",
        ),
    ] = None,
    denoiser: DenoiserWeights = None,
    force: Force = False,
    folders: Folders = Folders(),
    compute: Compute = Compute(),
) -> None:
    """Compress an audio file, or a folder of them, into small .lac files.

    Example: lacuna compress song.wav song.lac --kbps 6

    or: lacuna compress music/ --out-dir small/

    With --out-dir, IN may be a folder: its subfolders are kept, hidden files are left out, and
    files that differ in nothing but their suffix keep it (song.wav.lac beside song.flac.lac). A
    file that fails does not stop the others. Results that are there already are skipped, so that
    the same command goes on where it was stopped; --force makes them again.

    --json: for each file an object with source, target, status (done, damaged, skipped or
    failed), problems (a list of texts), and where there is a result seconds, bytes, kbps and
    at_finest; at the end one with the key summary, which holds the number of files of each
    status, and sums.
    """
    _check_places(source, target, folders, "OUT.lac")
    if target is not None and target != "-":
        expect_suffix(target, ".lac")
    compute.use()
    from codec.batch.folders import AUDIO_SUFFIXES, plan
    from codec.batch.work import compress_file

    work = partial(
        compress_file,
        target=rate.target(),
        force=force,
        for_denoising=for_denoising,
        denoiser=denoiser,
    )
    how = _How(model, compute, folders, force)
    if target is not None:
        _do_file("compress", work, source, target, how)
    else:
        assert folders.out_dir is not None
        jobs = plan(source, folders.out_dir, AUDIO_SUFFIXES, "audio file", ".lac")
        _do_files("compress", work, jobs, how)


def decompress(
    source: Annotated[str, word("IN", "A .lac file or a folder of them; '-' is stdin.")],
    target: Annotated[str | None, word("OUT", "Audio file; '-' is stdout.")] = None,
    /,
    *,
    start: Annotated[float, Parameter(help="Seconds to skip.")] = 0.0,
    duration: Annotated[
        float | None, Parameter(help="Seconds to decode.", show_default="to the end")
    ] = None,
    model: Annotated[
        str | None,
        Parameter(alias="-m", help="A checkpoint.", show_default="the one the file names"),
    ] = None,
    steps: Annotated[
        int | None,
        Parameter(
            help="Denoise the latents in so many steps of a diffusion model; 0 is off. Files that "
            "say the waveform itself, or whose latents were searched for, are left as they are.",
            show_default="1, where there is a model of these latents",
        ),
    ] = None,
    denoiser: DenoiserWeights = None,
    output: AudioOutput = AudioOutput(),
    folders: Folders = Folders(),
    compute: Compute = Compute(),
) -> None:
    """Decompress .lac files into audio files, with the sample rate and length they had.

    Example: lacuna decompress song.lac song.wav --start 12.5 --duration 3

    or: lacuna decompress small/ --out-dir music_again/

    With --out-dir, IN may be a folder, as with `lacuna compress`; each result is a .wav file, and
    what could be decoded of a damaged song.lac is song.damaged.wav. Audio that lies with the .lac
    files is never replaced, not even with --force.

    --json: for each file an object with source, target, status (done, damaged, skipped or
    failed), problems (a list of texts), and where there is a result seconds, sample_rate,
    channels and clipped samples; at the end one with the key summary.
    """
    _check_places(source, target, folders, "OUT.wav")
    compute.use()
    from codec.batch.folders import keep_originals, plan
    from codec.batch.work import decompress_file

    work = partial(
        decompress_file,
        start=start,
        duration=duration,
        bits=output.bits,
        force=output.force,
        apart=target is None,
        steps=steps,
        denoiser=denoiser,
    )
    how = _How(model, compute, folders, output.force)
    if target is not None:
        _do_file("decompress", work, source, target, how)
    else:
        assert folders.out_dir is not None
        jobs = plan(source, folders.out_dir, {".lac"}, ".lac file", ".wav")
        if output.force:
            keep_originals(jobs, source)
        _do_files("decompress", work, jobs, how)


def _check_places(source: str, target: str | None, folders: Folders, metavar: str) -> None:
    """Where to read and to write, before anything is done."""
    out_dir = folders.out_dir
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
    if target == "-" and folders.as_json:
        raise LacunaError("--json and the output '-' both write to stdout; name a file instead")


@dataclass(frozen=True)
class _How:
    """The options that say how files are done, not what becomes of them."""

    model: str | None
    compute: Compute
    folders: Folders
    force: bool


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
    from codec.api import Models
    from codec.batch.folders import Job
    from codec.batch.work import Outcome, collected_warnings
    from codec.progress import audio_progress

    refuse_own_input(source, target)
    tally, job = _Tally(verb, how.folders.as_json), Job(source, target)
    warned: list[str] = []
    try:
        with collected_warnings(warned):
            models = Models(how.model, how.compute.device)
            outcome = work(models, job, partial(audio_progress, f"{verb}ing"))
    except (LacunaError, OSError) as error:
        tally.add(Outcome(job, "failed", problems=[*warned, str(error)]))
        tally.finish()
        raise
    finally:
        for text in warned:
            say(f"lacuna: warning: {text}")
    if not how.folders.as_json:
        for text in outcome.notes:
            say(text)
    for text in outcome.problems:
        say(f"lacuna: warning: {text}")
    outcome.problems[:0] = warned
    tally.add(outcome)
    tally.finish()
    if outcome.status == "damaged":
        raise SystemExit(EXIT_DAMAGED)


def _do_files(verb: str, work: Work, jobs: list[Job], how: _How) -> None:
    """Many files: what fails is reported and counted, and what is there already is left alone."""
    from codec.api import Models
    from codec.batch.work import Outcome, run_here
    from codec.batch.workers import run_in_workers
    from codec.progress import file_progress

    tally = _Tally(verb, how.folders.as_json)
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
    bar = nullcontext(lambda *_: None) if how.folders.as_json else file_progress(f"{verb}ing")
    with bar as progress:
        progress("", len(jobs) - len(waiting), len(jobs))
        if waiting:
            models = Models(how.model, how.compute.device)
            if how.model is not None:
                models.load(how.model)  # a wrong name is one error, not one for each file
            if how.folders.workers is not None:
                check_count("--workers", how.folders.workers)
            workers = min(how.folders.workers or _default_workers(how.compute.device), len(waiting))
            if workers == 1:
                run_here(work, waiting, models, report)
            else:
                threads = how.compute.threads or 1
                run_in_workers(
                    work, waiting, workers, how.model, how.compute.device, threads, report
                )
    tally.finish()
    if not how.folders.as_json:
        say(tally.text())
    if tally.counts["failed"]:
        raise SystemExit(1)
    if tally.counts["damaged"]:
        raise SystemExit(EXIT_DAMAGED)


def _default_workers(device: str) -> int:
    """One per core this process may use; a GPU is shared badly."""
    if device != "cpu":
        return 1
    return available_cores()
