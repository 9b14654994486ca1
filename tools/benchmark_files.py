"""Speed and memory of compressing and decompressing files, as a user does it: whole processes.

The sound is the bundled recording over and over, in stereo, at 12 kbps and with one thread. Times
are processor time, which other work on the machine changes little, and hold all that a command
does: starting Python and torch, loading the model, reading and writing.
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
    "stereo file",
    "compress (s)",
    "(x real time)",
    "decompress (s)",
    "(x real time)",
    "peak RSS, compress (MiB)",
    "peak RSS, decompress (MiB)",
)

READING_FILES = f"""\
`lacuna compress` and `lacuna decompress` of the bundled recording, repeated, at {KBPS} kbps with
`--threads 1`: the least processor time of the runs, starting Python and torch included."""


@dataclass(frozen=True)
class Run:
    """One process."""

    seconds: float
    """Processor time."""
    peak_rss: float
    """MiB"""


def measure_files(repeats: int) -> list[list[str]]:
    """A line for each of LENGTHS, in the order of FILES_HEADER."""
    with tempfile.TemporaryDirectory() as folder:
        return [_line(Path(folder), seconds, repeats) for seconds in LENGTHS]


def _line(folder: Path, seconds: int, repeats: int) -> list[str]:
    wav, lac, again = (folder / f"{seconds}{end}" for end in (".wav", ".lac", "_again.wav"))
    subprocess.run([sys.executable, __file__, str(wav), str(seconds)], check=True)
    one_thread = ["--threads", "1", "--force"]
    compress = _best(["compress", str(wav), str(lac), "--kbps", str(KBPS), *one_thread], repeats)
    decompress = _best(["decompress", str(lac), str(again), *one_thread], repeats)
    return [
        f"{seconds} s",
        f"{compress.seconds:.1f}",
        f"{seconds / compress.seconds:.1f}",
        f"{decompress.seconds:.1f}",
        f"{seconds / decompress.seconds:.1f}",
        f"{compress.peak_rss:.0f}",
        f"{decompress.peak_rss:.0f}",
    ]


def _best(command: list[str], repeats: int) -> Run:
    """The fastest run of a command of ``lacuna``, and the largest memory of them all."""
    runs = [_run([sys.executable, "-m", "diffusion", *command]) for _ in range(repeats)]
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


def write_sound(path: str, seconds: int) -> None:
    """The bundled recording over and over; its right channel is half a second late."""
    import numpy as np

    import codec
    from codec.demo import CLIP

    clip, rate = codec.read(CLIP)
    mono = np.resize(np.asarray(clip).mean(axis=0), rate * seconds)
    codec.write(path, np.stack([mono, np.roll(mono, rate // 2)]), rate)


if __name__ == "__main__":  # in a process of its own: what starts the others has to stay small
    write_sound(sys.argv[1], int(sys.argv[2]))
