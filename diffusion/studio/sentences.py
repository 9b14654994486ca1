"""Errors as sentences, for a visitor who sees no terminal."""

from __future__ import annotations

import errno

from codec.errors import LacunaError


def sentence(error: Exception) -> str:
    """What went wrong, for the visitor."""
    if isinstance(error, LacunaError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full: make room in the folder for temporary files, and try again."
    if isinstance(error, OSError):
        return f"A file could not be read or written: {error.strerror or error}."
    return f"Unexpected {type(error).__name__}: {error}. The terminal says where."
