"""Index and footer of a file: their bytes, and what is none of them."""

from __future__ import annotations

import struct
import zlib

import pytest
from lac_helpers import make_header

from codec.errors import FormatError
from codec.lac import trailer
from codec.lac.trailer import Footer

SIZES, SAMPLES = [70_000, 1, 300], (1 << 32) + 5
BLOCKS = b"blocks" * 9
FILE = BLOCKS + trailer.trailer_bytes(SIZES, SAMPLES)
INDEX, FOOTER = 4 + 4 + 8 + 3 * 4 + 4, 8 + 4 + 4 + 4


def test_bytes_are_those_of_the_format() -> None:
    """docs/FORMAT.md, "Index" and "Footer", by hand."""
    index = b"LIDX" + struct.pack("<IQIII", 3, SAMPLES, *SIZES)
    index += struct.pack("<I", zlib.crc32(index))
    footer = struct.pack("<QI", SAMPLES, 3)
    footer += struct.pack("<I", zlib.crc32(footer)) + b"LEND"
    assert trailer.trailer_bytes(SIZES, SAMPLES) == index + footer
    assert (len(index), len(footer)) == (INDEX, FOOTER)


def test_the_index_is_found_by_the_footer() -> None:
    footer = trailer.parse_footer(FILE)
    assert footer == Footer(samples=SAMPLES, blocks=3)
    position = trailer.index_position(FILE, footer)
    assert position == len(BLOCKS)
    end = trailer.index_end(FILE, position)
    assert end == len(BLOCKS) + INDEX
    index = trailer.parse_index(FILE, position, end)
    assert index is not None
    assert (index.position, index.samples) == (position, SAMPLES)
    assert index.sizes.dtype.name == "int64"
    assert index.sizes.tolist() == SIZES


def test_a_file_without_blocks_has_both() -> None:
    data = trailer.trailer_bytes([], 0)
    footer = trailer.parse_footer(data)
    assert footer == Footer(0, 0)
    assert trailer.index_position(data, footer) == 0
    assert trailer.index_end(data, 0) == len(data) - FOOTER
    index = trailer.parse_index(data, 0, len(data) - FOOTER)
    assert index is not None
    assert index.sizes.tolist() == []


@pytest.mark.parametrize("back", range(1, FOOTER + 1))
def test_a_changed_byte_of_the_footer_is_noticed(back: int) -> None:
    data = bytearray(FILE)
    data[-back] ^= 1
    assert trailer.parse_footer(bytes(data)) is None


def test_a_footer_alone_is_one_and_less_is_none() -> None:
    assert trailer.parse_footer(FILE[-FOOTER:]) == Footer(SAMPLES, 3)
    assert trailer.parse_footer(FILE[1 - FOOTER :]) is None
    assert trailer.parse_footer(b"") is None


@pytest.mark.parametrize("at", range(INDEX))
def test_a_changed_byte_of_the_index_is_noticed(at: int) -> None:
    data = bytearray(FILE)
    data[len(BLOCKS) + at] ^= 1
    assert trailer.parse_index(bytes(data), len(BLOCKS), len(BLOCKS) + INDEX) is None


def test_where_no_index_can_stand_none_ends() -> None:
    index = FILE[: len(BLOCKS) + INDEX]
    assert trailer.index_end(index, len(BLOCKS)) == len(index)
    assert trailer.index_end(index, len(BLOCKS) - 1) is None  # no marker
    assert trailer.index_end(index[:-1], len(BLOCKS)) is None  # it would end beyond the data
    assert trailer.index_end(index, -1) is None
    # Its marker lies at the end of the data, its count beyond.
    assert trailer.index_end(index[: len(BLOCKS) + 15], len(BLOCKS)) is None
    empty = trailer.trailer_bytes([], 0)
    assert trailer.index_end(empty[:20], 0) == 20
    assert trailer.index_end(empty[:16], 0) is None


def test_a_length_may_exceed_the_frames_by_one_hop() -> None:
    """At a quarter of the model's rate a hop of 128 is 32 samples."""
    header = make_header(sample_rate=4000, model_sample_rate=16_000, hop_length=128)
    for samples in (0, 1, 10 * 32, 11 * 32):
        trailer.check_samples(samples, 10, header)
    for samples in (-1, 11 * 32 + 1):
        with pytest.raises(
            FormatError, match=f"^{samples} samples in 10 latent frames, expected at most 352: the"
        ):
            trailer.check_samples(samples, 10, header)
