"""The command ``lacuna``. Heavy imports happen inside the commands, so that --help is quick."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codec.errors import LacunaError
from codec.models import DEFAULT_MODEL

if TYPE_CHECKING:
    from codec.codec import Codec

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
Device = Annotated[str, typer.Option(help="Where the network runs: cpu, cuda, cuda:1, mps.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads.", show_default="all cores")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite an existing output file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def main() -> None:
    """Entry point: a user's mistake is one line on standard error and an exit code."""
    # As Ctrl-C does: end through the exits of all `with` blocks, which remove partial files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with _shown_warnings():
            app()
    except LacunaError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        name = f"'{error.filename}': " if error.filename else ""
        _fail(f"{name}{error.strerror or error}", 1)


def _fail(message: str, code: int) -> None:
    print(f"lacuna: error: {message}", file=sys.stderr)
    sys.exit(code)


def _say(message: str) -> None:
    """Reports go to standard error: standard output may be the audio."""
    print(message, file=sys.stderr)


@contextmanager
def _shown_warnings() -> Iterator[None]:
    """Warnings as plain lines, without the place in the code that they come from."""
    previous = warnings.showwarning
    warnings.showwarning = lambda message, *args, **kwargs: _say(f"lacuna: warning: {message}")
    try:
        yield
    finally:
        warnings.showwarning = previous


def _use_device(device: str, threads: int | None) -> None:
    """Raises LacunaError for a device that torch does not know or that is not there."""
    import torch

    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise LacunaError(f"cannot use device '{device}': {reason}; try --device cpu") from None
    if threads is not None:
        torch.set_num_threads(threads)


def _refuse_own_input(source: str, target: str) -> None:
    """Not even --force may replace the file that is being read."""
    if os.path.exists(source) and os.path.exists(target) and os.path.samefile(source, target):
        raise LacunaError(f"'{target}' is the input; give the output another name")


def _expect_suffix(target: str, suffix: str) -> None:
    """Swapped or forgotten arguments must not give, say, a .wav that is none."""
    if Path(target).suffix.lower() != suffix:
        raise LacunaError(f"'{target}': expected an output name that ends in {suffix}")


def _load(model: str, device: str, threads: int | None) -> Codec:
    from codec.codec import load

    _use_device(device, threads)
    return load(model, device)


