"""A lapped transform whose frames may be split into shorter ones: long windows for chords, short
ones for attacks and voices.

A modified discrete cosine transform (Princen and Bradley 1986, "Analysis/synthesis filter bank
design based on time domain aliasing cancellation") in two orthogonal steps: samples on both sides
of a border between two pieces are folded into each other, and every piece has a DCT-IV of its own.
The fold is as wide as the shorter of the two pieces, as in Vorbis, so any frame may be split
whatever its neighbors are. The whole is orthonormal: white noise has its own RMS in each
coefficient, and a rounding error has as much energy in the sound.

Coefficients of a frame stand in order of frequency: of a frame in ``n`` pieces the first ``n`` are
the lowest of each piece, in order of time.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from codec.network.config import FRAME

Floats = NDArray[np.floating]
"""float32 in files; what is made of arrays has their type."""

SPLITS = 4
"""A frame has 2^0 to 2^3 pieces: 2048 to 256 samples."""

EDGE = 256
"""Width of the fold where blocks of a file meet: what one needs of the other is half of it."""


def transform(waveform: Floats, split: NDArray[np.integer], edges: tuple[int, ...] = ()) -> Floats:
    """(rows, frames * FRAME) -> (rows, frames, FRAME); nothing is folded at both ends.

    ``split`` (frames,) says in 2^split pieces, ``edges`` before which frames a block begins.
    """
    folded = _fold(waveform, split, edges, 1.0).reshape(len(waveform), -1, FRAME)
    out = np.empty_like(folded)
    for s in np.unique(split).tolist():
        pieces = folded[:, split == s].reshape(len(waveform), -1, 1 << s, FRAME >> s)
        out[:, split == s] = _dct_iv(pieces).swapaxes(2, 3).reshape(len(waveform), -1, FRAME)
    return out


def in_pieces(waveform: Floats, split: int) -> Floats:
    """Every frame in 2^split pieces: (rows, frames, pieces, FRAME / pieces), in order of time.

    The values of ``transform``, in another order.
    """
    rows, frames = len(waveform), waveform.shape[1] // FRAME
    folded = _fold(waveform, np.full(frames, split), (), 1.0)
    return _dct_iv(folded.reshape(rows, frames, 1 << split, FRAME >> split))


def inverse(
    coefficients: Floats, split: NDArray[np.integer], edges: tuple[int, ...] = ()
) -> Floats:
    """(rows, frames, FRAME) -> (rows, frames * FRAME); the inverse of ``transform``."""
    rows = len(coefficients)
    folded = np.empty_like(coefficients)
    for s in np.unique(split).tolist():
        pieces = coefficients[:, split == s].reshape(rows, -1, FRAME >> s, 1 << s)
        folded[:, split == s] = _dct_iv(pieces.swapaxes(2, 3)).reshape(rows, -1, FRAME)
    return _fold(folded.reshape(rows, -1), split, edges, -1.0)


def by_frequency(of_pieces: Floats) -> Floats:
    """Values (..., pieces, FRAME / pieces) of a frame's pieces in the order of coefficients."""
    return of_pieces.swapaxes(-1, -2).reshape(*of_pieces.shape[:-2], FRAME)


def _fold(
    waveform: Floats, split: NDArray[np.integer], edges: tuple[int, ...], sign: float
) -> Floats:
    pieces = 1 << split.astype(np.int64)
    sizes = np.repeat(FRAME // pieces, pieces)
    borders = np.cumsum(sizes)[:-1]
    width = np.minimum(sizes[:-1], sizes[1:])
    width[np.isin(borders, np.array(edges) * FRAME)] = EDGE
    out = waveform.copy()
    for w in np.unique(width).tolist():
        around = borders[width == w] - w // 2
        both = sliding_window_view(out, w, axis=1)[:, around]  # a copy
        after_it, before = both[..., w // 2 :], both[..., : w // 2][..., ::-1]
        more, less = (x.astype(waveform.dtype) for x in _window(w))
        folded = np.empty_like(both)
        folded[..., w // 2 :] = more * after_it + sign * less * before
        folded[..., : w // 2][..., ::-1] = more * before - sign * less * after_it
        sliding_window_view(out, w, axis=1, writeable=True)[:, around] = folded
    return out


@lru_cache
def _window(width: int) -> tuple[Floats, Floats]:
    """What counts samples after a border, and their mirror images before it."""
    angle = math.pi / (2 * width) * (width / 2 + np.arange(width // 2) + 0.5)
    return np.sin(angle), np.cos(angle)


def _dct_iv(x: Floats) -> Floats:
    """Orthonormal DCT-IV of the last dimension, by a complex FFT of half its length."""
    y = np.empty((*x.shape[:-1], x.shape[-1] // 2), np.result_type(x, np.complex64))
    turn = _turn(x.shape[-1]).astype(y.dtype)
    y.real, y.imag = x[..., ::2], x[..., ::-2]
    y *= turn
    y = torch.fft.fft(torch.from_numpy(y), norm="ortho").numpy()  # NumPy's takes four times as long
    y *= turn
    out = np.empty_like(x)
    out[..., ::2], out[..., ::-2] = y.real, -y.imag
    return out


@lru_cache
def _turn(size: int) -> NDArray[np.complex128]:
    n = np.arange(size // 2)
    return np.exp(-1j * math.pi / (4 * size) * (4 * n + 0.5))
