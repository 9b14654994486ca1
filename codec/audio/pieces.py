"""Audio as a stream of pieces, (channels, any length) each.

Whole recordings never stand in memory: they pass through in pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

CHUNK = 1 << 16
"""Samples per channel read at a time."""

Progress = Callable[[float], None]
"""Called with the seconds of audio done so far."""


def no_progress(seconds: float) -> None:
    pass


def cut(pieces: Iterable[np.ndarray], skip: int, length: int) -> Iterator[np.ndarray]:
    """``length`` samples of a stream of (channels, any length) pieces, after ``skip`` others.

    No piece is asked for beyond the one with the last sample.
    """
    for piece in pieces:
        dropped = min(skip, piece.shape[1])
        skip -= dropped
        kept = piece[:, dropped : dropped + length]
        length -= kept.shape[1]
        if kept.shape[1]:
            yield kept
        if length == 0:
            return
