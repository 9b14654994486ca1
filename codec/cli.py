"""The command ``lacuna``. Heavy imports happen inside the commands, so that --help is quick."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codec.errors import LacunaError
from codec.models import DEFAULT_MODEL

if TYPE_CHECKING:
    from codec.codec import Codec
    from codec.folders import Job, Outcome, Work

app = typer.Typer(
    name="lacuna",
    help="Lacuna: a neural audio codec. Compress audio, work with its latents, train your own.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
train_app = typer.Typer(help="Train a model on a folder of audio.", no_args_is_help=True)
app.add_typer(train_app, name="train")

EXIT_DAMAGED = 3
"""Exit code when a file was damaged and only a part of it could be used."""

Model = Annotated[
    str, typer.Option("--model", "-m", help="A shipped model's name, or a checkpoint's path.")
]
ModelForRate = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A shipped model's name, or a checkpoint's path.",
        show_default="the best for the rate",
    ),
]
Device = Annotated[str, typer.Option(help="Where the network runs: cpu, cuda, cuda:1, mps.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads.", show_default="all cores")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite an existing output file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
JsonLines = Annotated[
    bool, typer.Option("--json", help="Print a JSON object for each file, and a summary.")
]
OutDir = Annotated[
    Path | None,
    typer.Option(
        "--out-dir", metavar="DIR", help="Folder for the results; IN may then be a folder."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="With --out-dir: processes, each at a file, with one thread if there are several.",
        show_default="one per core, 1 on a GPU",
    ),
]

FOLDER_HELP = (
    "\n\nWith --out-dir, IN may be a folder: its subfolders are kept, hidden files are left out, "
    "and files that differ in nothing but their suffix keep it ({clash}). A file that fails does "
    "not stop the others. Results that are there already are skipped, so that the same command "
    "goes on where it was stopped; --force makes them again."
    "\n\n--json: for each file an object with source, target, status (done, damaged, skipped or "
    "failed), problems (a list of texts), and where there is a result {facts}; at the end one with "
    "the key summary, which holds the number of files of each status, and sums."
)


def main(program: typer.Typer = app) -> None:
    """Entry point: a user's mistake is one line on standard error and an exit code.

    ``program`` is ``app``, or one that has more commands.
    """
    # As Ctrl-C does: end through the exits of all `with` blocks, which remove partial files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with _shown_warnings():
            program()
    except LacunaError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        name = f"'{error.filename}': " if error.filename else ""
        _fail(f"{name}{error.strerror or error}", 1)


def _fail(message: str, code: int) -> None:
    print(f"lacuna: error: {message}", file=sys.stderr)
    sys.exit(code)


def say(message: str) -> None:
    """Reports go to standard error: standard output may be the audio."""
    print(message, file=sys.stderr)


@contextmanager
def _shown_warnings() -> Iterator[None]:
    """Warnings as plain lines, without the place in the code that they come from."""
    previous = warnings.showwarning
    warnings.showwarning = lambda message, *args, **kwargs: say(f"lacuna: warning: {message}")
    try:
        yield
    finally:
        warnings.showwarning = previous


def use_device(device: str, threads: int | None) -> None:
    """Raises LacunaError for a device that torch does not know or that is not there."""
    import torch

    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise LacunaError(f"cannot use device '{device}': {reason}; try --device cpu") from None
    if threads is not None:
        torch.set_num_threads(threads)


def refuse_own_input(source: str, target: str) -> None:
    """Not even --force may replace the file that is being read."""
    if os.path.exists(source) and os.path.exists(target) and os.path.samefile(source, target):
        raise LacunaError(f"'{target}' is the input; give the output another name")


def _expect_suffix(target: str, suffix: str) -> None:
    """Swapped or forgotten arguments must not give, say, a .wav that is none."""
    if Path(target).suffix.lower() != suffix:
        raise LacunaError(f"'{target}': expected an output name that ends in {suffix}")


def _load(model: str, device: str, threads: int | None) -> Codec:
    from codec.codec import load

    use_device(device, threads)
    return load(model, device)


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
        _expect_suffix(target, ".lac")
    from codec.folders import SUFFIXES, compress_file, plan
    from codec.rate import RateTarget

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
    from codec.folders import decompress_file, plan

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
    from codec.folders import Job, Outcome, collected_warnings, loader
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
    from codec.folders import Outcome, loader, run_here
    from codec.progress import file_progress
    from codec.workers import run_in_workers

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


@app.command(epilog="Example: lacuna info song.lac --json")
def info(
    source: Annotated[str, typer.Argument(metavar="IN.lac", help="'-' is stdin.")],
    as_json: AsJson = False,
) -> None:
    """Show what a .lac file holds, and its bit rate over time; needs no model."""
    from codec.container import LacReader
    from codec.files import read_bytes
    from codec.info import block_rates, file_facts, rate_lines

    data = read_bytes(source)
    reader = LacReader(data)
    facts, rates = file_facts(reader, len(data)), block_rates(reader)
    if as_json:
        print(json.dumps({**facts, **rates}))
        return
    tags = facts.pop("tags")
    _print_facts(facts, as_json=False)
    # Output that is piped may be in an encoding without blocks, on Windows for one.
    for line in rate_lines(rates, (sys.stdout.encoding or "").lower().startswith("utf")):
        print(line)
    print(f"{'tags':18} {'' if tags else 'none'}".rstrip())
    for key, text in tags.items():
        print(f"  {_printable(key)}: {_printable(text)}")


def _printable(text: str) -> str:
    """A file may come from anyone: no line breaks, and no commands to the terminal."""
    shown = "".join(c if c.isprintable() else "?" for c in text)
    encoding = sys.stdout.encoding or "utf-8"
    return shown.encode(encoding, "replace").decode(encoding)


@app.command(epilog="Example: lacuna verify song.lac")
def verify(
    source: Annotated[str, typer.Argument(metavar="IN.lac", help="'-' is stdin.")],
    as_json: AsJson = False,
) -> None:
    """Check a .lac file's structure and checksums; exits with 3 if it is damaged."""
    from codec.container import verify as verify_container
    from codec.files import read_bytes

    report = verify_container(read_bytes(source))
    facts = {
        "ok": report.ok,
        "blocks": report.blocks,
        "damaged_blocks": report.damaged,
        "complete": report.complete,
        "samples": report.samples,
    }
    _print_facts(facts, as_json)
    if not report.ok:
        raise typer.Exit(EXIT_DAMAGED)


