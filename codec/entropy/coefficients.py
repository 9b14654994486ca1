"""Coefficients of the waveform layer to bytes and back: integers alone, and tables that are part of
the format (coefficient_tables.py), whatever the model.

A block's symbols are (streams, frames, bins). They are coded frame by frame and stream by stream,
the even ones of a frame and then the odd ones: a half is coded at once, all blocks of a file side
by side. After the magnitudes of a half come what escaped from them, and the signs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from constriction import stream
from numpy.typing import NDArray

from codec.entropy.coefficient_contexts import LARGEST, Ints, Past, expect, with_margins
from codec.entropy.coefficient_tables import FREQUENCIES, SPLIT_FREQUENCIES
from codec.entropy.static_tables import FREQUENCY_BITS, range_decoder
from codec.errors import FormatError

BINS_UNIT = 16
"""Blocks have a multiple of so many coefficients."""

ESCAPE_BITS = 12
MAX_MAGNITUDE = LARGEST + (1 << ESCAPE_BITS) - 3
"""The largest symbol there is; the lowest and the highest escape are not used."""

_TOTAL = 1 << FREQUENCY_BITS
_ROW = stream.model.Categorical(perfect=False)
_ESCAPE = stream.model.Uniform(1 << ESCAPE_BITS)

# Unused columns at both ends, so that something lies below and above all that is coded; and less
# one, since constriction adds one to every frequency: see static_tables.py.
_SIZES = np.pad(FREQUENCIES, ((0, 0), (1, 1)), constant_values=1)
_BELOW = np.cumsum(_SIZES, axis=1) - _SIZES
_ROWS = (_SIZES - 1).astype(np.float64)
_SIGN_SIZES = np.array([1, _TOTAL // 2 - 1, _TOTAL // 2 - 1, 1])
_SIGN_BELOW = np.cumsum(_SIGN_SIZES) - _SIGN_SIZES
_SIGN = stream.model.Categorical((_SIGN_SIZES - 1).astype(np.float64), perfect=False)
_SPLIT_SIZES = np.pad(SPLIT_FREQUENCIES, ((0, 0), (1, 1)), constant_values=1)
_SPLIT_BELOW = np.cumsum(_SPLIT_SIZES, axis=1) - _SPLIT_SIZES
_SPLITS = [
    stream.model.Categorical((row - 1).astype(np.float64), perfect=False) for row in _SPLIT_SIZES
]


@dataclass(frozen=True)
class Layer:
    """The waveform layer of a block."""

    step_index: int
    """Index of the factor of all steps (codec/network/waveform_layer.py)."""
    split: NDArray[np.uint8]
    """(frames,): every frame is in 2^split pieces, in all channels."""
    symbols: NDArray[np.int16]
    """(coded_channels, frames, bins); zeros in channels that are silent."""

    @property
    def bins(self) -> int:
        return self.symbols.shape[2]


def without_zeros(symbols: NDArray[np.int16]) -> NDArray[np.int16]:
    """As many bins (..., bins) as are not all zero, in whole BINS_UNITs."""
    coded = np.flatnonzero(symbols.any(axis=tuple(range(symbols.ndim - 1))))
    return symbols[..., : -(-(int(coded[-1]) + 1) // BINS_UNIT) * BINS_UNIT if coded.size else 0]


def encode(symbols: NDArray[np.integer], split: NDArray[np.integer]) -> bytes:
    """The bytes of a block's symbols (streams, frames, bins) and of its frames' splits, a multiple
    of 4; ``bins`` is even.

    Raises:
        ValueError: a symbol beyond MAX_MAGNITUDE.
    """
    below, size = _intervals(symbols, split)
    encoder = stream.queue.RangeEncoder()
    if size.size:
        # To a range coder a symbol is the mass below it and its own: three columns suffice.
        rows = np.stack([below, size, _TOTAL - below - size], axis=1) - 1
        encoder.encode(np.ones(len(rows), np.int32), _ROW, rows.astype(np.float64))
    return encoder.get_compressed().astype("<u4").tobytes()


def cost_bits(symbols: NDArray[np.integer], split: NDArray[np.integer]) -> float:
    """What ``encode`` would need but for some 32 bits at its end, without coding."""
    _, size = _intervals(symbols, split)
    return float((FREQUENCY_BITS - np.log2(size)).sum())


def decode(
    payloads: list[bytes], shape: tuple[int, int, int]
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Symbols (blocks, streams, frames, bins) and splits (blocks, frames) of blocks of one shape.

    Raises:
        FormatError: the bytes cannot come from this shape.
    """
    streams, frames, bins = shape
    blocks = len(payloads)
    decoders = [range_decoder(data) for data in payloads]
    symbols = np.zeros((blocks, streams, frames, bins), np.int16)
    try:
        split = np.stack([_decode_split(decoder, frames) for decoder in decoders])
        past = [Past.none(blocks, bins) for _ in range(streams)]
        for frame in range(frames):
            mid: Ints | None = None
            for s in range(streams):
                now = with_margins(np.zeros((blocks, bins), np.int64))
                for odd in (0, 1):
                    rows = expect(past[s], now, mid, odd)
                    half = np.stack(
                        [_decode_half(*pair) for pair in zip(decoders, rows, strict=True)]
                    )
                    symbols[:, s, frame, odd::2] = half
                    if odd == 0:
                        now = with_margins(symbols[:, s, frame])
                now = with_margins(symbols[:, s, frame])
                past[s].add(now)
                mid = now if streams == 2 and s == 0 else None
    except AssertionError as error:  # constriction's way of saying "no such bytes"
        raise _not_ours(shape) from error
    if not all(decoder.maybe_exhausted() for decoder in decoders):
        raise _not_ours(shape)
    return symbols, split


