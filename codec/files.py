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
from codec.text import printable


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
            folder or a device, or its folder is missing or not writable. After it: ``path`` has
            come to exist meanwhile and ``force`` is off.
    """
    target, name = Path(path).resolve(), printable(path)
    if target.is_dir():
        raise LacunaError(f"{name} is a folder; give the name of a file to write inside it")
    if target.exists() and not target.is_file():
        # os.replace would put a plain file in the place of, say, /dev/null.
        raise LacunaError(f"{name} is not an ordinary file; give another name, or - for a stream")
    if target.exists() and not force:
        raise LacunaError(f"{name} already exists; use --force to replace it, or another name")
    if not target.parent.is_dir():
        raise LacunaError(f"{name}: there is no folder {printable(target.parent)}; create it first")

    temporary = target.with_name(f".lacuna-{secrets.token_hex(8)}{target.suffix}")
    try:
        # Made with open(), not mkstemp: the finished file gets the user's usual permissions.
        temporary.open("xb").close()
    except OSError as error:
        raise LacunaError(
            f"{name}: cannot write in the folder {printable(target.parent)} ({error.strerror}); "
            f"choose a folder you may write in"
        ) from None
    try:
        yield temporary
        if force:
            os.replace(temporary, target)
        else:
            _put_in_place(temporary, target, name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _put_in_place(temporary: Path, target: Path, name: str) -> None:
    """Give a finished file its name, unless another program has made one of that name meanwhile."""
    taken = LacunaError(
        f"{name} was made by another program while this one was at work, and is left as it is; "
        f"use --force to replace it, or another name"
    )
    try:
        os.link(temporary, target)  # which fails if there is one, in one step
    except FileExistsError:
        raise taken from None
    except OSError:  # a file system without hard links
        if target.exists():
            raise taken from None
        os.replace(temporary, target)
    else:
        temporary.unlink()


def standard_input() -> BinaryIO:
    """Standard input as bytes.

    Raises:
        LacunaError: it was closed.
    """
    if sys.stdin is None:
        raise LacunaError("standard input ('-') is closed; name a file, or open it")
    return sys.stdin.buffer


def standard_output() -> BinaryIO:
    """Standard output as bytes.

    Raises:
        LacunaError: it was closed.
    """
    if sys.stdout is None:
        raise LacunaError("standard output ('-') is closed; name a file, or open it")
    return sys.stdout.buffer


@contextmanager
def output_file(path: str, *, force: bool) -> Iterator[BinaryIO]:
    """A binary file to write, complete or not there at all; "-" is standard output.

    Raises:
        LacunaError: as for ``atomic_path``.
    """
    if path == "-":
        stream = standard_output()  # which must not turn out to be closed after the work
        with tempfile.TemporaryFile() as spool:
            yield spool
            spool.seek(0)
            shutil.copyfileobj(spool, stream)
            stream.flush()
        return
    with atomic_path(path, force=force) as partial, partial.open("wb") as file:
        yield file


def read_bytes(path: str) -> bytes:
    """The content of a file; "-" is standard input.

    Raises:
        LacunaError: there is no such file, or it is a folder.
    """
    if path == "-":
        return standard_input().read()
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise LacunaError(f"{printable(path)} not found; check the path") from None
    except OSError as error:
        raise LacunaError(f"{printable(path)} cannot be read: {error.strerror}") from None


@contextmanager
def unicode_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path that safetensors opens, whose names must be Unicode: if need be, a link's."""
    target = Path(path)
    if _is_unicode(target):
        yield target
        return
    with tempfile.TemporaryDirectory(prefix="lacuna-") as folder:
        link = Path(folder) / "link"
        link.symlink_to(target.resolve())
        yield link


def _is_unicode(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