def _print_facts(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(facts))
        return
    for key, value in facts.items():
        if isinstance(value, float):
            value = f"{value:.3f}"
        elif isinstance(value, dict):
            value = ", ".join(f"{k}: {v}" for k, v in value.items()) or "none"
        elif isinstance(value, list):
            value = ", ".join(f"number {item}" for item in value) or "none"
        elif value is None:
            value = "unknown: the end of the file is lost"
        print(f"{key.replace('_', ' '):18} {value}")


@app.command(epilog="Example: lacuna encode song.wav song.safetensors")
def encode(
    source: Annotated[str, typer.Argument(metavar="IN", help="Audio file; '-' is stdin.")],
    target: Annotated[str, typer.Argument(metavar="OUT.safetensors")],
    model: Model = DEFAULT_MODEL,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Write the continuous latents of an audio file: (coded_channels, latent_dim, frames)."""
    from codec.latent_files import encode_file
    from codec.progress import audio_progress

    refuse_own_input(source, target)
    _expect_suffix(target, ".safetensors")
    codec = _load(model, device, threads)
    with audio_progress("encoding", None) as progress:
        shape = encode_file(codec, source, target, force=force, progress=progress)
    say(f"{target}: latents {shape} at {codec.frame_rate:.2f} Hz, latent_id {codec.latent_id}")


@app.command(epilog="Example: lacuna decode song.safetensors song.wav")
def decode(
    source: Annotated[str, typer.Argument(metavar="IN.safetensors")],
    target: Annotated[str, typer.Argument(metavar="OUT.wav", help="Audio file; '-' is stdout.")],
    bits: Annotated[
        str | None, typer.Option(help="Sample format: 16, 24 or float.", show_default="16")
    ] = None,
    model: Model = DEFAULT_MODEL,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Turn latents, as `encode` writes them, back into audio."""
    from codec.latent_files import decode_file
    from codec.progress import audio_progress

    refuse_own_input(source, target)
    codec = _load(model, device, threads)
    with audio_progress("decoding", None) as progress:
        seconds = decode_file(codec, source, target, bits, force=force, progress=progress)
    say(f"{target}: {seconds:.2f} s")


@app.command(epilog="Example: lacuna models")
def models(as_json: AsJson = False) -> None:
    """List the models that ship with this package."""
    rows = codec_rows()
    if as_json:
        print(json.dumps(rows))
        return
    if not rows:
        print("no model is installed; pass a checkpoint's path with --model")
    for row in rows:
        low, high = row["kbps_per_channel"]
        print(
            f"{row['name']}: {row['sample_rate']} Hz, {row['compression']:g}x, "
            f"{row['latent_dim']} latents at {row['frame_rate']} Hz, "
            f"{low} to {high} kbps per channel, latent_id {row['latent_id']}\n  {row['path']}"
        )


def codec_rows() -> list[dict[str, Any]]:
    """What `models` tells of each shipped codec."""
    from codec.checkpoint import load as load_checkpoint
    from codec.models import shipped_models

    rows: list[dict[str, Any]] = []
    for name, path in shipped_models().items():
        loaded = load_checkpoint(path)
        config = loaded.config
        rows.append(
            {
                "name": name,
                "kind": "codec",
                "sample_rate": config.sample_rate,
                "compression": config.compression,
                "latent_dim": config.latent_dim,
                "frame_rate": round(config.frame_rate, 2),
                "kbps_per_channel": [
                    round(loaded.useful.low_kbps, 2),
                    round(loaded.useful.high_kbps, 2),
                ],
                "latent_id": loaded.latent_id,
                "path": str(path),
            }
        )
    return rows


@app.command(
    epilog="Example: lacuna evaluate recordings/ --kbps 2,3,6 --against opus,mp3 --out report/"
    "\n\nor: lacuna evaluate --generated made/ --reference valid/ --train train/ --out report/"
    "\n\nClasses are the subfolders of DIR; in 'speech' ViSQOL's speech mode, PESQ and ESTOI are "
    "measured. A rate is what a whole file takes, container included. --kbps are Lacuna's; the "
    "others have rates of their own: --against opus,mp3 is opus:12,opus:16,opus:24,mp3:48,mp3:64 "
    "(aac: 48 and 64). They need the programs opusenc and opusdec, lame, ffmpeg; ViSQOL, PESQ and "
    "ESTOI need pip install 'lacuna-codec\\[evaluate]'. What is missing is named and left out."
    "\n\nMany files, unattended, on one core: OMP_NUM_THREADS=1 nohup lacuna evaluate DIR "
    "--threads 1 --out report/ > evaluate.log 2>&1 &"
)
def evaluate(
    out: Annotated[Path, typer.Option(help="Folder for the report: .html, .md, .json and more.")],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Folder of audio to compress.", show_default=False),
    ] = None,
    kbps: Annotated[str, typer.Option(help="Rates to try, with commas between.")] = "3,6",
    against: Annotated[
        str | None,
        typer.Option(
            help="Other codecs, with commas between: opus, mp3, aac; opus:16 for a rate in kbps.",
            show_default="none",
        ),
    ] = None,
    perceptual_seconds: Annotated[
        float,
        typer.Option(
            min=0, help="Of each file's middle, for ViSQOL, PESQ and ESTOI; 0 leaves them out."
        ),
    ] = 10.0,
    generated: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Instead: generated audio to judge.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Real audio to judge it by.")
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="What it was trained on: looks for copies, learns the labels."
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="CSV with 'path' and 'class': labels.", show_default="folder names"),
    ] = None,
    model: ModelForRate = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Measure what compression loses, or how far generated audio is from real audio."""
    from codec.progress import file_progress

    if generated is not None or reference is not None:
        if generated is None or reference is None or folder is not None:
            raise LacunaError(
                "generated audio is judged with --generated DIR and --reference DIR, both and "
                "without another folder"
            )
        from codec.evaluation import generated as judging

        codec = _load(model or DEFAULT_MODEL, device, threads)
        with file_progress("judging") as progress:
            judgement = judging.judge_folders(
                codec, generated, reference, train=train, manifest=manifest, progress=progress
            )
        print(judging.write_report(judgement, codec, out))
        return
    if folder is None:
        raise LacunaError(
            "nothing to evaluate; name a folder of audio, or --generated and --reference"
        )
    if train is not None or manifest is not None:
        raise LacunaError("--train and --manifest go with --generated and --reference only")
    from codec.evaluation.evaluate import Lacuna
    from codec.evaluation.evaluate import evaluate as run_evaluation
    from codec.evaluation.peers import Coder, installed, parse_peers
    from codec.evaluation.perceptual import Perceptual
    from codec.evaluation.report import write_report
    from codec.folders import loader
    from codec.rate import RateTarget

    try:
        rates = [float(rate) for rate in kbps.split(",")]
        for rate in rates:
            RateTarget(rate)
    except ValueError:
        raise LacunaError(
            f"--kbps '{kbps}': expected numbers above 0 with commas between, as in 3,6"
        ) from None
    peers, notes = installed(parse_peers(against)) if against is not None else ([], [])
    use_device(device, threads)
    load = loader(device)
    embedder = load(model or DEFAULT_MODEL)
    perceptual = Perceptual(perceptual_seconds) if perceptual_seconds else None
    if perceptual is not None:
        notes += perceptual.notes
    for note in notes:
        say(f"lacuna: {note}")
    out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is told before the work
    coders: list[Coder] = [*(Lacuna(rate, load, model) for rate in rates), *peers]
    with file_progress("evaluating") as progress:
        evaluation = run_evaluation(folder, coders, embedder, perceptual, progress)
    print(write_report(evaluation, notes, out))


@app.command(epilog="Example: lacuna demo --out lacuna_demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("lacuna_demo"),
    kbps: Annotated[float | None, typer.Option(show_default="3 per channel")] = None,
    model: ModelForRate = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Compress and decompress a bundled recording and show what became of it."""
    from codec.demo import CHANNELS, run_demo
    from codec.models import models_for_rate
    from codec.rate import RateTarget

    wanted = model or models_for_rate(RateTarget(kbps).kbps_per_channel(CHANNELS))[0]
    run_demo(_load(wanted, device, threads), out, kbps)


