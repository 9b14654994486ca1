"""Signals, files and an in-process ``lacuna`` for the tests of the codec's public face."""

from __future__ import annotations

import io
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from codec.cli.program import main
from codec.entropy.quantise import symbol_limits

BLOCK = 256 * 128
"""Samples in a block of the tiny codec: 2.048 s at 16 kHz."""


def music(seconds: float, sample_rate: int, channels: int, seed: int = 0) -> np.ndarray:
    """A chord with noise, float32 (channels, time), other in each channel."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    tones = [np.sin(2 * np.pi * f * t) for f in (220, 277.2, 329.6)]
    mix = rng.uniform(0.05, 0.2, (channels, 3)) @ np.array(tones)
    return (mix + 0.01 * rng.standard_normal(mix.shape)).astype(np.float32)


def cell_bounds(symbols: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bound of each symbol's cell; those of the outermost symbols are open."""
    limit = symbol_limits(step)[:, None]
    lower, upper = (symbols - 0.5) * step[:, None], (symbols + 0.5) * step[:, None]
    return np.where(symbols <= -limit, -np.inf, lower), np.where(symbols >= limit, np.inf, upper)


def write_wav(
    path: Path, seconds: float = 1.0, sample_rate: int = 16000, channels: int = 1
) -> Path:
    """A recording of ``music`` as 16-bit audio in the format of the suffix."""
    soundfile.write(path, music(seconds, sample_rate, channels).T, sample_rate)
    return path


def default_signals() -> None:
    """For ``Popen(preexec_fn=)``: a process inherits that signals are ignored, as in a script's
    ``... &``; a test of what a signal does must not depend on who runs it.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    stdout: bytes
    stderr: str


class Lacuna:
    """Runs ``lacuna`` as the console command does, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture) -> None:
        self._monkeypatch, self._capture = monkeypatch, capture

    def __call__(self, *arguments: object, stdin: bytes = b"") -> Result:
        self._monkeypatch.setattr(sys, "argv", ["lacuna", *map(str, arguments)])
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self._capture.readouterr()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            main()
            code: object = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        out, err = self._capture.readouterr()
        assert isinstance(code, int), f"exit code {code!r}"
        return Result(code, out, err.decode())

    def fails(self, *arguments: object, code: int = 1, stdin: bytes = b"") -> str:
        """Runs a command that must fail with one line on standard error; returns the line."""
        result = self(*arguments, stdin=stdin)
        assert result.code == code, result
        lines = result.stderr.strip().splitlines()
        errors = [line for line in lines if not line.startswith("lacuna: warning: ")]
        assert len(errors) == 1, result.stderr
        assert errors[0].startswith("lacuna: error: "), result.stderr
        assert "Traceback" not in result.stderr
        return errors[0]
