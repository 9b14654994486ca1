"""The container: what is written comes back, damage costs what it touches, lies are refused."""

from __future__ import annotations

import io
import random
import re
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from golden_coder import fixed_context, fixed_symbols, fixed_tables

from codec.entropy.coder import SymbolCoder
from codec.entropy.static_tables import EntropyTables
from codec.errors import FormatError
from codec.lac import reader
from codec.lac.header import LacHeader
from codec.lac.reader import Block, LacReader, verify
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
        "latent_id": bytes(range(8)),
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
    # Blocks 0 to 2; the last of them has a silent channel, hence another shape.
    assert coder.calls == [2, 1]
    assert len(list(blocks)) == BLOCKS - 1
    assert coder.calls == [2, 1, 3, 1, 1]


STEPS = [240, 97, 97, 1023, 0, 240, 400, 97]


@pytest.fixture(scope="module", params=["context", "static"])
def stepped(request: pytest.FixtureRequest) -> tuple[bytes, SymbolCoder, list[np.ndarray]]:
    """A file whose blocks have steps and silences of their own, its coder and its symbols."""
    tables = fixed_tables(4)
    coder: SymbolCoder = fixed_context(4) if request.param == "context" else tables
    out, blocks = Pipe(), []
    writer = LacWriter(out, make_header(context_coded=request.param == "context"), coder)
    for index, step in enumerate(STEPS):
        symbols = fixed_symbols((2, 4, 7 if index == 7 else FRAMES), tables.at(step).limit)
        silent = np.array([index in (2, 5), index in (1, 2)])
        writer.write_block(symbols, step, silent)
        blocks.append(np.where(silent[:, None, None], 0, symbols))
    writer.close(SAMPLES)
    return out.data, coder, blocks


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
    "4c41431a0200310044ac000002020400020044ac0000000400000001020304050607"
    "0474696e79010161010062e5d7c162"
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


@pytest.mark.parametrize("block", range(BLOCKS))
def test_one_flipped_bit_loses_one_block(block):
    start, end = block_spans()[block]
    for position in range(start, end):
        data = bytearray(FILE)
        data[position] ^= 1 << position % 8
        reader = assert_reads(bytes(data), {block})
        assert reader.complete


@pytest.mark.parametrize("block", range(BLOCKS))
def test_one_flipped_bit_without_the_index_loses_one_block(block):
    start, end = block_spans()[block]
    without_index = bytearray(FILE[: block_spans()[-1][1]])
    for position in range(start, end):
        data = without_index.copy()
        data[position] ^= 1 << position % 8
        reader = assert_reads(bytes(data), {block})
        assert reader.samples is None
        assert not reader.complete


def test_a_damaged_end_loses_no_block():
    for position in range(block_spans()[-1][1], len(FILE)):
        data = bytearray(FILE)
        data[position] ^= 16
        reader = assert_reads(bytes(data), set())
        assert reader.samples == SAMPLES  # index and footer both hold it
        assert not reader.complete


def test_truncation_keeps_the_blocks_before_it():
    ends = [end for _, end in block_spans()]
    for length in range(START, len(FILE)):
        whole = sum(end <= length for end in ends)
        cut_inside = whole < BLOCKS and length > ([START, *ends])[whole]
        lost = {whole} if cut_inside else set()
        assert_reads(FILE[:length], lost, blocks=whole + cut_inside)


def test_bytes_inserted_or_removed_cost_the_block_they_hit():
    spans = block_spans()
    start, end = spans[3]
    middle = (start + end) // 2
    assert_reads(FILE[:middle] + b"noise" * 9 + FILE[middle:], {3})
    assert_reads(FILE[:middle] + FILE[middle + 4 :], {3})
    assert_reads(FILE[:start] + b"\xa5L" * 50 + FILE[start:], set())
    assert_reads(FILE[:start] + FILE[spans[5][0] :], {3, 4})
    assert_reads(FILE[:end] + FILE[start:end] + FILE[end:], set())  # a block twice
    assert_reads(FILE + b"trailing noise", set())


