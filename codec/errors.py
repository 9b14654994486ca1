"""Errors that are the user's to fix; everything else is a bug and keeps its traceback.

Every message names the value that was found, what was expected, and the remedy.
The command line prints the message alone and exits with ``exit_code``.
"""

from __future__ import annotations


class LacunaError(ValueError):
    """Base of all errors raised for bad input."""

    exit_code = 1


class AudioError(LacunaError):
    """An audio file or waveform that cannot be used: not audio, empty, NaN, truncated, ..."""


class ConfigError(LacunaError):
    """A config or option with an unknown key or a value out of range."""


class CheckpointError(LacunaError):
    """A checkpoint that is missing, damaged, or of another model."""


class FormatError(LacunaError):
    """A ``.lac`` file that is not one, is of another version, or is damaged beyond use."""

    exit_code = 3


class RateError(LacunaError):
    """A bit rate that the model cannot reach."""


class MissingPackageError(LacunaError):
    """A package of an extra that is needed and not installed."""


def install_hint(extra: str) -> str:
    """The remedy where the packages of an extra (such as train) are missing."""
    return f'pip install ".[{extra}]" in a checkout of Lacuna'
