"""Telling a full disk from other faults of programs and libraries that do not say."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path


def raise_if_full(folder: Path, said: str = "") -> None:
    """OSError (ENOSPC) if no megabyte is left on `folder`'s disk, or `said` complains of it."""
    if "No space left" in said or shutil.disk_usage(folder).free < 2**20:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))
