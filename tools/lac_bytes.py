"""Parts of a forged ``.lac`` file: numbers at their extremes, other payloads, endings that fit."""

from __future__ import annotations

import random
import struct
import zlib

import numpy as np
from lac_samples import Sample


def with_crc(data: bytes) -> bytes:
    return data + struct.pack("<I", zlib.crc32(data))


def ending_of(samples: int, sizes: list[int], count: int | None = None) -> bytes:
    """Index and footer; ``count`` is what the footer says, if it is to lie."""
    index = struct.pack("<4sIQ", b"LIDX", len(sizes), samples) + np.array(sizes, "<u4").tobytes()
    footer = with_crc(struct.pack("<QI", samples, len(sizes) if count is None else count))
    return with_crc(index) + footer + b"LEND"


def fields_of(layout: str, position: int) -> list[tuple[int, int]]:
    """(position, bytes) of each number of a struct."""
    fields = []
    for kind in layout:
        fields.append((position, struct.calcsize("<" + kind)))
        position += fields[-1][1]
    return fields


def extreme(rng: random.Random, old: int, width: int) -> int:
    most = (1 << 8 * width) - 1
    edges = [0, 1, 2, 255, most, most - 1, most >> 1, (most >> 1) + 1]
    edges += [old + 1, old - 1, old * 2, rng.getrandbits(8 * width), rng.getrandbits(8)]
    return rng.choice(edges) & most


def set_extremes(rng: random.Random, data: bytearray, fields: list[tuple[int, int]]) -> None:
    for position, width in rng.sample(fields, rng.choice([1, 1, 2, 3])):
        old = int.from_bytes(data[position : position + width], "little")
        data[position : position + width] = extreme(rng, old, width).to_bytes(width, "little")


def other_payload(rng: random.Random, data: bytes) -> bytes:
    payload = bytearray(data)
    how = rng.randrange(5)
    if how == 0 and payload:
        payload[rng.randrange(len(payload))] ^= 1 << rng.randrange(8)
    elif how == 1:
        payload = payload[: rng.randrange(len(payload) + 1) // rng.choice([1, 4]) * 4]
    elif how == 2:
        payload += rng.choice([bytes(4), b"\xff" * 4, rng.randbytes(rng.choice([1, 8, 400]))])
    elif how == 3:
        payload[:] = rng.choice([b"\0", b"\xff"]) * len(payload)
    else:
        payload[:] = rng.randbytes(len(payload))
    return bytes(payload)


def with_block(rng: random.Random, sample: Sample, number: int, block: bytes) -> bytes:
    """The file with another block, and mostly an index that fits."""
    begin, end = sample.spans[number]
    sizes = [stop - start for start, stop in sample.spans]
    if rng.random() < 0.8:
        sizes[number] = len(block)
    samples = int.from_bytes(sample.data[-20:-12], "little")
    return (
        sample.data[:begin]
        + block
        + sample.data[end : sample.spans[-1][1]]
        + ending_of(samples, sizes)
    )
