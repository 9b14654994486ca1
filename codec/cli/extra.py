"""Packages of an extra, asked for before hours of work and not after."""

from __future__ import annotations

import importlib.util

from codec.errors import MissingPackageError, install_hint


def require(purpose: str, extra: str, *modules: str) -> None:
    """Raises MissingPackageError if a module is not installed, which ``purpose`` needs."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            f"{purpose} needs {' and '.join(missing)}, which is not installed; "
            f"{install_hint(extra)}"
        )
