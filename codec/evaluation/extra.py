"""Packages of the extra ``evaluate``, asked for before hours of work and not after."""

from __future__ import annotations

import importlib.util

from codec.errors import LacunaError, install_hint


def require(*modules: str) -> None:
    """Raises LacunaError if one of the modules is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise LacunaError(
            f"evaluation needs {' and '.join(missing)}, which is not installed; "
            f"{install_hint('evaluate')}"
        )
