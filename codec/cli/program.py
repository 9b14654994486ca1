"""The command ``lacuna``. Heavy imports happen inside the commands, so that --help is quick."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer

# Importing them adds their commands.
from codec.cli import demo, evaluate, files, inspect, latents, models, train  # noqa: F401
from codec.cli.app import app
from codec.cli.options import say
from codec.errors import LacunaError


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


@contextmanager
def _shown_warnings() -> Iterator[None]:
    """Warnings as plain lines, without the place in the code that they come from."""
    previous = warnings.showwarning
    warnings.showwarning = lambda message, *args, **kwargs: say(f"lacuna: warning: {message}")
    try:
        yield
    finally:
        warnings.showwarning = previous
