"""The end of a ``.lac`` file: an index of the blocks' sizes, and a footer from which it is found.

Both hold the number of blocks and the exact length of the source, each with a CRC-32 of its own.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.errors import FormatError
from codec.lac.header import CRC_BYTES, LacHeader, crc_holds, with_crc

INDEX_MARKER = b"LIDX"
FOOTER_MARKER = b"LEND"

_INDEX = struct.Struct("<4sIQ")  # marker, blocks, samples
_FOOTER = struct.Struct("<QII4s")  # samples, blocks, CRC-32, marker


@dataclass(frozen=True)
class Index:
    """A seek index whose CRC holds."""

    position: int
    """Position of its first byte in the file."""
    samples: int
    sizes: NDArray[np.int64]
    """Bytes of each block."""


@dataclass(frozen=True)
class Footer:
    """A footer whose CRC holds."""

    samples: int
    blocks: int


def trailer_bytes(sizes: Sequence[int], samples: int) -> bytes:
    """Index and footer of a file with blocks of these sizes."""
    count = len(sizes)
    index = _INDEX.pack(INDEX_MARKER, count, samples) + np.array(sizes, dtype="<u4").tobytes()
    crc = zlib.crc32(struct.pack("<QI", samples, count))
    return with_crc(index) + _FOOTER.pack(samples, count, crc, FOOTER_MARKER)


def parse_footer(data: bytes) -> Footer | None:
    """The footer at the very end of a file, if it is intact."""
    tail = data[-_FOOTER.size :]
    if len(tail) < _FOOTER.size:
        return None
    samples, blocks, crc, marker = _FOOTER.unpack(tail)
    intact = marker == FOOTER_MARKER and crc == zlib.crc32(tail[:12])
    return Footer(samples, blocks) if intact else None


def index_position(data: bytes, footer: Footer) -> int:
    """Where the index of a file with this footer stands, if nothing is missing."""
    return len(data) - _FOOTER.size - _INDEX.size - 4 * footer.blocks - CRC_BYTES


def index_end(data: bytes, position: int) -> int | None:
    """Where the index that seems to stand at a position ends; None if none can."""
    if position < 0 or position + _INDEX.size > len(data):
        return None
    marker, count, _ = _INDEX.unpack_from(data, position)
    end = position + _INDEX.size + 4 * count + CRC_BYTES
    return end if marker == INDEX_MARKER and end <= len(data) else None


def parse_index(data: bytes, position: int, end: int) -> Index | None:
    """The index between two positions, if it is intact."""
    if not crc_holds(data[position:end]):
        return None
    _, count, samples = _INDEX.unpack_from(data, position)
    sizes = np.frombuffer(data, "<u4", count, position + _INDEX.size)
    return Index(position, samples, sizes.astype(np.int64))


def check_samples(samples: int, frames: int, header: LacHeader) -> None:
    """Raises FormatError for a length that so many latent frames cannot have.

    One hop more than the frames hold is allowed: resamplers round lengths either way.
    """
    most = (frames + 1) * header.hop_length * header.sample_rate // header.model_sample_rate
    if not 0 <= samples <= most:
        raise FormatError(
            f"{samples} samples in {frames} latent frames, expected at most {most}: "
            f"the file is damaged or forged"
        )
