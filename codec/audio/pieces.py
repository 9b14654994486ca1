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


def pieces_of(waveform: np.ndarray) -> Iterator[np.ndarray]:
    """A waveform (channels, time) in memory as a stream."""
    for start in range(0, waveform.shape[1], CHUNK):
        yield waveform[:, start : start + CHUNK]


class Counted:
    """A stream that says how many samples of it have been taken."""

    def __init__(self, pieces: Iterable[np.ndarray]) -> None:
        self._pieces = pieces
        self.samples = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for piece in self._pieces:
            self.samples += piece.shape[1]
            yield piece


def cut(pieces: Iterable[np.ndarray], skip: int, length: float) -> Iterator[np.ndarray]:
    """``length`` samples of a stream of (channels, any length) pieces, after ``skip`` others.

    No piece is asked for beyond the one with the last sample.
    """
    for piece in pieces:
        dropped = min(skip, piece.shape[1])
        skip -= dropped
        kept = piece[:, dropped : dropped + int(min(length, piece.shape[1]))]
        length -= kept.shape[1]
        if kept.shape[1]:
            yield kept
        if length == 0:
            return


def regrouped(pieces: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same stream in pieces of ``size`` samples, fewer only in the last one."""
    held: list[np.ndarray] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += piece.shape[1]
        if count < size:
            continue
        joined = piece if len(held) == 1 else np.concatenate(held, axis=1)
        for start in range(0, count - size + 1, size):
            yield joined[:, start : start + size]
        count %= size
        held = [joined[:, joined.shape[1] - count :]] if count else []
    if held:
        yield np.concatenate(held, axis=1)
