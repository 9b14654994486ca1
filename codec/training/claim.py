"""A run's folder belongs to one run: to one process at a time, and to one set of settings."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from filelock import FileLock, Timeout

from codec.errors import LacunaError
from codec.files import atomic_path
from codec.training.config import DECODER_PHASE

SETTINGS, LOCK, OWNER = "settings.json", "run.lock", "run.owner"

FREE = frozenset({"steps", "log_every", "validate_every", "checkpoint_every", "compile"})
"""Values of ``[training]`` that a run may be taken up with another of: they change how far it goes
and what is written on the way, and nothing that it learns."""


@contextmanager
def claimed(folder: Path, settings: dict[str, Any], accelerator: Accelerator) -> Iterator[None]:
    """Hold ``folder`` for a run with these settings, to be written as JSON, in all processes.

    Raises:
        LacunaError: the folder cannot be written, another process trains in it, or its run was
            started with other settings, all of which are named.
    """
    lock = FileLock(folder / LOCK)
    problem = None
    if accelerator.is_main_process:
        try:
            _claim(folder, lock, settings)
        except LacunaError as error:
            problem = str(error)
    if accelerator.num_processes > 1:
        problem = broadcast_object_list([problem])[0]
    try:
        if problem is not None:
            raise LacunaError(problem)
        yield
    finally:
        if lock.is_locked:
            (folder / OWNER).unlink(missing_ok=True)
            lock.release()


def _claim(folder: Path, lock: FileLock, settings: dict[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        (folder / OWNER).write_text(f"process {os.getpid()} on {socket.gethostname()}")
    except Timeout:
        raise LacunaError(
            f"another run trains in '{folder}': {_owner(folder)}; wait for it, stop it, or give "
            f"another --out folder"
        ) from None
    except OSError as error:
        raise LacunaError(
            f"--out '{folder}' cannot be written: {error.strerror or error}; give another folder"
        ) from None
    path = folder / SETTINGS
    if not path.exists():
        with atomic_path(path, force=True) as partial:
            partial.write_text(json.dumps(settings, indent=1))
        return
    try:
        before = json.loads(path.read_text())
    except ValueError as error:
        raise LacunaError(
            f"'{path}' is damaged ({error}); delete it, if you know that the run has these settings"
        ) from None
    now = json.loads(json.dumps(settings))  # lists for tuples, as in the file
    if different := _differences(before, now):
        raise LacunaError(
            f"the run in '{folder}' was started with other settings: {'; '.join(different)}. Give "
            f"the same to go on with it, or another --out folder"
        )


def _owner(folder: Path) -> str:
    try:
        return (folder / OWNER).read_text() or "it does not say which"
    except OSError:
        return "it does not say which"


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    """What differs from the recorded settings; one that was not recorded is not compared."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in before if f"{name}{key}" not in _FREE_NAMES]
        return [
            difference
            for key in keys
            for difference in _differences(before.get(key), now.get(key), f"{name}{key}.")
        ]
    return [] if before == now else [f"{name.removesuffix('.')} was {before}, now {now}"]


_FREE_NAMES = frozenset(f"{table}.{key}" for table in ("training", DECODER_PHASE) for key in FREE)
