"""Speed and memory of Lacuna and of other neural codecs on this machine's CPU, in one run.

Every model gets its own process, so that its peak memory is its own, the same number of threads
and a clip of the same duration. Encoding and decoding are timed apart, in float32 and inference
mode, and every output is checked. The peers' packages are in tools/benchmark_requirements.txt;
their weights are random, which needs no download and leaves the amount of work unchanged.
"""

from __future__ import annotations

import datetime
import importlib
import importlib.metadata
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts
from benchmark_files import FILES_HEADER, READING_FILES, measure_files
from benchmark_models import ROWS, Model, Row
from cyclopts import Parameter
from cyclopts.validators import Number
from rich import box
from rich.console import Console
from rich.table import Table

# torch is imported by the workers only: Linux hands a parent's peak memory on to its children's
# ru_maxrss, so the process that starts them has to stay small.
if TYPE_CHECKING:
    from torch import Tensor

MIB = 2**20


# --- in the worker process ------------------------------------------------------------------


@dataclass(frozen=True)
class Measurement:
    """Sizes in numbers or MiB, times in seconds for the whole clip."""

    sample_rate: int
    parameters: int
    encode_seconds: float
    decode_seconds: float
    import_rss: float
    peak_rss: float


def peak_rss() -> float:
    """The largest resident memory this process has had so far (MiB)."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def prepare(row: Row, seconds: float, threads: int) -> tuple[Model, Tensor]:
    """Build the model and a noise clip (1, channels, time) at its sample rate."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = row.build()
    model.module.eval()
    return model, 0.1 * torch.randn(1, row.channels, round(seconds * model.sample_rate))


def check(output: Tensor, clip: Tensor) -> None:
    """Raise ValueError unless ``output`` is a waveform of the clip's shape that is not constant."""
    if output.shape != clip.shape:
        raise ValueError(f"expected an output of {tuple(clip.shape)}, got {tuple(output.shape)}")
    if not output.isfinite().all():
        raise ValueError("expected a finite output, got NaN or infinity")
    if not (output.std(dim=-1) > 0).all():
        raise ValueError("expected a waveform, got a constant output: the decoder did no work")


def measure(row: Row, seconds: float, threads: int, repeats: int) -> Measurement:
    """Median times after one warm-up, and memory, of one model in this process."""
    import torch

    importlib.import_module(row.module)
    import_rss = peak_rss()
    model, clip = prepare(row, seconds, threads)
    length = clip.shape[-1]

    def timed(function: Callable[[], Any]) -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    with torch.inference_mode():
        code = model.encode(clip)
        check(model.decode(code, length), clip)
        encode = median(timed(lambda: model.encode(clip)) for _ in range(repeats))
        decode = median(timed(lambda: model.decode(code, length)) for _ in range(repeats))
    parameters = sum(parameter.numel() for parameter in model.module.parameters())
    return Measurement(model.sample_rate, parameters, encode, decode, import_rss, peak_rss())


# --- in the process that starts the workers --------------------------------------------------


def run_worker(options: Sequence[str]) -> Any:
    """What ``benchmark.py OPTIONS`` prints as JSON on its last line.

    Raises:
        RuntimeError: it failed; the message holds the signal or the last line it wrote.
    """
    command = [sys.executable, str(Path(__file__).resolve()), *options]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode < 0:
        raise RuntimeError(f"killed by signal {-result.returncode}; out of memory?")
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        raise RuntimeError(lines[-1])
    return json.loads(result.stdout.splitlines()[-1])


def select(only: str) -> dict[str, Row]:
    """The rows named in a comma-separated list, in the order of the table."""
    names = {name.strip() for name in only.split(",")} if only else set(ROWS)
    if unknown := sorted(names - set(ROWS)):
        sys.exit(f"no row {', '.join(unknown)}; the rows are {', '.join(ROWS)}")
    return {name: row for name, row in ROWS.items() if name in names}


def installed_version(distribution: str) -> str | None:
    """The version of a distribution, None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_name() -> str:
    """The CPU as Linux names it, elsewhere what Python knows of it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def times_real_time(duration: float, elapsed: float) -> str:
    """Speed with three digits or so: 0.42, 4.17, 41.7, 417."""
    ratio = duration / elapsed
    return f"{ratio:.{2 if ratio < 10 else 1 if ratio < 100 else 0}f}"


HEADER = (
    "model",
    "audio",
    "parameters (M)",
    "encode (x real time)",
    "decode (x real time)",
    "peak RSS (MiB)",
    "imports (MiB)",
)


def cells(row: Row, result: Measurement, seconds: float) -> list[str]:
    """One line of the table, in the order of ``HEADER``."""
    channels = "mono" if row.channels == 1 else "stereo"
    return [
        row.title,
        f"{result.sample_rate / 1000:g} kHz {channels}",
        f"{result.parameters / 1e6:.1f}",
        times_real_time(seconds, result.encode_seconds),
        times_real_time(seconds, result.decode_seconds),
        f"{result.peak_rss:.0f}",
        f"{result.import_rss:.0f}",
    ]