def forged_block(
    number: int, frames: int = FRAMES, step: int = STEP, payload: bytes = b"", mask: int = 3
) -> bytes:
    """A block for HEADER whose CRC holds; silent in both channels unless told otherwise."""
    start = struct.pack("<2sHHHIB", b"\xa5L", number, frames, step, len(payload), mask)
    return with_crc(start + payload)


def test_blocks_that_are_whole_but_cannot_be_right_are_lost():
    header = HEADER.to_bytes()
    for wrong in (
        forged_block(1, frames=FRAMES - 1),  # short, but not the last
        forged_block(1, frames=FRAMES + 1),
        forged_block(1, frames=0),
        forged_block(1, step=1024),
        forged_block(1, mask=7),  # a third channel
        forged_block(1, payload=b"\0" * (2 * 4 * FRAMES * 5 + 9), mask=0),
    ):
        reader = LacReader(header + forged_block(0) + wrong + forged_block(2))
        assert (reader.damaged, reader.block_count) == ([1], 3)


def test_blocks_out_of_order_are_lost():
    header = make_header(tags={})
    out = Pipe()
    writer = LacWriter(out, header, TABLES)
    for symbols in make_symbols(header, 4):
        writer.write_block(symbols, STEP, np.array([True, True]))
    writer.close(0)
    a, b = len(header.to_bytes()) + 17, len(header.to_bytes()) + 34
    swapped = out.data[:a] + out.data[b : b + 17] + out.data[a:b] + out.data[b + 17 :]
    assert LacReader(swapped).damaged == [1, 2]


def test_old_blocks_seen_again_are_skipped_without_the_index():
    spans = block_spans()
    start, end = spans[3]
    assert_reads(FILE[:end] + FILE[start:end] + FILE[end : spans[-1][1]], set())