def _decode_split(decoder: stream.queue.RangeDecoder, frames: int) -> NDArray[np.uint8]:
    split, last = np.empty(frames, np.uint8), 0
    for frame in range(frames):
        last = int(decoder.decode(_SPLITS[last])) - 1
        if not 0 <= last < len(_SPLITS):
            raise AssertionError
        split[frame] = last
    return split


def _decode_half(decoder: stream.queue.RangeDecoder, rows: NDArray[np.intp]) -> Ints:
    """The symbols whose rows of frequencies these are."""
    size = decoder.decode(_ROW, _ROWS[rows]).astype(np.int64) - 1
    if size.size and not 0 <= size.min() <= size.max() <= LARGEST:
        raise AssertionError
    escaped = np.flatnonzero(size == LARGEST)
    if escaped.size:
        further = decoder.decode(_ESCAPE, len(escaped)).astype(np.int64) - 1
        if not 0 <= further.min() <= further.max() <= MAX_MAGNITUDE - LARGEST:
            raise AssertionError
        size[escaped] += further
    coded = np.flatnonzero(size)
    if coded.size:
        signs = decoder.decode(_SIGN, len(coded)) - 1
        if not 0 <= signs.min() <= signs.max() <= 1:
            raise AssertionError
        size[coded] *= 1 - 2 * signs
    return size


def _intervals(symbols: NDArray[np.integer], split: NDArray[np.integer]) -> tuple[Ints, Ints]:
    """Mass below and of each thing to code, in order."""
    if symbols.size and np.abs(symbols.astype(np.int64)).max() > MAX_MAGNITUDE:
        raise ValueError(
            f"coefficients from {symbols.min()} to {symbols.max()}: expected at most "
            f"{MAX_MAGNITUDE}; take a coarser step"
        )
    halves = _halves(symbols)
    size = np.abs(halves).ravel()
    rows, column = _rows(symbols).ravel(), np.minimum(size, LARGEST) + 1
    of_half = np.arange(size.size) // max(1, halves.shape[-1])

    escaped, coded = np.flatnonzero(size >= LARGEST), np.flatnonzero(size)
    escape_size = _TOTAL >> ESCAPE_BITS
    sign = (halves.ravel()[coded] < 0) + 1
    extra_below = np.concatenate([(size[escaped] - LARGEST + 1) * escape_size, _SIGN_BELOW[sign]])
    extra_size = np.concatenate([np.full(len(escaped), escape_size), _SIGN_SIZES[sign]])
    where = np.concatenate([of_half[escaped], of_half[coded]])
    order = np.argsort(where, kind="stable")  # of a half its escapes and then its signs
    after = (where[order] + 1) * halves.shape[-1]
    below = np.insert(_BELOW[rows, column], after, extra_below[order])
    sizes = np.insert(_SIZES[rows, column], after, extra_size[order])

    before = np.concatenate([[0], split[:-1].astype(np.int64)])
    own = split.astype(np.int64) + 1
    return (
        np.concatenate([_SPLIT_BELOW[before, own], below]),
        np.concatenate([_SPLIT_SIZES[before, own], sizes]),
    )


def _halves(symbols: NDArray[np.integer]) -> Ints:
    """(streams, frames, bins) in the order of coding: (frames, streams, 2, bins / 2)."""
    streams, frames, bins = symbols.shape
    pairs = symbols.astype(np.int64).reshape(streams, frames, bins // 2, 2)
    return pairs.transpose(1, 0, 3, 2)


def _rows(symbols: NDArray[np.integer]) -> NDArray[np.intp]:
    """The row of frequencies of every symbol, (frames, streams, 2, bins / 2)."""
    streams, frames, bins = symbols.shape
    magnitudes = with_margins(symbols)
    rows = np.empty((frames, streams, 2, bins // 2), np.intp)
    for s in range(streams):
        past = Past.of_all(magnitudes[s])
        mid = magnitudes[0] if streams == 2 and s == 1 else None
        for odd in (0, 1):
            rows[:, s, odd] = expect(past, magnitudes[s], mid, odd)
    return rows


def _not_ours(shape: tuple[int, int, int]) -> FormatError:
    return FormatError(
        f"the bytes of a waveform layer are not those of (streams, frames, bins) {shape}: the file "
        f"is damaged or forged"
    )