@app.command(epilog="Example: lacuna compress song.wav song.lac --kbps 6")
def compress(
    source: Annotated[str, typer.Argument(metavar="IN", help="Audio file; '-' is stdin.")],
    target: Annotated[str, typer.Argument(metavar="OUT.lac", help="'-' is stdout.")],
    kbps: Annotated[
        float | None,
        typer.Option(help="Ceiling for the file's bit rate.", show_default="3 per channel"),
    ] = None,
    model: Model = DEFAULT_MODEL,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Compress an audio file into a small .lac file."""
    from codec.audio import AudioReader
    from codec.compression import CHUNK, compress_stream
    from codec.files import output_file
    from codec.progress import audio_progress

    _refuse_own_input(source, target)
    if target != "-":
        _expect_suffix(target, ".lac")
    codec = _load(model, device, threads)
    with (
        AudioReader(source) as reader,
        output_file(target, force=force) as output,
        audio_progress("compressing", reader.info.seconds) as progress,
    ):
        report = compress_stream(
            codec,
            reader.blocks(CHUNK),
            reader.info.sample_rate,
            reader.info.channels,
            output,
            kbps,
            reader.info.tags,
            progress,
        )
    original = report.samples * reader.info.channels * 2
    _say(
        f"{target}: {report.bytes:,} bytes for {report.seconds:.2f} s, {report.kbps:.2f} kbps, "
        f"{original / report.bytes:.0f} times smaller than 16-bit PCM"
    )
    if report.at_finest:
        _say(f"this is the finest useful setting of '{codec.config.name}' for this audio")


@app.command(epilog="Example: lacuna decompress song.lac song.wav --start 12.5 --duration 3")
def decompress(
    source: Annotated[str, typer.Argument(metavar="IN.lac", help="'-' is stdin.")],
    target: Annotated[str, typer.Argument(metavar="OUT.wav", help="Audio file; '-' is stdout.")],
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
) -> None:
    """Decompress a .lac file into an audio file, with the sample rate and length it had."""
    from codec.audio import AudioWriter
    from codec.compression import decompress_stream
    from codec.container import LacReader
    from codec.files import read_bytes
    from codec.progress import audio_progress

    _refuse_own_input(source, target)
    reader = LacReader(read_bytes(source))
    header = reader.header
    codec = _load(model or _model_of(header.model), device, threads)
    total = reader.samples / header.sample_rate if reader.samples is not None else None
    with (
        AudioWriter(target, header.sample_rate, header.channels, bits, force=force) as writer,
        audio_progress("decompressing", duration if duration is not None else total) as progress,
    ):
        report = decompress_stream(codec, reader, writer.write, start, duration, progress)
    seconds = report.samples / header.sample_rate
    _say(f"{target}: {seconds:.2f} s, {header.sample_rate} Hz, {header.channels} channels")
    if writer.clipped:
        _say(f"{writer.clipped} samples exceeded full scale and were clipped; --bits float keeps")
    for problem in report.problems():
        _say(f"lacuna: warning: {problem}")
    if report.problems():
        raise typer.Exit(EXIT_DAMAGED)


def _model_of(name: str) -> str:
    """The shipped model a file names, or the default one, whose latent_id is then compared."""
    from codec.models import shipped_models

    return name if name in shipped_models() else DEFAULT_MODEL


@app.command(epilog="Example: lacuna info song.lac --json")
def info(
    source: Annotated[str, typer.Argument(metavar="IN.lac", help="'-' is stdin.")],
    as_json: AsJson = False,
) -> None:
    """Show what a .lac file holds; needs no model."""
    from codec.container import LacReader
    from codec.files import read_bytes
    from codec.quantise import step_multiple

    data = read_bytes(source)
    reader = LacReader(data)
    header = reader.header
    seconds = reader.samples / header.sample_rate if reader.samples is not None else None
    facts: dict[str, Any] = {
        "seconds": seconds,
        "samples": reader.samples,
        "sample_rate": header.sample_rate,
        "channels": header.channels,
        "bytes": len(data),
        "kbps": len(data) * 8 / seconds / 1000 if seconds else None,
        "model": header.model,
        "latent_id": header.latent_id.hex(),
        "model_sample_rate": header.model_sample_rate,
        "hop_length": header.hop_length,
        "latent_dim": header.latent_dim,
        "coded_channels": header.coded_channels,
        "step_index": header.step_index,
        "step_in_sigmas": step_multiple(header.step_index),
        "blocks": reader.block_count,
        "damaged_blocks": reader.damaged,
        "complete": reader.complete,
        "tags": header.tags,
    }
    _print_facts(facts, as_json)


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
            value = ", ".join(map(str, value)) or "none"
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

    _refuse_own_input(source, target)
    _expect_suffix(target, ".safetensors")
    codec = _load(model, device, threads)
    with audio_progress("encoding", None) as progress:
        shape = encode_file(codec, source, target, force=force, progress=progress)
    _say(f"{target}: latents {shape} at {codec.frame_rate:.2f} Hz, latent_id {codec.latent_id}")


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

    _refuse_own_input(source, target)
    codec = _load(model, device, threads)
    with audio_progress("decoding", None) as progress:
        seconds = decode_file(codec, source, target, bits, force=force, progress=progress)
    _say(f"{target}: {seconds:.2f} s")


@app.command(epilog="Example: lacuna models")
def models(as_json: AsJson = False) -> None:
    """List the models that ship with this package."""
    from codec.checkpoint import load as load_checkpoint
    from codec.models import shipped_models

    rows: list[dict[str, Any]] = []
    for name, path in shipped_models().items():
        loaded = load_checkpoint(path)
        config = loaded.config
        rows.append(
            {
                "name": name,
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


@app.command(epilog="Example: lacuna evaluate recordings/ --kbps 2,3,6 --out report/")
def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of audio files.")],
    out: Annotated[Path, typer.Option(help="Folder for evaluation.md, .csv and .json.")],
    kbps: Annotated[str, typer.Option(help="Rates to try, with commas between.")] = "3,6",
    model: Model = DEFAULT_MODEL,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Compress and decompress a folder of audio and measure what is lost."""
    from codec.evaluation.evaluate import evaluate as run_evaluation
    from codec.evaluation.evaluate import write_report
    from codec.progress import file_progress

    try:
        rates = [float(rate) for rate in kbps.split(",")]
    except ValueError:
        raise LacunaError(
            f"--kbps '{kbps}': expected numbers with commas between, as in 3,6"
        ) from None
    codec = _load(model, device, threads)
    with file_progress("evaluating") as progress:
        rows, skipped = run_evaluation(codec, folder, rates, progress)
    print(write_report(rows, skipped, codec, out))


@app.command(epilog="Example: lacuna demo --out lacuna_demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("lacuna_demo"),
    kbps: Annotated[float | None, typer.Option(show_default="3 per channel")] = None,
    model: Model = DEFAULT_MODEL,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Compress and decompress a bundled recording and show what became of it."""
    from codec.demo import run_demo

    run_demo(_load(model, device, threads), out, kbps)


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
        minutes=minutes,
        schedule_minutes=schedule_minutes,
        resident=not stream,
        cpu=device == "cpu",
        overrides={
            "steps": steps,
            "batch_size": batch_size,
            "seed": seed,
            "mixed_precision": mixed_precision,
        },
    )


if __name__ == "__main__":
    main()
