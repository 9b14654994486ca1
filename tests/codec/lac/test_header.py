"""Headers that are forged, absurd or none at all."""

from __future__ import annotations

import struct
import zlib

import pytest
from lac_helpers import (
    FILE,
    HEADER,
    START,
    TABLES,
    make_header,
    with_crc,
)

from codec.errors import FormatError
from codec.lac.header import LacHeader, portable_name
from codec.lac.reader import LacReader


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
        ({"coding_id": b"short"}, "coding_id of 5 bytes: expected 8"),
        ({"model": "a b"}, r"name is 'a b', expected letters"),
        ({"model": "\x1b[2J"}, r"name is '\\x1b\[2J', expected letters"),
        ({"model": "klein-\u00e4"}, "expected letters"),
        ({"model": ""}, "bytes of model name is 0, expected 1..255"),
        ({"tags": {"k" * 256: ""}}, "is 256, expected 1..255"),
        ({"tags": {"lyrics": "la" * 10_000}}, "is 20000, expected 0..16384"),
        ({"tags": {f"{i}": "x" * 9000 for i in range(2)}}, "bytes of tags is 18008"),
        ({"tags": {"title": "\udc80"}}, "expected valid Unicode"),
        ({"tags": {f"{i}": "" for i in range(256)}}, r"^number of tags is 256, expected 0\.\.255"),
        ({"tags": {"": "x"}}, r"^bytes of tag key '' is 0, expected 1\.\.255"),
        ({"tokens": True, "context_coded": True}, "^a file of tokens that is context coded"),
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
    for version, flags in ((0, 0), (1, 0), (2, 1), (3, 8), (3, 128), (4, 0), (9, 0)):
        message = f"version {version} with flags {flags:#04x}, expected version 3"
        with pytest.raises(FormatError, match=message):
            LacReader(FILE[:4] + bytes([version, flags]) + FILE[6:])
    with pytest.raises(FormatError, match=r"CRC-32 is [0-9a-f]{8}, expected [0-9a-f]{8}"):
        LacReader(FILE[:9] + b"\xee" + FILE[10:])
    with pytest.raises(FormatError, match="cut off"):
        LacReader(FILE[: START - 1])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"context_coded": True},
        {"tokens": True},
        {"layered": True, "hop_length": 2048},
        {"layered": True, "hop_length": 2048, "context_coded": True},
        {"channels": 1, "coded_channels": 1, "latent_dim": 1, "frames_per_block": 1},
        {"tags": {}, "model": "m", "sample_rate": 48_000, "coding_id": bytes(range(8, 16))},
    ],
    ids=str,
)
def test_a_header_is_read_as_it_was_written(changes):
    header = make_header(**changes)
    data = header.to_bytes()
    assert LacHeader.parse(data) == (header, len(data))
    assert LacHeader.parse(data + b"blocks") == (header, len(data))


def test_a_header_that_is_cut_off_is_refused():
    data = HEADER.to_bytes()
    for length in range(len(data)):
        problem = "not a .lac" if length < 4 else "inside" if length < 8 else "cut off"
        with pytest.raises(FormatError, match=problem):
            LacHeader.parse(data[:length])


def test_damage_is_told_with_both_checksums():
    data = bytearray(HEADER.to_bytes())
    data[10] ^= 1
    stored, actual = struct.unpack("<I", data[-4:])[0], zlib.crc32(data[:-4])
    with pytest.raises(FormatError, match=f"CRC-32 is {stored:08x}, expected {actual:08x}: "):
        LacHeader.parse(bytes(data))


def forged(texts: bytes) -> bytes:
    """A header with other bytes behind its fields, and a length and CRC-32 that fit."""
    body = HEADER.to_bytes()[8:34] + texts
    return with_crc(HEADER.to_bytes()[:6] + struct.pack("<H", 8 + len(body) + 4) + body)


TITLE = b"\x05title\x01\x00x"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (b"\x01m\x02" + TITLE + TITLE, "tag 'title' stands twice in the header, expected once"),
        (b"\x01m\x01" + TITLE + b"rest", "4 bytes after the header's tags, expected none"),
        (b"\x01m\x02" + TITLE, "a header text ends at byte"),
        (b"\x02m\xff\x00", r"header text b'm\\xff': expected UTF-8"),
    ],
    ids=["twice", "rest", "missing", "not UTF-8"],
)
def test_forged_texts_are_named(texts, message):
    assert LacHeader.parse(forged(b"\x01m\x01" + TITLE))[0].tags == {"title": "x"}
    with pytest.raises(FormatError, match=message):
        LacHeader.parse(forged(texts))


def test_a_coder_of_other_latents_is_refused():
    HEADER.check_coder(TABLES)
    with pytest.raises(FormatError, match="has latent_dim 5, the coder 4: expected that of model"):
        make_header(latent_dim=5).check_coder(TABLES)


def test_portable_names():
    assert portable_name("My model, v1.2_b-c") == "My_model__v1.2_b-c"
