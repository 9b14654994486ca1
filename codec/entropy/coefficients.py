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

from codec.entropy.coefficient_contexts import (
    LARGEST,
    Ints,
    Past,
    expect,
    in_halves,
    inside,
)
from codec.entropy.coefficient_tables import FREQUENCIES, SPLIT_FREQUENCIES
from codec.entropy.static_tables import FREQUENCY_BITS, range_decoder
from codec.errors import FormatError

BINS_UNIT = 16
"""Blocks have a multiple of so many coefficients."""

ESCAPE_BITS = 12
MAX_MAGNITUDE = LARGEST + (1 << ESCAPE_BITS) - 3
"""The largest symbol there is; the lowest and the highest escape are not used."""

ENCODED_AT_ONCE = 1 << 15
"""The intervals of so many things take little memory."""

Places = NDArray[np.intp]

_TOTAL = 1 << FREQUENCY_BITS
_ROW = stream.model.Categorical(perfect=False)
_ESCAPE = stream.model.Uniform(1 << ESCAPE_BITS)

# Unused columns at both ends, so that something lies below and above all that is coded; and less
# one, since constriction adds one to every frequency: see static_tables.py.
_SIZES = np.pad(FREQUENCIES, ((0, 0), (1, 1)), constant_values=1)
_ROWS = (_SIZES - 1).astype(np.float64)
_SIGN_SIZES = np.array([[1, _TOTAL // 2 - 1, _TOTAL // 2 - 1, 1]])
_SIGN = stream.model.Categorical((_SIGN_SIZES[0] - 1).astype(np.float64), perfect=False)
_SPLIT_SIZES = np.pad(SPLIT_FREQUENCIES, ((0, 0), (1, 1)), constant_values=1)
_SPLITS = [
    stream.model.Categorical((row - 1).astype(np.float64), perfect=False) for row in _SPLIT_SIZES
]
_ESCAPE_SIZES = np.full((1, 1 << ESCAPE_BITS), _TOTAL >> ESCAPE_BITS)

# All that is ever coded, one after the other: a magnitude in a row of frequencies, a sign, an
# escape, a split after another one. To a range coder each is the mass below it, its own, and the
# rest: three columns suffice.
_PARTS = [_SIZES, _SIGN_SIZES, _ESCAPE_SIZES, _SPLIT_SIZES]
_SIGN_AT, _ESCAPE_AT, _SPLIT_AT = np.cumsum([part.size for part in _PARTS[:-1]]).tolist()
_SIZE = np.concatenate([part.ravel() for part in _PARTS])
_BELOW = np.concatenate([(np.cumsum(part, axis=1) - part).ravel() for part in _PARTS])
_INTERVALS = np.stack([_BELOW, _SIZE, _TOTAL - _BELOW - _SIZE], axis=1) - 1.0
_BITS = FREQUENCY_BITS - np.log2(_SIZE)


@dataclass(frozen=True)
class Layer:
    """The waveform layer of a block."""

    step_index: int
    """Index of the factor of all steps (codec/network/waveform_layer.py)."""
    split: NDArray[np.uint8]
    """(frames,): every frame is in 2^split pieces, in all channels."""
    symbols: NDArray[np.int16]
    """(coded_channels, frames, bins); zeros in channels that are silent."""
    alone: bool = False
    """They are all there is of the block: the renderer adds nothing."""

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
    encoder = stream.queue.RangeEncoder()
    things = _in_order(symbols, split)
    for first in range(0, len(things), ENCODED_AT_ONCE):
        rows = _INTERVALS.take(things[first : first + ENCODED_AT_ONCE], axis=0)
        encoder.encode(np.ones(len(rows), np.int32), _ROW, rows)
    return encoder.get_compressed().astype("<u4").tobytes()


def cost_bits(symbols: NDArray[np.integer], split: NDArray[np.integer]) -> float:
    """What ``encode`` would need but for some 32 bits at its end, without coding."""
    magnitudes, coded, escaped, splits = _things(symbols, split)
    times = np.bincount(magnitudes.ravel(), minlength=_SIGN_AT)
    bits = times @ _BITS[:_SIGN_AT] + len(coded[0]) * _BITS[_SIGN_AT + 1]
    return float(bits + len(escaped[0]) * ESCAPE_BITS + _BITS[splits].sum())


def decode(
    payloads: list[bytes], shapes: list[tuple[int, int, int]]
) -> list[tuple[NDArray[np.int16], NDArray[np.uint8]]]:
    """Symbols (streams, frames, bins) and splits (frames,) of blocks of these shapes.

    All have as many streams. Several at once take much less time than one by one.

    Raises:
        FormatError: the bytes cannot come from these shapes.
    """
    decoders = [range_decoder(data) for data in payloads]
    streams, frames, bins = np.max(shapes, axis=0).tolist()
    symbols = np.zeros((len(shapes), streams, frames, bins), np.int16)
    try:
        splits = [
            _decode_split(decoder, shape[1])
            for decoder, shape in zip(decoders, shapes, strict=True)
        ]
        past = [Past.none(len(shapes), bins) for _ in range(streams)]
        for frame in range(frames):
            mid: Ints | None = None
            for s in range(streams):
                own = symbols[:, s, frame]
                current = np.zeros_like(past[s].last)
                lengths = [width // 2 if frame < length else 0 for _, length, width in shapes]
                for odd in (0, 1):
                    rows = expect(past[s], current, mid, odd)
                    half = _decode_half(decoders, rows, lengths)
                    own[:, odd::2] = half
                    np.minimum(np.abs(half), LARGEST, out=inside(current)[:, odd])
                past[s].add(current)
                mid = current if streams == 2 and s == 0 else None
    except AssertionError as error:  # constriction's way of saying "no such bytes"
        raise _not_ours(shapes) from error
    if not all(decoder.maybe_exhausted() for decoder in decoders):
        raise _not_ours(shapes)
    return [
        (own[:, :length, :width], split)
        for own, split, (_, length, width) in zip(symbols, splits, shapes, strict=True)
    ]


def _decode_split(decoder: stream.queue.RangeDecoder, frames: int) -> NDArray[np.uint8]:
    split, last = np.empty(frames, np.uint8), 0
    for frame in range(frames):
        last = int(decoder.decode(_SPLITS[last])) - 1
        if not 0 <= last < len(_SPLITS):
            raise AssertionError
        split[frame] = last
    return split


def _decode_half(
    decoders: list[stream.queue.RangeDecoder], rows: NDArray[np.uint8], lengths: list[int]
) -> NDArray[np.int32]:
    """The symbols whose rows of frequencies these are, (blocks, bins / 2): of each block the first
    ones are coded, and the others zeros.
    """
    out = np.ones(rows.shape, np.int32)
    frequencies = _ROWS.take(rows, axis=0)
    for block, length in enumerate(lengths):
        if length:
            out[block, :length] = decoders[block].decode(_ROW, frequencies[block, :length])
    out -= 1
    flat = out.reshape(-1)
    coded = np.flatnonzero(flat)
    if not coded.size:
        return out
    size = _checked(flat[coded], LARGEST)
    escaped = np.flatnonzero(size == LARGEST)
    block_of = coded // rows.shape[-1]
    signs, escapes = (
        np.bincount(blocks, minlength=len(out)) for blocks in (block_of, block_of[escaped])
    )
    further, negative = [], []
    for decoder, escape_count, sign_count in zip(
        decoders, escapes.tolist(), signs.tolist(), strict=True
    ):
        if escape_count:
            further.append(decoder.decode(_ESCAPE, escape_count))
        if sign_count:
            negative.append(decoder.decode(_SIGN, sign_count))
    if further:
        size[escaped] += _checked(np.concatenate(further) - 1, MAX_MAGNITUDE - LARGEST)
    flat[coded] = np.where(_checked(np.concatenate(negative) - 1, 1), -size, size)
    return out


def _checked(values: NDArray[np.int32], most: int) -> NDArray[np.int32]:
    """Values as they are; unused ones, which are -1 or more than ``most``, stop the decoding."""
    if values.view(np.uint32).max() > most:
        raise AssertionError
    return values


def _in_order(symbols: NDArray[np.integer], split: NDArray[np.integer]) -> Places:
    """Places in the table of intervals of each thing to code, in order."""
    magnitudes, coded, escaped, splits = _things(symbols, split)
    # Of a half its magnitudes, and then its escapes and its signs.
    length = max(1, magnitudes.shape[-1])
    half = np.concatenate([escaped[0], coded[0]]) // length
    order = np.argsort(half, kind="stable")
    further = np.concatenate([escaped[1], coded[1]])[order]
    after = len(splits) + (half[order] + 1) * length + np.arange(len(order))
    things = np.empty(len(splits) + magnitudes.size + len(order), np.intp)
    rest = np.ones(len(things), np.bool_)
    rest[after] = False
    things[after] = further
    things[rest] = np.concatenate([splits, magnitudes.ravel()])
    return things


def _things(
    symbols: NDArray[np.integer], split: NDArray[np.integer]
) -> tuple[Places, tuple[Places, Places], tuple[Places, Places], Places]:
    """Places in the table of intervals: of magnitudes, (frames, streams, 2, bins / 2); of signs and
    escapes after the numbers of the symbols that they belong to; and of splits.
    """
    streams, frames, bins = symbols.shape
    if symbols.size and max(-int(symbols.min()), int(symbols.max())) > MAX_MAGNITUDE:
        raise ValueError(
            f"coefficients from {symbols.min()} to {symbols.max()}: expected at most "
            f"{MAX_MAGNITUDE}; take a coarser step"
        )
    magnitudes = in_halves(symbols)
    halves = symbols.reshape(streams, frames, bins // 2, 2).transpose(1, 0, 3, 2)
    places = np.empty(halves.shape, np.intp)
    for s in range(streams):
        past = Past.of_all(magnitudes[s])
        mid = magnitudes[0] if streams == 2 and s == 1 else None
        for odd in (0, 1):
            rows = expect(past, magnitudes[s], mid, odd)
            np.multiply(rows, _SIZES.shape[1], out=places[:, s, odd], dtype=np.intp)
            places[:, s, odd] += inside(magnitudes[s])[:, odd] + 1
    flat = halves.ravel()
    coded = np.flatnonzero(flat)
    values = flat[coded].astype(np.intp)
    escaped = coded[np.abs(values) >= LARGEST]
    further = np.abs(flat[escaped].astype(np.intp)) - LARGEST
    last_split = np.concatenate([[0], split[:-1]]).astype(np.intp)
    return (
        places,
        (coded, _SIGN_AT + 1 + (values < 0)),
        (escaped, _ESCAPE_AT + 1 + further),
        _SPLIT_AT + last_split * _SPLIT_SIZES.shape[1] + split.astype(np.intp) + 1,
    )


def _not_ours(shapes: list[tuple[int, int, int]]) -> FormatError:
    return FormatError(
        f"the bytes of a waveform layer are not those of (streams, frames, bins) {shapes}: the "
        f"file is damaged or forged"
    )
