"""Damaged and forged .lac files: what is whole is found, and claims are bounded by bytes."""

from __future__ import annotations

import random
import struct
import time
import zlib

import numpy as np
import pytest
from lac_helpers import (
    BLOCKS,
    FILE,
    FRAMES,
    HEADER,
    SAMPLES,
    START,
    STEP,
    TABLES,
    Pipe,
    assert_reads,
    block_spans,
    make_header,
    make_symbols,
    with_crc,
)

from codec.entropy.coder import SymbolCoder
from codec.errors import FormatError
from codec.lac.reader import LacReader, verify
from codec.lac.writer import LacWriter


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
