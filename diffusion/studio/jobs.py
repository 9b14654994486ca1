"""Long work: its progress, its end at a visitor's wish, and its errors as sentences."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape

import gradio as gr

from codec.errors import LacunaError
from diffusion.studio.sentences import sentence

QUEUE = "work"
"""All long work waits in one queue, and one of it runs at a time."""


class Stopped(Exception):  # noqa: N818 - it is no error
    """The visitor wants no more of it."""


class Watch:
    """What long work calls as it goes on: ``watch(what, done, total)``."""

    def __init__(
        self, show: Callable[[float, str], object], stop: threading.Event | None = None
    ) -> None:
        self._show, self._stop = show, stop or threading.Event()

    def __call__(self, what: str, done: float, total: float | None) -> None:
        """Raises Stopped if the visitor wishes so."""
        if self._stop.is_set():
            raise Stopped
        self._show(min(1.0, done / total) if total else 0.0, what)


class Jobs:
    """The work of all visitors."""

    def __init__(self) -> None:
        self._one = threading.Lock()
        self._stops: dict[str, threading.Event] = {}

    @contextmanager
    def job(self, visitor: str, progress: gr.Progress) -> Iterator[Watch]:
        """Yields what the work calls as it goes on.

        Raises:
            gr.Error: whatever goes wrong, in a sentence.
        """
        stop = threading.Event()
        with self._one, self._sentences():
            self._stops[visitor] = stop
            try:
                yield Watch(lambda share, what: progress(share, desc=what), stop)
            finally:
                self._stops.pop(visitor, None)

    def stop(self, visitor: str) -> None:
        """End what runs for this visitor, at its next step."""
        stop = self._stops.get(visitor)
        if stop is not None:
            stop.set()

    def stop_all(self) -> None:
        for stop in list(self._stops.values()):
            stop.set()

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except Stopped:
            raise gr.Error("Stopped, as you wished.", title="", print_exception=False) from None
        except Exception as error:
            if isinstance(error, gr.Error):  # which is a sentence already
                raise
            if not isinstance(error, LacunaError | OSError):
                traceback.print_exc()  # a fault of ours: whoever mends it wants to know where
            raise gr.Error(escape(sentence(error)), print_exception=False) from None
