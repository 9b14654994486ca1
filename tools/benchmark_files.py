"""Speed and memory of compressing and decompressing files, as a user does it: whole processes.

The sound is the bundled recording over and over, in stereo, at 12 kbps and with one thread; beside
it EnCodec 48 kHz on the same sound. Times are processor time, which other work on the machine
changes little, and hold all that a command does: starting Python and torch, loading the model,
reading and writing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

KBPS = 12
LENGTHS = (1, 60, 900)
"""Seconds: what a start takes, a song's minute, and whether memory grows."""

FILES_HEADER = (
    "model, stereo file",
    "compress (s)",
    "(x real time)",
    "decompress (s)",
    "(x real time)",
    "peak RSS, compress (MiB)",
    "peak RSS, decompress (MiB)",
)

READING_FILES = f"""\
`lacuna compress` and `lacuna decompress` of the bundled recording, repeated, at {KBPS} kbps with
`--threads 1`: the least processor time of the runs, starting Python and torch included. EnCodec
does the same at 48 kHz (tools/benchmark_encodec.py), with one thread, in one run."""


@dataclass(frozen=True)
class Run:
    """One process."""

    seconds: float
    """Processor time."""
    peak_rss: float
    """MiB"""


def measure_files(repeats: int, encodec: bool) -> list[list[str]]:
    """A line for each of LENGTHS, in the order of FILES_HEADER; ``encodec`` is there as well."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [_lacuna(folder, seconds, repeats) for seconds in LENGTHS]
        return lines + [_encodec(folder, seconds) for seconds in LENGTHS if encodec]


def _lacuna(folder: Path, seconds: int, repeats: int) -> list[str]:
    wav, lac, again = (str(folder / f"{seconds}{end}") for end in (".wav", ".lac", "_again.wav"))
    _sound(wav, seconds, 44_100)
    lacuna, one_thread = [sys.executable, "-m", "diffusion"], ["--threads", "1", "--force"]
    compress = [*lacuna, "compress", wav, lac, "--kbps", str(KBPS), *one_thread]
    decompress = [*lacuna, "decompress", lac, again, *one_thread]
    return _line("Lacuna", seconds, _best(compress, repeats), _best(decompress, repeats))


def _encodec(folder: Path, seconds: int) -> list[str]:
    wav, ecdc, again = (str(folder / f"{seconds}_48{end}") for end in (".wav", ".ecdc", "_.wav"))
    _sound(wav, seconds, 48_000)
    script = [sys.executable, str(Path(__file__).with_name("benchmark_encodec.py"))]
    compress = _run([*script, "compress", wav, ecdc])
    return _line("EnCodec 48 kHz", seconds, compress, _run([*script, "decompress", ecdc, again]))


def _line(model: str, seconds: int, compress: Run, decompress: Run) -> list[str]:
    return [
        f"{model}, {seconds} s",
        f"{compress.seconds:.1f}",
        f"{seconds / compress.seconds:.1f}",
        f"{decompress.seconds:.1f}",
        f"{seconds / decompress.seconds:.1f}",
        f"{compress.peak_rss:.0f}",
        f"{decompress.peak_rss:.0f}",
    ]


def _best(command: list[str], repeats: int) -> Run:
    """The fastest run of a command, and the largest memory of them all."""
    runs = [_run(command) for _ in range(repeats)]
    return Run(min(run.seconds for run in runs), max(run.peak_rss for run in runs))


def _run(command: list[str]) -> Run:
    """Raises RuntimeError: it failed; the message has the last line it wrote."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    with child.stderr as stderr:
        said = stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        lines = said.strip().splitlines() or [f"exit status {child.returncode}"]
        raise RuntimeError(lines[-1])
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    return Run(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 2**20)


def _sound(path: str, seconds: int, rate: int) -> None:
    """In a process of its own: what starts the others has to stay small."""
    subprocess.run([sys.executable, __file__, path, str(seconds), str(rate)], check=True)


def write_sound(path: str, seconds: int, rate: int) -> None:
    """The bundled recording over and over; its right channel is half a second late."""
    import numpy as np

    import codec
    from codec.demo import CLIP

    clip, clip_rate = codec.read(CLIP)
    mono = codec.resample(np.asarray(clip).mean(axis=0, keepdims=True), clip_rate, rate)[0]
    mono = np.resize(mono, rate * seconds)
    codec.write(path, np.stack([mono, np.roll(mono, rate // 2)]), rate)


if __name__ == "__main__":
    write_sound(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
