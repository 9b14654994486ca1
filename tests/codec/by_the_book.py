"""A second reader of .lac files, in plain integers, one symbol at a time: docs/FORMAT.md as code.

It shares nothing with the package but the arrays of a checkpoint.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

FULL = 2**64 - 1
F = [round(2**20 * 2 ** (k / 96)) for k in range(96)]

Symbols = list[list[list[int]]]
"""[stream][latent channel][frame]"""


def clamp(x: int, least: int, most: int) -> int:
    return min(max(x, least), most)


def step_units(sigma_units: int, index: int) -> int:
    """A step in units of 2^-20."""
    return clamp((sigma_units * (F[index % 96] << index // 96) + 2**21) >> 22, 2**12, 2**24)


def largest_symbol(step: int) -> int:
    return max(1, (2 * 12 * 2**20 + step - 1) // (2 * step))


class RangeEncoder:
    """The words that the section "Range coder" decodes, on integers that may grow at will."""

    def __init__(self) -> None:
        self._low, self._range, self._words = 0, FULL, 2

    def encode(self, cum: list[int], j: int) -> None:
        scale = self._range >> 24
        self._low += scale * cum[j]
        self._range = scale * (cum[j + 1] - cum[j])
        if self._range < 2**32:
            self._range, self._low = self._range << 32, self._low << 32
            self._words += 1

    def words(self) -> list[int]:
        last = self._low + 2**32 - 1 >> 32
        words = [last >> 32 * i & 2**32 - 1 for i in reversed(range(self._words - 1))]
        # A zero if what lies above the interval begins with the same words.
        return [*words, 0] if self._low + self._range >> 32 == last else words


class RangeDecoder:
    """The section "Range coder"."""

    def __init__(self, data: bytes) -> None:
        self._words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
        self._next = 2
        self._point = self._word(0) << 32 | self._word(1)
        self._low, self._range = 0, FULL

    def _word(self, index: int) -> int:
        return self._words[index] if index < len(self._words) else 0

    def decode(self, cum: list[int]) -> int:
        scale = self._range >> 24
        target = (self._point - self._low & FULL) // scale
        assert target < 2**24
        j = bisect_right(cum, target) - 1
        self._low = self._low + scale * cum[j] & FULL
        self._range = scale * (cum[j + 1] - cum[j])
        if self._range < 2**32:
            self._range, self._low = self._range << 32, self._low << 32 & FULL
            self._point = (self._point << 32 | self._word(self._next)) & FULL
            self._next += 1
        return j

    @property
    def at_end(self) -> bool:
        if not self._words:
            return True
        return self._next >= len(self._words) and self._point - self._low & FULL < 2**33 - 1


def _mass(histogram: list[int], below: list[int], x: int, per_cell: int) -> int:
    cell, inside = divmod(x, per_cell)
    return below[cell] * per_cell + (histogram[cell] * inside if inside else 0)


def _sums(histogram: list[int]) -> list[int]:
    below = [0]
    for count in histogram:
        below.append(below[-1] + count)
    return below


def static_cumulative(histogram: list[int], step: int) -> list[int]:
    """One latent channel's frequencies: the section "Static coder"."""
    limit, below = largest_symbol(step), _sums(histogram)
    n = 2 * limit + 1
    edges = [12 * 2**21 + (2 * k - 1) * step for k in range(-limit, limit + 2)]
    edges[0], edges[-1] = 0, 24 * 2**21
    return [
        j + (_mass(histogram, below, x, 65536) * (2**24 - n) >> 38) for j, x in enumerate(edges)
    ]


def decode_static(
    data: bytes, shape: tuple[int, int, int], index: int, entropy: dict[str, Any]
) -> Symbols:
    """A block's symbols; ``entropy`` has the checkpoint's two arrays."""
    streams, latent_dim, frames = shape
    decoder = RangeDecoder(data)
    symbols = [[[0] * frames for _ in range(latent_dim)] for _ in range(streams)]
    for d in range(latent_dim):
        step = step_units(int(entropy["sigma_units"][d]), index)
        cum = static_cumulative(entropy["histogram"][d].tolist(), step)
        for s in range(streams):
            symbols[s][d] = [decoder.decode(cum) - largest_symbol(step) for _ in range(frames)]
    assert decoder.at_end
    return symbols


def decode_tokens(
    data: bytes, shape: tuple[int, int, int], index: int, frequencies: list[list[int]]
) -> Symbols:
    """A block's tokens; those of books that are left out are -1: the section "Tokens"."""
    streams, books, frames = shape
    decoder = RangeDecoder(data)
    tokens = [[[-1] * frames for _ in range(books)] for _ in range(streams)]
    for d in range(books - index):
        for s in range(streams):
            cum = _sums(frequencies[d])
            tokens[s][d] = [decoder.decode(cum) for _ in range(frames)]
    assert decoder.at_end
    return tokens


