"""A .lac file of eight blocks with its parts, and what it must read as."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np

from codec.entropy.static_tables import EntropyTables
from codec.lac.header import LacHeader
from codec.lac.reader import LacReader
from codec.lac.writer import LacWriter

FRAMES = 20
BLOCKS = 8  # seven whole ones and one of 7 frames
SAMPLES = (7 * FRAMES + 7) * 1024 - 100
STEP = 240


def make_tables() -> EntropyTables:
    histogram = np.full((4, 768), 1, dtype=np.int64)
    histogram[:, 368:400] += ((1 << 22) - 768) // 32  # uniform from -1/2 to 1/2
    return EntropyTables(np.full(4, 104858, dtype=np.int32), histogram.astype(np.int32))


TABLES = make_tables()


def make_header(**changes: object) -> LacHeader:
    fields: dict[str, object] = {
        "sample_rate": 44100,
        "channels": 2,
        "coded_channels": 2,
        "latent_dim": 4,
        "frames_per_block": FRAMES,
        "model_sample_rate": 44100,
        "hop_length": 1024,
        "coding_id": bytes(range(8)),
        "model": "tiny",
        "tags": {"title": "Lücke", "artist": ""},
        "context_coded": False,
    }
    return LacHeader(**(fields | changes))  # type: ignore[arg-type]


def make_symbols(header: LacHeader, blocks: int = BLOCKS) -> list[np.ndarray]:
    """Symbols from a formula, so that golden bytes do not hang on a random generator."""
    frames = (blocks - 1) * header.frames_per_block + min(7, header.frames_per_block)
    shape = (header.coded_channels, header.latent_dim, frames)
    symbols = (np.arange(np.prod(shape)) * 7919 % 9 - 4).reshape(shape).astype(np.int16)
    return np.split(symbols, range(header.frames_per_block, frames, header.frames_per_block), -1)


class Pipe(io.RawIOBase):
    """An output that can only be written to."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.data += data
        return len(data)


def make_file(header: LacHeader, blocks: int = BLOCKS) -> bytes:
    out = Pipe()
    writer = LacWriter(out, header, TABLES)
    for index, symbols in enumerate(make_symbols(header, blocks)):
        silent = np.zeros(header.coded_channels, dtype=bool)
        silent[-1] = index == 2
        writer.write_block(symbols, STEP, silent)
    writer.close(SAMPLES if blocks == BLOCKS else 0)
    return out.data


HEADER = make_header()
FILE = make_file(HEADER)
START = len(HEADER.to_bytes())


def block_spans() -> list[tuple[int, int]]:
    """(start, end) of every block of FILE, from its index."""
    sizes = struct.unpack_from(f"<{BLOCKS}I", FILE, len(FILE) - 20 - 4 - 4 * BLOCKS)
    ends = (START + np.cumsum(sizes)).tolist()
    return list(zip([START, *ends], ends, strict=False))


def assert_reads(data: bytes, lost: set[int], blocks: int = BLOCKS) -> LacReader:
    """The blocks in ``lost`` are reported, and every other one holds what was written."""
    reader = LacReader(data)
    assert reader.damaged == sorted(lost)
    found = list(reader.blocks(TABLES))
    assert len(found) == blocks
    for index, symbols in enumerate(make_symbols(HEADER)[:blocks]):
        block = found[index]
        if index in lost:
            assert block is None
            continue
        assert block is not None
        expected = symbols.copy()
        if index == 2:
            expected[1] = 0
        assert (block.symbols == expected).all()
        assert block.silent.tolist() == [False, index == 2]
    return reader


def with_crc(data: bytes) -> bytes:
    return data + struct.pack("<I", zlib.crc32(data))


STEPS = [240, 97, 97, 1023, 0, 240, 400, 97]
