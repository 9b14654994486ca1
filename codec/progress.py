"""Progress bars on standard error, shown only if a person is watching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from codec.text import printable

_NAME = TextColumn("{task.description}", markup=False)  # file names may hold [brackets]


@contextmanager
def audio_progress(what: str, seconds: float | None) -> Iterator[Callable[[float], None]]:
    """Counts seconds of audio; yields a function to call with the seconds done so far."""
    speed = TextColumn("{task.completed:.0f} s of audio, {task.fields[speed]:.0f}x real time")
    with _bar(_NAME, BarColumn(), speed, TimeRemainingColumn()) as bar:
        job = bar.add_task(what, total=seconds, speed=0.0)

        def update(done: float) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            bar.update(job, completed=done, speed=done / elapsed if elapsed else 0.0)

        yield update


@contextmanager
def file_progress(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """Counts files; yields a function to call with a file's name, how many are done, and all."""
    with _bar(TextColumn(what), BarColumn(), MofNCompleteColumn(), _NAME) as bar:
        job = bar.add_task("", total=None)
        yield lambda name, done, total: bar.update(
            job, description=printable(name), completed=done, total=total
        )


@contextmanager
def working(what: str) -> Iterator[None]:
    """Shows that something goes on where nothing can be counted."""
    console = Console(stderr=True)
    with console.status(what) if console.is_terminal else nullcontext():
        yield


@contextmanager
def _bar(
    *columns: TextColumn | BarColumn | MofNCompleteColumn | TimeRemainingColumn,
) -> Iterator[Progress]:
    console = Console(stderr=True)
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    # Before rich 14.3 even a bar that is disabled ends with an empty line, so it is not begun.
    with nullcontext() if bar.disable else bar:
        yield bar
