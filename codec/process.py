"""What a command does to its own process, before anything else and about threads."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from codec.errors import ConfigError

MOST_THREADS = max(64, os.cpu_count() or 1)
"""More are of no use on any machine like this one, and tens of thousands crash OpenMP."""

OBJECTS_UNTIL_CHECKED = 20_000
"""Python looks for garbage after so many new objects; its own default is 700."""


def prepare() -> None:
    """Streams, signals and waiting threads as every command needs them; call it before torch loads.

    - A standard stream that was closed is put in the way of files, which would take its number,
      and whatever is reported would end up in them.
    - SIGTERM, and SIGHUP when a terminal closes, end the program as Ctrl-C does: through the exits
      of all ``with`` blocks, which remove partial files.
    - Threads that wait sleep, unless the user has said otherwise: with other work on the cores,
      spinning ones keep those from working that they wait for.
    - Garbage is looked for less often: torch is 160,000 objects that stay, and looking through them
      again and again takes a tenth of a second of a start.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - it lives as long as the program
    _end_on("SIGTERM")
    _end_on("SIGHUP")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    gc.set_threshold(OBJECTS_UNTIL_CHECKED)


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def give_memory_back() -> None:
    """Return what was freed to the system: glibc keeps what lies between things that are in use,
    and in the course of a long recording that grows to some 100 MB.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def run(main: Callable[[], None]) -> None:
    """Call a program's ``main``, and end the process with the code that it exits with.

    To end as Python does takes torch apart, a quarter of a second in which 120 MB of its pages are
    loaded that nobody had needed. What asked to be called at the end is called as ever, and where
    other threads still work the process ends as ever.
    """
    try:
        main()
    except SystemExit as error:
        if isinstance(error.code, str) or threading.active_count() > 1:
            raise
        atexit._run_exitfuncs()
        with suppress(OSError, ValueError, AttributeError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(error.code or 0)


def _end_on(name: str) -> None:
    number = getattr(signal, name, None)  # Windows has no SIGHUP
    if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
        signal.signal(number, lambda *_: sys.exit(128 + number))


def end_unread() -> NoReturn:
    """End as programs do whose output nobody reads any more, such as before `| head`: quietly."""
    _drop_output()
    sys.exit(128 + getattr(signal, "SIGPIPE", 13))


def end_with(code: int) -> NoReturn:
    """End after an error that was told; what standard output still holds is written if it can."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):  # a full disk, which may be the error; a closed stream
        _drop_output()
    sys.exit(code)


def _drop_output() -> None:
    """Or the interpreter tries once more to write what is left, and complains."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def check_count(option: str, count: int) -> None:
    """Raises ConfigError for a number of threads or processes that no machine can use."""
    if not 1 <= count <= MOST_THREADS:
        raise ConfigError(f"{option} {count}, expected 1 to {MOST_THREADS}")


def set_threads(threads: int) -> None:
    """Let torch use so many CPU threads.

    Raises:
        ConfigError: none, or more than any machine can use.
    """
    check_count("--threads", threads)
    import torch

    torch.set_num_threads(threads)