def neural_layer(x: list[int], weight: list[list[int]], bias: list[int]) -> list[int]:
    return [
        (sum(value * row[j] for value, row in zip(x, weight, strict=True)) + bias[j]) >> 12
        for j in range(len(bias))
    ]


class ContextDecoder:
    """The section "Context coder", for one model and step."""

    def __init__(
        self, arrays: dict[str, Any], sigma_units: list[int], index: int, streams: int
    ) -> None:
        self._layers = {name: array.tolist() for name, array in arrays.items() if name != "shape"}
        self._shape = arrays["shape"].tolist()
        self._below = _sums(self._shape)
        self._steps = [step_units(sigma, index) for sigma in sigma_units]
        self._streams = streams
        self.cumulative = lru_cache(maxsize=None)(self._cumulative)

    def edge(self, k: int, phase: int, class_: int) -> int:
        w = 20 - class_
        position = (32 * k - 2 * phase - 1) * F[24 * (w % 4)] << w // 4 + 3
        return clamp((position >> 12) + 384 * 4096, 0, 768 * 4096)

    def _cumulative(self, phase: int, class_: int) -> list[int]:
        cum = [0, 1]
        for j in range(2, 84):
            mass = _mass(self._shape, self._below, self.edge(j - 42, phase, class_), 4096)
            cum.append(j + (mass * (2**24 - 85) >> 34))
        return [*cum, 2**24 - 1, 2**24]

    def value(self, symbols: Symbols, s: int, d: int, t: int) -> int:
        if s < 0 or t < 0:
            return 0
        return symbols[s][d][t] * self._steps[d] + 2**9 >> 10

    def log2_step(self, d: int) -> int:
        return (self._steps[d] ** 16).bit_length() - 1 - 320

    def inputs(self, symbols: Symbols, s: int, d: int, t: int) -> list[int]:
        count = len(self._steps)
        wide = count > 64
        dims = range(d - 8, d + 9) if wide else range(count)

        def v(stream: int, channel: int, frame: int) -> int:
            exists = 0 <= channel < count
            return self.value(symbols, stream, channel, frame) if exists else 0

        x = [v(s, c, t) if c < d else 0 for c in dims]
        x += [v(s, c, t - 1) if c <= d else 0 for c in dims]
        x += [v(s, c, t - 2) if c <= d + 1 else 0 for c in dims]
        x += [v(s - 1, c, t) for c in dims]
        frames = [x[j * len(dims) : (j + 1) * len(dims)] for j in range(4)]
        x += [v(s, d, t - 3), v(s, d, t - 4), abs(v(s, d, t - 1)), abs(v(s, d, t - 2))]
        x.append(sum(abs(v(s, d, t - lag)) for lag in range(1, 9)) // 8)
        magnitudes = [abs(value) for frame in frames for value in frame] if wide else []
        x += [sum(map(abs, frame)) // len(dims) for frame in frames]
        return [*x, *magnitudes, 1024 if s > 0 else 0, 64 * self.log2_step(d)]

    def network(self, d: int, x: list[int]) -> list[int]:
        for i in (1, 2, 3):
            if i > 1:
                x = [clamp(value, 0, 8192) for value in x]
            x = neural_layer(x, self._layers[f"weight{i}"][d], self._layers[f"bias{i}"][d])
        return x

    def predict(self, symbols: Symbols, s: int, d: int, t: int) -> tuple[int, int, int]:
        """nearest, phase and class."""
        mean, scale = self.network(d, self.inputs(symbols, s, d, t))
        step = self._steps[d]
        limit = largest_symbol(step)
        place = (mean * 2**14 + 8 * step) // step
        nearest = clamp(place // 16, -limit, limit)
        class_ = clamp(((scale >> 6) - self.log2_step(d) + 82) // 4, 0, 32)
        return nearest, clamp(place - 16 * nearest, 0, 15), class_

    def waves(self, frames: int) -> Iterator[list[tuple[int, int, int]]]:
        """(stream, channel, frame) of the symbols of each wave, in order."""
        dims = len(self._steps)
        lanes = self._streams * dims
        for wave in range(frames + lanes - 1 if lanes else 0):
            members = ((*divmod(lane, dims), wave - lane) for lane in range(lanes))
            yield [(s, d, t) for s, d, t in members if 0 <= t < frames]

    def decode(self, data: bytes, frames: int) -> Symbols:
        decoder = RangeDecoder(data)
        symbols = [[[0] * frames for _ in self._steps] for _ in range(self._streams)]
        for wave in self.waves(frames):
            columns = []
            for s, d, t in wave:
                nearest, phase, class_ = self.predict(symbols, s, d, t)
                columns.append((decoder.decode(self.cumulative(phase, class_)), nearest))
            for (s, d, t), (column, nearest) in zip(wave, columns, strict=True):
                away = column - 42
                if column in (1, 83):
                    u = decoder.decode([2**11 * i for i in range(2**13 + 1)])
                    assert u > 0
                    away = -40 - u if column == 1 else 40 + u
                symbols[s][d][t] = nearest + away
        assert decoder.at_end
        return symbols

    def dequantise(self, symbols: Symbols, s: int, d: int, t: int) -> float:
        """The latent of a symbol, in standard units."""
        nearest, phase, class_ = self.predict(symbols, s, d, t)
        symbol = symbols[s][d][t]
        k = symbol - nearest
        offset = 0.0
        low, high = (self.edge(edge, phase, class_) for edge in (k, k + 1))
        if abs(k) <= 40 and low < high:
            mass = moment = 0.0
            for cell in range(low // 4096, -(-high // 4096)):
                a, b = max(low, cell * 4096), min(high, cell * 4096 + 4096)
                mass += self._shape[cell] * (b - a)
                moment += self._shape[cell] * (b - a) * (a + b) / 2
            scales = (moment / mass - 384 * 4096) / 65536
            offset = scales * 2 ** (class_ / 4 - 5) - k + (2 * phase - 15) / 32
        return (symbol + min(max(offset, -0.5), 0.5)) * self._steps[d] / 2**20


@dataclass(frozen=True)
class BookLayer:
    """The waveform layer of a block as its bytes say."""

    step_index: int
    bins: int
    payload: bytes


@dataclass(frozen=True)
class BookBlock:
    """A block as its bytes say."""

    step_index: int
    frames: int
    silent: list[bool]
    payload: bytes
    layer: BookLayer | None


def read_file(data: bytes) -> tuple[dict[str, int], list[BookBlock]]:
    """Header fields and blocks of an undamaged file: "Header" and "Blocks"."""

    def number(position: int, width: int) -> int:
        return int.from_bytes(data[position : position + width], "little")

    def check(start: int, end: int) -> None:
        assert zlib.crc32(data[start:end]) == number(end, 4)

    assert data[:4] == b"LAC\x1a"
    end = number(6, 2)
    fields = {"version": data[4], "flags": data[5], "channels": data[12], "coded": data[13]}
    fields |= {"sample_rate": number(8, 4), "latent_dim": number(14, 2)}
    fields |= {"model_sample_rate": number(18, 4), "hop_length": number(22, 4)}
    fields["coding_id"] = number(26, 8)
    check(0, end - 4)
    layered, mask_bytes = bool(fields["flags"] & 4), -(-fields["coded"] // 8)
    blocks: list[BookBlock] = []
    sizes = []
    while data[end : end + 4] != b"LIDX":
        start = end
        assert data[start : start + 2] == b"\xa5L"
        assert number(start + 2, 2) == len(blocks)
        frames = number(start + 4, 2)
        step_index, length = number(start + 6, 2) & 0x7FFF, number(start + 8, 4)
        mask = start + (19 if layered else 12)
        bits = number(mask, mask_bytes)
        silent = [bool(bits >> c & 1) for c in range(fields["coded"])]
        payload = mask + mask_bytes
        end = payload + length + 4
        check(start, end - 4)
        base, layer = data[payload : end - 4], None
        if layered:
            begin, end = end, end + number(start + 15, 4) + 4
            check(begin, end - 4)
            bins = 16 * number(start + 14, 1)
            layer = BookLayer(number(start + 12, 2) & 0x7FFF, bins, data[begin : end - 4])
        blocks.append(BookBlock(step_index, frames, silent, base, layer))
        sizes.append(end - start)
    assert number(end + 4, 4) == len(blocks)
    assert [number(end + 16 + 4 * i, 4) for i in range(len(blocks))] == sizes
    fields["samples"] = number(end + 8, 8)
    check(end, end + 16 + 4 * len(blocks))
    footer = end + 20 + 4 * len(blocks)
    assert len(data) == footer + 20
    assert data[footer : footer + 8] == data[end + 8 : end + 16]
    assert number(footer + 8, 4) == len(blocks)
    check(footer, footer + 12)
    assert data[-4:] == b"LEND"
    return fields, blocks