def show(console: Console, title: str, header: Sequence[str], lines: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for index, name in enumerate(header):
        longest_word = max(len(word) for word in name.split())
        table.add_column(name, justify="right" if index else "left", min_width=longest_word)
    for line in lines:
        table.add_row(*line)
    console.print(table)


def markdown_table(header: Sequence[str], lines: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, rule, *lines])


READING = """\
"x real time" is seconds of audio per second of computing: above 1 keeps up with a live signal.
A second of stereo is one second, so a model for mono needs twice its time for stereo.
Times run from a waveform to latents (Lacuna, Oobleck) or code indices (the others), and back;
nobody's entropy coder or files are in them.
Lacuna runs its shipped weights. The others have random weights, so this page says nothing about
how they sound; each runs as its package builds it, in float32.
Peak RSS includes Python, torch and whatever the package imports. The last column is that share:
the peak before the model was built."""


def report(
    facts: Sequence[str], lines: list[list[str]], skipped: list[str], files: list[list[str]]
) -> str:
    """The page as markdown."""
    command = shlex.join(["python", "tools/benchmark.py", *sys.argv[1:]]).replace(
        " --", " \\\n    --"
    )
    parts = [
        "# Speed on a CPU",
        "Written by `tools/benchmark.py`; run it again rather than edit this page.",
        "\n".join(f"- {fact}" for fact in [*facts, f"Date: {datetime.date.today()}"]),
        f"```\n{command}\n```",
        "## Tensors",
        markdown_table(HEADER, lines),
    ]
    if skipped:
        parts.append("Not measured, because not installed: " + ", ".join(skipped) + ".")
    parts.append(READING)
    if files:
        parts += ["## Files", markdown_table(FILES_HEADER, files), READING_FILES]
    return "\n\n".join(parts) + "\n"


def main(
    *,
    only: Annotated[
        str, Parameter(help=f"Rows to run, separated by commas: {', '.join(ROWS)}; default all.")
    ] = "",
    seconds: Annotated[
        float, Parameter(validator=Number(gte=0.5), help="Duration of the clip.")
    ] = 10.0,
    threads: Annotated[
        int, Parameter(validator=Number(gte=1), help="CPU threads of each model.")
    ] = 2,
    repeats: Annotated[
        int,
        Parameter(validator=Number(gte=1), help="Timed runs after one warm-up; the median counts."),
    ] = 5,
    files: Annotated[
        bool, Parameter(help="Also compress and decompress files, up to 15 minutes long.")
    ] = True,
    out: Annotated[
        Path | None, Parameter(help="Markdown file to write, such as docs/BENCHMARK.md.")
    ] = None,
    worker: Annotated[str, Parameter(show=False)] = "",
) -> None:
    """Time Lacuna and other neural codecs on this CPU.

    Needs the packages of tools/benchmark_requirements.txt; a row whose
    package is missing is named and skipped. Example:

    python tools/benchmark.py --out docs/BENCHMARK.md
    """
    if worker:
        row = ROWS[worker]
        print(json.dumps(asdict(measure(row, seconds, threads, repeats))))
        return

    selected = select(only)
    if out is not None and not out.parent.is_dir():
        sys.exit(f"no folder {out.parent} to write {out.name} to; create it first")
    versions = {row.distribution: installed_version(row.distribution) for row in selected.values()}
    present = {name: row for name, row in selected.items() if versions[row.distribution]}
    skipped = [
        f"{row.title} ({row.distribution})" for name, row in selected.items() if name not in present
    ]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    facts = [
        f"Machine: {cpu_name()}, {os.cpu_count()} cores, "
        f"load average before the run {os.getloadavg()[0]:.1f}",
        f"Settings: {seconds:g} s of noise, {threads} threads, float32, "
        f"median of {repeats} after a warm-up",
        f"Software: Python {platform.python_version()}, torch {installed_version('torch')}, "
        f"{packages}",
    ]
    console = Console()
    console.print(*facts, sep="\n", highlight=False)
    for name in skipped:
        console.print(f"skipped {name}: not installed; see tools/benchmark_requirements.txt")

    common = ["--seconds", str(seconds), "--threads", str(threads), "--repeats", str(repeats)]
    lines: list[list[str]] = []
    of_files: list[list[str]] = []
    failures: list[str] = []
    for name, row in present.items():
        with console.status(f"measuring {row.title}"):
            try:
                result = Measurement(**run_worker(["--worker", name, *common]))
            except RuntimeError as error:
                failures.append(f"{name}: {error}")
            else:
                lines.append(cells(row, result, seconds))
    if files:
        with console.status("compressing and decompressing files"):
            try:
                of_files = measure_files(repeats, "encodec-48k" in present)
            except (RuntimeError, subprocess.CalledProcessError) as error:
                failures.append(f"files: {error}")

    show(console, "Tensors", HEADER, lines)
    if of_files:
        show(console, "Files", FILES_HEADER, of_files)
    for failure in failures:
        console.print(f"failed: {failure}", style="red", markup=False)
    if failures:  # a page with rows missing for no stated reason would look complete
        sys.exit(1)
    if out is not None:
        out.write_text(report(facts, lines, skipped, of_files), encoding="utf-8")
        console.print(f"wrote {out}")


if __name__ == "__main__":
    cyclopts.run(main)