@train_app.command("codec", epilog="Example: lacuna train codec small --data music/ --out run/")
def train_codec(
    config: Annotated[str, typer.Argument(help="A name in configs/, or a .toml file.")],
    data: Annotated[Path, typer.Option(help="Folder of audio to train on.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; an existing run goes on.")],
    valid: Annotated[
        Path | None,
        typer.Option(help="Folder to validate on.", show_default="every 20th file of --data"),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="CSV with a 'path' column and labels; selects files.")
    ] = None,
    init: Annotated[
        str | None, typer.Option(help="Start from this checkpoint's weights: fine-tuning.")
    ] = None,
    decoder_only: Annotated[
        bool,
        typer.Option(
            "--decoder-only",
            help="Train only the decoder of --init, on quantised latents: its files stay valid.",
        ),
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="End this call after so long; run it again to go on."),
    ] = None,
    schedule_minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Fit the learning-rate schedule to so much time in all calls."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Override the config.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Override the config.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Override the config.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Override a value: training.kl.target_kbps=16; may be repeated."
        ),
    ] = None,
    mixed_precision: Annotated[str | None, typer.Option(help="no, bf16 or fp16.")] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Read crops from disk, not from memory.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, or auto for what Accelerate finds.")] = "auto",
    threads: Threads = None,
) -> None:
    """Train a codec; the same through: accelerate launch -m codec train codec ..."""
    try:
        from codec.training.run import train_codec as run
    except ModuleNotFoundError as error:
        raise LacunaError(
            f"training needs the package '{error.name}': pip install 'lacuna-codec[train]'"
        ) from None

    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    run(
        config,
        data,
        out,
        valid=valid,
        manifest=manifest,
        init=init,
        decoder_only=decoder_only,
        minutes=minutes,
        schedule_minutes=schedule_minutes,
        resident=not stream,
        cpu=device == "cpu",
        settings=settings or (),
        overrides={
            "steps": steps,
            "batch_size": batch_size,
            "seed": seed,
            "mixed_precision": mixed_precision,
        },
    )


@train_app.command(
    "context",
    epilog="Example: lacuna train context run/best.safetensors --data music/ --out my.safetensors",
)
def train_context(
    source: Annotated[str, typer.Argument(metavar="CKPT", help="A trained codec.")],
    data: Annotated[Path, typer.Option(help="Folder of audio to fit it to.")],
    out: Annotated[Path, typer.Option(help="The checkpoint with its context model.")],
    updates: Annotated[int, typer.Option(min=1, help="Optimiser steps; 4000 take minutes.")] = 4000,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Give a trained codec a context model, which makes its files about half as large."""
    from codec.training.run_context import train_context as run

    use_device(device, threads)
    run(source, data, out, updates=updates, device=device, force=force)


if __name__ == "__main__":
    main()
