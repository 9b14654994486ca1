"""Writing a file so that it is either complete or not there at all."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from codec.errors import LacunaError


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, force: bool) -> Iterator[Path]:
    """Yield a temporary path that takes the place of ``path`` once the body has succeeded.

    The temporary file lies in the same folder and has the same suffix. Any exception, Ctrl-C
    included, removes it and leaves what stood at ``path`` before untouched. A symbolic link is
    followed, so the link survives and the file behind it is replaced.

    Args:
        path: the file to write.
        force: replace ``path`` if it exists.

    Raises:
        LacunaError: before the body runs: ``path`` exists and ``force`` is off, ``path`` is a
            folder or a device, or its folder is missing or not writable.
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise LacunaError(f"{path} is a folder; give the name of a file to write inside it")
    if target.exists() and not target.is_file():
        # os.replace would put a plain file in the place of, say, /dev/null.
        raise LacunaError(f"{path} is not an ordinary file; give another name, or - for a stream")
    if target.exists() and not force:
        raise LacunaError(f"{path} already exists; use --force to replace it, or another name")
    if not target.parent.is_dir():
        raise LacunaError(f"{path}: there is no folder {target.parent}; create it first")

    temporary = target.with_name(f".lacuna-{secrets.token_hex(8)}{target.suffix}")
    try:
        # Made with open(), not mkstemp: the finished file gets the user's usual permissions.
        temporary.open("xb").close()
    except OSError as error:
        raise LacunaError(
            f"{path}: cannot write in the folder {target.parent} ({error.strerror}); "
            f"choose a folder you may write in"
        ) from None
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def output_file(path: str, *, force: bool) -> Iterator[BinaryIO]:
    """A binary file to write, complete or not there at all; "-" is standard output.

    Raises:
        LacunaError: as for ``atomic_path``.
    """
    if path == "-":
        with tempfile.TemporaryFile() as spool:
            yield spool
            spool.seek(0)
            shutil.copyfileobj(spool, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        return
    with atomic_path(path, force=force) as partial, partial.open("wb") as file:
        yield file


def read_bytes(path: str) -> bytes:
    """The content of a file; "-" is standard input.

    Raises:
        LacunaError: there is no such file, or it is a folder.
    """
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise LacunaError(f"{path} not found; check the path") from None
    except OSError as error:
        raise LacunaError(f"{path} cannot be read: {error.strerror}") from None
