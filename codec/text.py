"""Text that comes from a file, or names one, and goes to a terminal."""

from __future__ import annotations

import os


def printable(text: str | os.PathLike[str]) -> str:
    """Text on one line without commands to the terminal: what is not printable becomes "?".

    A file may come from anyone, and so may its name, which need not be Unicode either.
    """
    return "".join(c if c.isprintable() else "?" for c in os.fspath(text))


def printable_lines(text: str) -> str:
    """As ``printable``, but with the line breaks and tabs that a message of our own may have."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)