def most_blocks(data: bytes) -> int:
    """What a file can be believed to hold, as docs/FORMAT.md has it."""
    return 2 * ((len(data) - START) // 17) + 1


@pytest.mark.parametrize("blocks", [9, 100, 65_000, 2**32 - 1])
@pytest.mark.parametrize("body", [b"", b"x" * 36, forged_block(0), forged_block(0) * 2])
def test_a_footer_cannot_claim_more_than_the_bytes_can_hold(blocks: int, body: bytes):
    """A file of 105 bytes claimed 65,000 blocks: 214 hours, 68 GB."""
    samples = min(blocks, 65_000) * FRAMES * 1024
    footer = with_crc(struct.pack("<QI", samples, blocks)) + b"LEND"
    data = HEADER.to_bytes() + body + footer
    reader = LacReader(data)
    assert reader.block_count <= most_blocks(data) <= 9
    assert reader.samples is None
    assert reader.frames <= most_blocks(data) * FRAMES
    assert verify(data).blocks == reader.block_count


def test_an_index_cannot_claim_more_than_the_bytes_can_hold():
    count = 5_000  # 4 bytes of index each, where the smallest block takes 17
    index = with_crc(struct.pack("<4sIQ", b"LIDX", count, 0) + bytes(4 * count))
    footer = with_crc(struct.pack("<QI", 0, count)) + b"LEND"
    data = HEADER.to_bytes() + forged_block(0) + index + footer
    assert LacReader(data).block_count <= most_blocks(data) < count


@pytest.mark.parametrize("jump", [2, 100, 0x7000, 0x7FFF])
def test_gaps_cannot_claim_more_than_the_bytes_can_hold(jump: int):
    jumps = b"".join(forged_block(i * jump & 0xFFFF) for i in range(1000))
    data = HEADER.to_bytes() + jumps
    assert LacReader(data).block_count <= most_blocks(data)


def test_silence_of_which_a_part_is_missing_keeps_the_rest():
    """The smallest blocks there are: a third of them is gone."""
    blocks = [forged_block(i) for i in range(300)]
    data = HEADER.to_bytes() + b"".join(blocks[:100] + blocks[200:])
    reader = LacReader(data)
    assert (reader.block_count, reader.damaged) == (300, list(range(100, 200)))


def test_remains_of_the_end_are_not_taken_for_a_block():
    end = block_spans()[-1][1]
    assert_reads(FILE[:end] + b"what was an index", set())  # nothing follows a short block
    whole = HEADER.to_bytes() + forged_block(0)
    for length in range(1, 5):
        assert LacReader(whole + b"LIDX"[:length]).block_count == 1
    assert LacReader(whole + b"\xa5").damaged == [1]


def test_sequence_numbers_go_round():
    header = make_header(coded_channels=1, frames_per_block=1)
    block = [forged_block(i & 0xFFFF, frames=1, mask=1) for i in range(70_000)]
    del block[66_000:66_010]
    reader = LacReader(header.to_bytes() + b"".join(block))
    assert (reader.block_count, reader.damaged) == (70_000, list(range(66_000, 66_010)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_rate": 999}, r"sample_rate is 999, expected 1000\.\.768000"),
        ({"sample_rate": 768_001}, "sample_rate is 768001"),
        ({"sample_rate": 1 << 31}, "sample_rate is 2147483648"),
        ({"model_sample_rate": 0}, r"model_sample_rate is 0, expected 1000\.\.768000"),
        ({"frames_per_block": 4096, "hop_length": 4096}, r"seconds in a block is 380\.\d+"),
        ({"channels": 256}, "channels is 256, expected 1..255"),
        ({"coded_channels": 3}, "coded_channels is 3, expected 1..2"),
        ({"latent_dim": 60_000}, "latent_dim is 60000, expected 1..1024"),
        ({"frames_per_block": 10**9}, "frames_per_block is 1000000000, expected 1..4096"),
        ({"latent_dim": 1024, "frames_per_block": 4096}, "symbols in a block is 8388608"),
        ({"hop_length": 0}, "hop_length is 0"),
        ({"latent_id": b"short"}, "latent_id of 5 bytes: expected 8"),
        ({"model": "a b"}, r"name is 'a b', expected letters"),
        ({"model": "\x1b[2J"}, r"name is '\\x1b\[2J', expected letters"),
        ({"model": "klein-\u00e4"}, "expected letters"),
        ({"model": ""}, "bytes of model name is 0, expected 1..255"),
        ({"tags": {"k" * 256: ""}}, "is 256, expected 1..255"),
        ({"tags": {"lyrics": "la" * 10_000}}, "is 20000, expected 0..16384"),
        ({"tags": {f"{i}": "x" * 9000 for i in range(2)}}, "bytes of tags is 18008"),
        ({"tags": {"title": "\udc80"}}, "expected valid Unicode"),
    ],
)
def test_absurd_headers_are_refused(changes, message):
    with pytest.raises(FormatError, match=message):
        make_header(**changes)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (12, struct.pack("<B", 0), "channels is 0"),
        (14, struct.pack("<H", 60_000), "latent_dim is 60000"),
        (16, struct.pack("<H", 0xFFFF), "frames_per_block is 65535"),
        (22, struct.pack("<I", 0), "hop_length is 0"),
        (34, b"\xff", "expected at most"),
    ],
)
def test_forged_headers_are_refused(offset, value, message):
    header = bytearray(HEADER.to_bytes()[:-4])
    header[offset : offset + len(value)] = value
    with pytest.raises(FormatError, match=message):
        LacReader(with_crc(bytes(header)) + FILE[START:])


def test_files_that_are_something_else_are_named():
    with pytest.raises(FormatError, match=r"RIFF.*not a \.lac file"):
        LacReader(b"RIFF....WAVE")
    with pytest.raises(FormatError, match="not a"):
        LacReader(b"")
    for version, flags in ((0, 0), (1, 0), (1, 1), (2, 2), (2, 128), (3, 0), (9, 0)):
        message = f"version {version} with flags {flags:#04x}, expected version 2"
        with pytest.raises(FormatError, match=message):
            LacReader(FILE[:4] + bytes([version, flags]) + FILE[6:])
    with pytest.raises(FormatError, match=r"CRC-32 is [0-9a-f]{8}, expected [0-9a-f]{8}"):
        LacReader(FILE[:9] + b"\xee" + FILE[10:])
    with pytest.raises(FormatError, match="cut off"):
        LacReader(FILE[: START - 1])


