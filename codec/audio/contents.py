"""What lies in the bytes of an audio file: one recording, several joined ones, and strays.

A decoder of libsndfile reads one recording and stops where that ends, or where its header, a tag
or a length says so, without a word about what follows. So the structure of a file is walked here,
without decoding it: every byte belongs to a recording, to a tag, or is counted as stray.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

Bytes = bytes | mmap.mmap
Span = tuple[int, int]
"""The first byte of a range, and the one after the last."""


@dataclass(frozen=True)
class Recording:
    """What a decoder takes for one recording."""

    spans: tuple[Span, ...]
    """Its bytes, which may have strays between them."""
    seconds: float | None = None
    """The time that its last page stands for, of formats that tell."""
    start: bytes = b""
    """What its first bytes are to be replaced by, because they say less than there is."""


@dataclass(frozen=True)
class Contents:
    """The recordings in a file, in order, and the bytes that belong to none and are no tags."""

    recordings: tuple[Recording, ...]
    stray: int = 0


def whole(size: int) -> Contents:
    """A file of a format whose structure is not known here."""
    return Contents((Recording(((0, size),)),))


def tag_length(data: Bytes, position: int) -> int:
    """Bytes of the ID3, APE or Lyrics tag at a position; 0 if there is none."""
    head = data[position : position + 32]
    if head.startswith(b"ID3") and len(head) >= 10:
        # Four bytes of 7 bits each: https://id3.org/id3v2.3.0#ID3v2_header
        size = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        footer = 10 if head[5] & 0x10 else 0
        return min(10 + size + footer, len(data) - position)
    if head.startswith(b"APETAGEX") and len(head) >= 24:
        is_header = head[23] & 0x20  # of the flags' highest byte; a footer stands alone otherwise
        return 32 + int.from_bytes(head[12:16], "little") if is_header else 32
    if head.startswith(b"TAG+"):
        return min(227, len(data) - position)
    if head.startswith(b"TAG"):
        return min(128, len(data) - position)
    if head.startswith(b"LYRICSBEGIN"):
        end = data.find(b"LYRICS200", position)
        return end + 9 - position if end >= 0 else 0
    return 0


def is_blank(data: Bytes, start: int, end: int) -> bool:
    """Nothing but zeros, with which disks and recorders fill up."""
    return not any(data[i : min(i + 65_536, end)].strip(b"\0") for i in range(start, end, 65_536))
