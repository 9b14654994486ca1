"""FLAC streams: where one ends and the next begins, and whether one goes on after its own end.

RFC 9639: a stream is the marker "fLaC", blocks of metadata, of which the first, STREAMINFO, has the
number of samples, and frames, each with the number of its first sample. Decoders stop after as many
samples as STREAMINFO says; 0 means that it does not know, and decoders go on to the end.
"""

from __future__ import annotations

from codec.audio.contents import Bytes, Contents, Recording, whole

_MARKER = b"fLaC"
_STREAM_INFO = (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22")
"""Header of the block that every stream begins with; the first bit says it is the last one."""

_TOTAL_AT, _TOTAL_BITS = 21, 36
"""The number of samples: the lowest bits of 5 bytes, counted from the marker."""
_LOOK_BACK = 1 << 18
"""The last frame begins in so many last bytes: 65,535 samples of 8 channels are rarely more."""


def flac_contents(data: Bytes, first: int) -> Contents:
    """FLAC streams one after the other; only the first one, at ``first``, may have a tag before."""
    starts, position = [], first
    while position >= 0:
        if data[position + 4 : position + 8] in _STREAM_INFO:
            starts.append(position)
        position = data.find(_MARKER, position + 4)
    if not starts:
        return whole(len(data))
    ends = [*starts[1:], len(data)]
    return Contents(tuple(_recording(data, s, e) for s, e in zip(starts, ends, strict=True)))


def _recording(data: Bytes, start: int, end: int) -> Recording:
    """A stream; if it has more samples than it says, then one that does not say how many."""
    info = data[start : start + 42]
    field = int.from_bytes(info[_TOTAL_AT : _TOTAL_AT + 5], "big")
    total = field & (1 << _TOTAL_BITS) - 1
    block_size = int.from_bytes(info[8:10], "big")
    unknown = b""
    if total and _last_sample(data[max(start + 42, end - _LOOK_BACK) : end], block_size) >= total:
        unknown = info[:_TOTAL_AT] + (field - total).to_bytes(5, "big") + info[_TOTAL_AT + 5 :]
    return Recording(((start, end),), start=unknown)


def _last_sample(data: bytes, block_size: int) -> int:
    """The number of the first sample of the last frame in a stretch of a stream; -1 if none."""
    position = len(data)
    while (position := data.rfind(b"\xff", 0, position)) >= 0:
        if data[position + 1 : position + 2] not in (b"\xf8", b"\xf9") or len(data) < position + 6:
            continue
        number, length = _coded_number(data[position + 4 : position + 11])
        length += 4 + {6: 1, 7: 2}.get(data[position + 2] >> 4, 0)
        length += {12: 1, 13: 2, 14: 2}.get(data[position + 2] & 15, 0)
        header = data[position : position + length + 1]
        if number >= 0 and len(header) == length + 1 and _crc8(header) == 0:
            is_sample = data[position + 1] == 0xF9  # else of a frame, all of one size
            return number if is_sample else number * block_size
    return -1


def _coded_number(data: bytes) -> tuple[int, int]:
    """A number coded as UTF-8 codes characters, in up to 7 bytes, and how many; (-1, 0) if none."""
    if not data or data[0] == 0xFF or 0x80 <= data[0] < 0xC0:
        return -1, 0
    length = max(1, 8 - (data[0] ^ 0xFF).bit_length())
    value = data[0] & (0x7F if length == 1 else (1 << max(0, 7 - length)) - 1)
    for byte in data[1:length]:
        value = value << 6 | byte & 0x3F
    return (value, length) if len(data) >= length else (-1, 0)


def _crc8(data: bytes) -> int:
    """Polynomial x^8 + x^2 + x + 1; 0 of what ends with its own CRC."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
    return crc