@pytest.mark.parametrize("samples", [2**60, SAMPLES + 14 * 1024])
def test_more_samples_than_the_blocks_hold_are_refused(samples):
    writer = LacWriter(Pipe(), HEADER, TABLES)
    writer.write_block(make_symbols(HEADER)[0], STEP)
    with pytest.raises(FormatError, match="expected at most"):
        writer.close(samples)
    index = with_crc(FILE[block_spans()[-1][1] : -24 - 4 * BLOCKS])  # too short: not an index
    footer = struct.pack("<QI", 2**60, BLOCKS)
    forged = FILE[: block_spans()[-1][1]] + index + with_crc(footer) + b"LEND"
    with pytest.raises(FormatError, match=f"{2**60} samples"):
        LacReader(forged)


def test_a_payload_beyond_the_file_is_only_a_damaged_block():
    start, _ = block_spans()[4]
    for length in (0xFFFFFFFF, len(FILE), 0):
        data = FILE[: start + 8] + struct.pack("<I", length) + FILE[start + 12 :]
        assert_reads(data, {4})


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


def mutate(rng: random.Random, data: bytes) -> bytes:
    """A file with one to four faults: flips, cuts, inserts, moves, or forged fields."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        kind = rng.randrange(7)
        a, b = sorted(rng.randrange(len(out) + 1) for _ in range(2))
        if kind == 0 and out:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[a : min(b, a + rng.choice([1, 4, 50, 10_000]))]
        elif kind == 2:
            out[a:a] = rng.randbytes(rng.choice([1, 4, 300]))
        elif kind == 3:
            out[a:a] = out[b : b + rng.choice([17, 100, 1000])]
        elif kind == 4:
            out = out[:b]
        elif kind == 5 and len(out) > START:  # a header field, with a CRC that holds
            position = rng.randrange(4, START - 4)
            width = rng.choice([1, 2, 4])
            out[position : position + width] = rng.choice([b"\0", b"\xff", b"\x01"]) * width
            out[START - 4 : START] = struct.pack("<I", zlib.crc32(out[: START - 4]))
        elif kind == 6 and len(out) > 20:  # a footer that lies
            footer = struct.pack(
                "<QI",
                rng.getrandbits(rng.choice([4, 18, 64])),
                rng.getrandbits(rng.choice([5, 32])),
            )
            out[-20:] = with_crc(footer) + b"LEND"
    return bytes(out)


def test_mutated_files_raise_nothing_but_format_errors():
    assert 100 < refusals(FILE, TABLES, 1_500) < 1_400  # both outcomes are exercised


def test_mutated_files_with_blocks_of_their_own_steps(stepped):
    assert 5 < refusals(*stepped[:2], 50) < 45


def refusals(whole: bytes, coder: SymbolCoder, trials: int) -> int:
    """How many of so many mutated files raise FormatError; anything else fails the test."""
    rng = random.Random(20)
    refused = 0
    for _ in range(trials):
        data = mutate(rng, whole)
        began = time.perf_counter()
        try:
            reader = LacReader(data)
            assert reader.block_count <= 2 * (len(data) // 17) + 1
            for _ in reader.blocks(coder):
                pass
        except FormatError:
            refused += 1
        assert time.perf_counter() - began < 2.0
    return refused


@pytest.mark.parametrize(
    "bait",
    [
        struct.pack("<2sHHHI", b"\xa5L", 0, 1, STEP, 400_000),
        struct.pack("<4sIQ", b"LIDX", 100_000, 0),
    ],
)
def test_a_file_made_to_waste_time_is_given_up(bait):
    # Every marker promises something that reaches far: checking each would be quadratic.
    header = make_header(latent_dim=1024, frames_per_block=2048, tags={})
    began = time.perf_counter()
    reader = LacReader(header.to_bytes() + bait * 100_000)
    assert time.perf_counter() - began < 2.0
    assert reader.block_count <= 1
