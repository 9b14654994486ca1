"""The .lac container: what is written is read, by the block, and pinned byte by byte."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from golden_coder import fixed_tables
from lac_helpers import (
    BLOCKS,
    FILE,
    FRAMES,
    HEADER,
    SAMPLES,
    STEP,
    STEPS,
    TABLES,
    Pipe,
    assert_reads,
    block_spans,
    make_file,
    make_header,
    with_crc,
)

from codec.entropy.coder import SymbolCoder
from codec.errors import FormatError
from codec.lac import reader
from codec.lac.reader import Block, LacReader, verify
from codec.lac.writer import LacWriter


def test_whole_file():
    reader = assert_reads(FILE, set())
    assert reader.header == HEADER
    assert reader.samples == SAMPLES
    assert reader.complete
    assert reader.frames == 7 * FRAMES + 7
    assert reader.block_bytes == [end - start for start, end in block_spans()]
    assert LacReader(io.BytesIO(FILE)).samples == SAMPLES


def only_block(data: bytes, coder: SymbolCoder = TABLES) -> Block:
    """The content of a file of one block."""
    (block,) = LacReader(data).blocks(coder)
    assert block is not None
    return block


def test_a_part_of_the_blocks():
    whole = list(LacReader(FILE).blocks(TABLES))
    for first, last in ((0, 3), (2, 3), (5, None), (7, 99), (3, 3), (8, None)):
        part = list(LacReader(FILE).blocks(TABLES, first, last))
        assert len(part) == len(whole[first:last])
        for block, expected in zip(part, whole[first:last], strict=True):
            assert block is not None
            assert expected is not None
            assert (block.symbols == expected.symbols).all()


class Counting:
    """A coder that notes what it is asked to decode."""

    def __init__(self, coder: SymbolCoder) -> None:
        self._coder, self.calls = coder, []

    def __getattr__(self, name: str) -> object:
        return getattr(self._coder, name)

    def decode(self, payloads: list[bytes], *rest: object) -> np.ndarray:
        self.calls.append(len(payloads))
        return self._coder.decode(payloads, *rest)  # type: ignore[arg-type]


def test_blocks_are_decoded_a_few_at_a_time_and_only_when_wanted(monkeypatch):
    monkeypatch.setattr(reader, "SYMBOLS_AT_ONCE", 3 * 2 * 4 * FRAMES)
    coder = Counting(TABLES)
    blocks = LacReader(FILE).blocks(coder)  # type: ignore[arg-type]
    assert coder.calls == []
    next(blocks)
    # Blocks 0 to 2; the last of them has a silent channel, hence fewer streams.
    assert coder.calls == [2, 1]
    assert len(list(blocks)) == BLOCKS - 1
    assert coder.calls == [2, 1, 3, 2]


def test_every_block_has_its_own_step(stepped):
    data, coder, blocks = stepped
    reader = LacReader(data)
    found = list(reader.blocks(coder))
    for index, (block, symbols) in enumerate(zip(found, blocks, strict=True)):
        assert block is not None
        assert (block.symbols == symbols).all()
        assert block.latents.dtype == np.float32
        stored = symbols[~block.silent]
        assert (block.latents[~block.silent] == coder.dequantise(stored, STEPS[index])).all()
        assert not block.latents[block.silent].any()
    (alone,) = reader.blocks(coder, 3, 4)
    assert alone is not None
    assert (alone.latents == found[3].latents).all()


def test_a_lost_block_leaves_the_others_of_its_group(stepped):
    data, coder, blocks = stepped
    reader = LacReader(data)
    start = len(reader.header.to_bytes()) + sum(reader.block_bytes[:4])
    damaged = data[: start + 20] + b"????" + data[start + 24 :]
    found = list(LacReader(damaged).blocks(coder))
    assert [i for i, block in enumerate(found) if block is None] == [4]
    for index in (0, 3, 5, 7):
        assert (found[index].symbols == blocks[index]).all()


def test_a_forged_step_is_refused_or_gives_symbols_within_its_limits(stepped):
    """The CRC holds, but the payload was made with another step."""
    data, coder, _ = stepped
    reader = LacReader(data)
    start = len(reader.header.to_bytes())
    end = start + reader.block_bytes[0]
    refused = 0
    for step in range(0, 1024, 31):
        block = data[start : start + 6] + struct.pack("<H", step) + data[start + 8 : end - 4]
        forged = LacReader(data[:start] + with_crc(block) + data[end:])
        try:
            first = next(forged.blocks(coder))
        except FormatError:
            refused += 1
            continue
        assert first is not None
        assert (np.abs(first.symbols) <= fixed_tables(4).at(step).limit[:, None]).all()
    assert refused > 25


# The worked example of docs/FORMAT.md: a change here is a new version of the format.
GOLDEN = (
    "4c41431a0300310044ac000002020400020044ac0000000400000001020304050607"
    "0474696e790101610100624447d68a"
    "a54c00000200f0000c0000000094754d0120398a817f5e14cbdc6ffcb8"
    "4c4944580100000000000000000000001d000000277d696b"
    "0000000000000000010000000aa169c34c454e44"
)


def test_golden_file():
    header = make_header(frames_per_block=2, tags={"a": "b"})
    assert make_file(header, blocks=1).hex() == GOLDEN
    assert only_block(bytes.fromhex(GOLDEN)).symbols.tolist() == [
        [[-4, 4], [3, 2], [1, 0], [-1, -2]],
        [[-3, -4], [4, 3], [2, 1], [0, -1]],
    ]


def test_the_page_shows_the_golden_file():
    page = (Path(__file__).parents[3] / "docs" / "FORMAT.md").read_text(encoding="utf-8")
    example = page.split("## Example")[1].split("```")[1]
    digits = "".join(re.split(r"  |\n", line)[0] for line in example.splitlines())
    assert digits.replace(" ", "") == GOLDEN


def test_silent_channels_cost_nothing():
    sizes = [end - start for start, end in block_spans()]
    assert sizes[2] < 0.6 * sizes[1]
    out = Pipe()
    writer = LacWriter(out, HEADER, TABLES)
    before = len(out.data)
    writer.write_block(np.zeros((2, 4, FRAMES), dtype=np.int16), STEP, np.array([True, True]))
    assert len(out.data) - before == 17
    assert HEADER.block_overhead == 17
    writer.close(FRAMES * 1024)
    block = only_block(out.data)
    assert block.silent.all()
    assert not block.symbols.any()


def test_255_channels():
    header = make_header(channels=255, coded_channels=255, frames_per_block=2, tags={})
    out = Pipe()
    writer = LacWriter(out, header, TABLES)
    symbols = (np.arange(255 * 4 * 2).reshape(255, 4, 2) % 5 - 2).astype(np.int16)
    silent = np.arange(255) % 3 == 0
    writer.write_block(symbols, STEP, silent)
    writer.close(2000)
    block = only_block(out.data)
    assert (block.silent == silent).all()
    assert (block.symbols[~silent] == symbols[~silent]).all()


def test_empty_file():
    out = Pipe()
    LacWriter(out, HEADER, TABLES).close(0)
    report = verify(out.data)
    assert report.ok
    assert (report.blocks, report.samples) == (0, 0)


def test_wrong_calls_are_named():
    writer = LacWriter(Pipe(), HEADER, TABLES)
    with pytest.raises(ValueError, match=r"expected \(2, 4, 1\.\.20\)"):
        writer.write_block(np.zeros((2, 4, FRAMES + 1), dtype=np.int16), STEP)
    with pytest.raises(ValueError, match="one flag per channel"):
        writer.write_block(np.zeros((2, 4, 3), dtype=np.int16), STEP, np.array([True]))
    with pytest.raises(ValueError, match=r"step_index 1024: expected 0\.\.1023"):
        writer.write_block(np.zeros((2, 4, 3), dtype=np.int16), 1024)
    writer.write_block(np.zeros((2, 4, 3), dtype=np.int16), STEP)
    with pytest.raises(ValueError, match="only the last one may be short"):
        writer.write_block(np.zeros((2, 4, FRAMES), dtype=np.int16), STEP)
    other = make_header(latent_dim=5)
    with pytest.raises(FormatError, match=r"latent_dim 5, the coder 4.*0001020304050607"):
        LacWriter(Pipe(), other, TABLES)


def test_any_kind_of_bytes():
    for data in (bytearray(FILE), memoryview(FILE), io.BytesIO(FILE)):
        assert LacReader(data).intact
        assert LacReader(data if not isinstance(data, io.BytesIO) else FILE).header == HEADER


def test_verify_reports_without_tables():
    assert verify(FILE).ok
    start, _ = block_spans()[6]
    report = verify(FILE[: start + 30] + b"\0\0\0" + FILE[start + 33 :])
    assert (report.ok, report.damaged, report.blocks) == (False, [6], BLOCKS)
    assert (report.samples, report.complete) == (SAMPLES, True)
