"""Mutants of small ``.lac`` files (lac_samples.py): what tools/fuzz_lac.py gives to a reader.

They are damaged in every way of ``KINDS``. Half of the kinds forge parts whose checksums hold, for
else hardly anything behind them is ever reached. A seed always makes the same mutant.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from lac_bytes import (
    ending_of,
    extreme,
    fields_of,
    other_payload,
    set_extremes,
    with_block,
    with_crc,
)
from lac_samples import (
    FIXED_HEADER,
    SMALL_FRAMES,
    Sample,
    layered_samples,
    network_samples,
    small_samples,
)

from codec.audio.waveform import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from codec.entropy.coefficients import encode
from codec.lac.header import MAX_BLOCK_SECONDS, MAX_HOP_LENGTH
from codec.model.blocks import FRAMES_PER_BLOCK

NETWORK_EVERY = 200
"""Every 200th seed mutates a file of the codec's own block length and decodes its sound too."""


def _range(rng: random.Random, data: bytes | bytearray) -> tuple[int, int]:
    begin = rng.randrange(len(data))
    return begin, min(len(data), begin + rng.choice([1, 2, 4, 15, 60, 300, len(data)]))


def flip(rng: random.Random, sample: Sample) -> bytes:
    data = bytearray(sample.data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def overwrite(rng: random.Random, sample: Sample) -> bytes:
    data = bytearray(sample.data)
    begin, end = _range(rng, data)
    data[begin:end] = rng.choice([bytes(end - begin), rng.randbytes(end - begin)])
    return bytes(data)


def delete(rng: random.Random, sample: Sample) -> bytes:
    begin, end = _range(rng, sample.data)
    return sample.data[:begin] + sample.data[end:]


def truncate(rng: random.Random, sample: Sample) -> bytes:
    return sample.data[: rng.randrange(len(sample.data))]


def duplicate(rng: random.Random, sample: Sample) -> bytes:
    begin, end = _range(rng, sample.data)
    return sample.data[:end] + sample.data[begin:end] + sample.data[end:]


def insert(rng: random.Random, sample: Sample) -> bytes:
    position = rng.randrange(len(sample.data) + 1)
    added = rng.choice(
        [
            rng.randbytes(rng.choice([1, 4, 100])),
            b"\xa5L" * rng.choice([1, 50, 3_000]),
            (b"LIDX" + rng.randbytes(2) + b"\0\0") * rng.choice([1, 50, 1_000]),
            b"LEND" * 20,
            struct.pack("<2sHHHI", b"\xa5L", rng.randrange(9), 1, 0, 50) * rng.choice([1, 800]),
        ]
    )
    return sample.data[:position] + added + sample.data[position:]


def swap(rng: random.Random, sample: Sample) -> bytes:
    a, b, c, d = sorted(rng.randrange(len(sample.data) + 1) for _ in range(4))
    data = sample.data
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def several(rng: random.Random, sample: Sample) -> bytes:
    for _ in range(rng.randint(2, 4)):
        changed = rng.choice([flip, overwrite, delete, duplicate, insert, swap])(rng, sample)
        sample = replace(sample, data=changed or b"L")
    return sample.data


def splice(rng: random.Random, sample: Sample) -> bytes:
    other = rng.choice(small_samples()).data
    return sample.data[: rng.randrange(len(sample.data))] + other[rng.randrange(len(other)) :]


def forge_header(rng: random.Random, sample: Sample) -> bytes:
    data = bytearray(sample.data)
    fields = fields_of("BBHIBBHHIIQB", 4)
    name_length = fields[-1][0]
    tags = name_length + 1 + data[name_length]
    fields.append((tags, 1))
    if data[tags]:
        fields += [(tags + 1, 1), (tags + 2 + data[tags + 1], 2)]
    set_extremes(rng, data, fields)
    # As long as it says now: a header that claims another length is checked there.
    length = int.from_bytes(data[6:8], "little")
    end = length if 40 <= length <= len(data) and rng.random() < 0.8 else sample.start
    return with_crc(bytes(data[: end - 4])) + bytes(data[end:])


def forge_text(rng: random.Random, sample: Sample) -> bytes:
    """Other bytes where names and tags stand, longer or shorter, and a length that fits."""
    texts = bytearray(sample.data[FIXED_HEADER : sample.start - 4])
    position = rng.randrange(len(texts) + 1)
    texts[position : position + rng.choice([0, 1, 5])] = rng.choice(
        [
            b"",
            b"\xff",
            b"\0",
            b"\x01k\x00\x00" * rng.choice([1, 255]),
            rng.randbytes(9),
            b"\xc3" * 3,
        ]
    )
    length = FIXED_HEADER + len(texts) + 4
    head = sample.data[:6] + length.to_bytes(2, "little") + sample.data[8:FIXED_HEADER]
    return with_crc(head + bytes(texts)) + sample.data[sample.start :]


def forge_block(rng: random.Random, sample: Sample) -> bytes:
    """Another number, frame count, step, length or silence mask in a block."""
    number = rng.randrange(len(sample.spans))
    begin, end = sample.spans[number][0], sample.base_end(number)
    data = bytearray(sample.data)
    fields = fields_of("HHHIHBIB" if sample.header.layered else "HHHIB", begin + 2)
    set_extremes(rng, data, fields)
    return bytes(data[:begin]) + with_crc(bytes(data[begin : end - 4])) + bytes(data[end:])


def forge_payload(rng: random.Random, sample: Sample) -> bytes:
    """Other coded symbols in a block; where they are of another length, an index that fits."""
    number = rng.randrange(len(sample.spans))
    begin, body, end = sample.spans[number][0], sample.body(number), sample.base_end(number)
    payload = other_payload(rng, sample.data[body : end - 4])
    head = sample.data[begin : begin + 8] + len(payload).to_bytes(4, "little")
    block = with_crc(head + sample.data[begin + 12 : body] + payload)
    return with_block(rng, sample, number, block + sample.data[end : sample.spans[number][1]])


def forge_layer(rng: random.Random, sample: Sample) -> bytes:
    """Other fields of a waveform layer, or other coefficients and splits, whose checksums hold."""
    number = rng.randrange(len(sample.spans))
    (begin, end), base_end = sample.spans[number], sample.base_end(number)
    fields = bytearray(sample.data[begin + 12 : begin + 19])
    payload = sample.data[base_end : end - 4]
    how = rng.randrange(3)
    if how == 0:
        set_extremes(rng, fields, fields_of("HBI", 0))
    elif how == 1:
        payload = other_payload(rng, payload)
    else:  # of another shape
        shape = rng.choice([1, 2, 3]), rng.choice([1, 6, 20]), 16 * rng.choice([0, 1, 3])
        values = np.random.default_rng(rng.getrandbits(32))
        payload = encode(
            values.integers(-40, 41, shape).astype(np.int16), values.integers(0, 4, shape[1])
        )
        if rng.random() < 0.5:
            fields[2] = shape[2] // 16
    if how:
        fields[3:] = len(payload).to_bytes(4, "little")
    rest = sample.data[begin + 19 : base_end - 4]
    base = with_crc(sample.data[begin : begin + 12] + bytes(fields) + rest)
    return with_block(rng, sample, number, base + with_crc(payload))


def damage_layer(rng: random.Random, sample: Sample) -> bytes:
    """Flipped bits, or other bytes, within the waveform layer of a block."""
    number = rng.randrange(len(sample.spans))
    data, begin, end = bytearray(sample.data), sample.base_end(number), sample.spans[number][1]
    if rng.random() < 0.5:
        data[rng.randrange(begin, end)] ^= 1 << rng.randrange(8)
    else:
        first = rng.randrange(begin, end)
        last = min(end, first + rng.choice([1, 4, 60]))
        data[first:last] = rng.choice([bytes(last - first), rng.randbytes(last - first)])
    return bytes(data)


def forge_ending(rng: random.Random, sample: Sample) -> bytes:
    """An index and a footer that lie."""
    sizes = [stop - start for start, stop in sample.spans]
    samples = int.from_bytes(sample.data[-20:-12], "little")
    count = None
    for what in rng.sample(range(5), rng.choice([1, 2])):
        if what == 0:
            samples = extreme(rng, samples, rng.choice([1, 2, 4, 8]))
        elif what == 1:
            count = extreme(rng, len(sizes), rng.choice([1, 2, 4]))
        elif what == 2:
            number = rng.randrange(len(sizes))
            sizes[number] = extreme(rng, sizes[number], 4)
        elif what == 3:
            sizes = sizes[: rng.randint(1, len(sizes))]
        else:
            sizes += [rng.choice([0, 1, 16, 2**32 - 1])] * rng.choice([1, 100, 5_000])
    ending = ending_of(samples, sizes, count)
    if rng.random() < 0.3:  # one of the two only
        ending = rng.choice([ending[:-20], ending[-20:]])
    return sample.data[: sample.spans[-1][1]] + ending


def rebuild(rng: random.Random, sample: Sample) -> bytes:
    """Blocks dropped, repeated, moved and renumbered, of this file or of another, and an ending
    that fits them."""
    pool = [(sample, index) for index in range(len(sample.spans))]
    if rng.random() < 0.3:
        other = rng.choice(small_samples())
        pool += [(other, index) for index in range(len(other.spans))]
    picked = rng.choices(pool, k=rng.choice([1, 2, 6, 40]))
    if rng.random() < 0.3:
        picked.sort(key=lambda item: item[0].spans[item[1]])
    renumber = rng.random() < 0.7
    out = sample.data[: sample.start]
    sizes: list[int] = []
    jump = rng.choice([0, 0, 0, 1, 0x7FFF, 0x8000])
    for number, (source, index) in enumerate(picked):
        (begin, end), middle = source.spans[index], source.base_end(index)
        base, layer = source.data[begin:middle], source.data[middle:end]
        block = base + layer
        if renumber:
            sequence = number + jump * number & 0xFFFF
            block = with_crc(base[:2] + sequence.to_bytes(2, "little") + base[4:-4]) + layer
        out, sizes = out + block, [*sizes, len(block)]
    if rng.random() < 0.3:
        return out  # no ending: the numbers alone say what is missing
    return out + ending_of(rng.choice([0, 1, 700]), sizes)


def declare_much(rng: random.Random, sample: Sample) -> bytes:
    """A valid header at the format's limits, and blocks of a few bytes that claim to fill it."""
    old, layered = sample.header, sample.header.layered
    small = old.frames_per_block == SMALL_FRAMES
    coded = rng.choice([1, 2, 8] if layered else [1, 2, 8, 16, 255])
    frames = FRAMES_PER_BLOCK
    if small:
        frames = rng.choice([1, 255, 256 if coded < 8 else 64] if layered else [1, 255, 256, 4096])
    model_rate, hop = old.model_sample_rate, old.hop_length
    if small and not layered:
        model_rate = rng.choice([MIN_SAMPLE_RATE, MAX_SAMPLE_RATE])
        hop = rng.choice([1, min(MAX_HOP_LENGTH, MAX_BLOCK_SECONDS * model_rate // frames)])
    header = replace(
        old,
        channels=rng.choice([coded, 255]),
        coded_channels=coded,
        sample_rate=rng.choice([1_000, 16_000, 44_100, 768_000]),
        frames_per_block=frames,
        model_sample_rate=model_rate,
        hop_length=hop,
        context_coded=rng.random() < 0.5,
    )
    data = header.to_bytes()
    sizes: list[int] = []
    for number in range(rng.choice([1, 1, 3, 30])):
        mask = rng.choice([0, 0, (1 << coded) - 1, rng.getrandbits(coded)])
        payload = rng.choice([b"", bytes(4), bytes(64), b"\xff" * 64, rng.randbytes(32)])
        step = rng.choice([0, 400, 1023, rng.randrange(1024)])
        length = frames if rng.random() < 0.8 else rng.randint(1, frames)
        start = struct.pack("<2sHHHI", b"\xa5L", number, length, step, len(payload))
        layer = b""
        if layered:
            layer = with_crc(rng.choice([b"", bytes(4), bytes(64), rng.randbytes(400)]))
            start += struct.pack("<HBI", step, rng.choice([0, 1, 128]), len(layer) - 4)
        block = with_crc(start + mask.to_bytes(header.mask_bytes, "little") + payload) + layer
        data, sizes = data + block, [*sizes, len(block)]
    held = len(sizes) * frames * header.hop_length * header.sample_rate
    count = rng.choice([None, None, 65_000])
    return data + ending_of(rng.choice([0, 1, held // header.model_sample_rate]), sizes, count)


@dataclass(frozen=True)
class Kind:
    """A way to make a mutant of a file, and what must hold for all of its mutants."""

    mutate: Callable[[random.Random, Sample], bytes]
    honest: bool
    """No checksum was made to fit: a block that is found is the one that was written."""
    local: bool
    """Blocks that it did not touch are in their places and must be found."""
    of_layers: bool = False
    """It is for files with waveform layers."""


KINDS = {
    kind.mutate.__name__: kind
    for kind in (
        *(Kind(mutate, True, True) for mutate in (flip, overwrite, delete, truncate)),
        *(Kind(mutate, True, True) for mutate in (duplicate, insert)),
        *(Kind(mutate, True, False) for mutate in (swap, several)),
        *(Kind(mutate, False, True) for mutate in (forge_block, forge_payload)),
        Kind(damage_layer, True, True, of_layers=True),
        Kind(forge_layer, False, True, of_layers=True),
        *(Kind(mutate, False, False) for mutate in (forge_header, forge_text, forge_ending)),
        *(Kind(mutate, False, False) for mutate in (splice, rebuild, declare_much)),
    )
}


@dataclass(frozen=True)
class Mutant:
    seed: int
    kind: str
    sample: Sample
    data: bytes

    @property
    def header_holds(self) -> bool:
        return self.data.startswith(self.sample.data[: self.sample.start])

    def untouched(self) -> set[int]:
        """The blocks before and after everything that was changed, or between the changes."""
        old, new = self.sample.data, self.data
        shorter = min(len(old), len(new))
        before = _common(old[:shorter], new[:shorter])
        after = _common(old[::-1][: shorter - before], new[::-1][: shorter - before])
        return {
            number
            for number, (begin, end) in enumerate(self.sample.spans)
            if end <= before
            or begin >= len(old) - after
            or (len(old) == len(new) and old[begin:end] == new[begin:end])
        }


def _common(a: bytes, b: bytes) -> int:
    """How many bytes two texts of one length begin with alike."""
    differ = np.flatnonzero(np.frombuffer(a, np.uint8) != np.frombuffer(b, np.uint8))
    return int(differ[0]) if len(differ) else len(a)


def make_mutant(seed: int) -> Mutant:
    """The mutant of a seed: always the same bytes."""
    rng = random.Random(seed)
    sample = rng.choice(small_samples() if seed % NETWORK_EVERY else network_samples())
    name = rng.choice(list(KINDS))
    if KINDS[name].of_layers and not sample.header.layered:
        sample = rng.choice(layered_samples())
    return Mutant(seed, name, sample, KINDS[name].mutate(rng, sample))
