"""The pages of an Ogg file: where one recording ends and the next begins, and how long each is.

RFC 3533: a page has a header of 27 bytes, a table of segment lengths, and the segments. Recordings
may simply be joined ("chained"); each begins with pages that are marked as the beginning of a
stream (BOS). The granule position of a page is the time at its end, in samples.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from codec.audio.contents import Bytes, Contents, Recording, whole

_PAGE = struct.Struct("<4sBBqIIIB")
"""Marker, version, flags, granule position, serial number, number, CRC-32, segments."""
_BEGINS = 0x02

_OPUS_RATE = 48_000
_MOST_SAMPLES = 5760
"""Samples in a packet, which takes a segment or more: 120 ms of Opus; Vorbis has at most 4096."""


@dataclass
class _Link:
    """A recording, as far as its pages have been seen."""

    start: int
    serial: int
    rate: int | None
    """Rate of its granule positions, in Hz; None if that is not known."""
    pre_skip: int
    spans: list[tuple[int, int]] = field(default_factory=list)
    first: int = 0
    last: int = 0
    """Granule positions of the first page with sound, and of the last page."""
    joined_late: bool = False
    """The first page with sound ends later than it lasts: cut out of a longer stream."""

    def recording(self) -> Recording:
        seconds = None
        if self.rate and self.last:
            start = self.first if self.joined_late else self.pre_skip
            seconds = max(0, self.last - start) / self.rate
        return Recording(tuple(self.spans), seconds)


def ogg_contents(data: Bytes) -> Contents:
    """The recordings in the bytes of an Ogg file."""
    links: list[_Link] = []
    position, stray, beginning = 0, 0, False
    while position < len(data):
        if data[position : position + 4] != b"OggS" or position + _PAGE.size > len(data):
            following = data.find(b"OggS", position + 1)
            following = following if following >= 0 else len(data)
            stray += following - position
            position = following
            continue
        _, _, flags, granule, serial, _, _, segments = _PAGE.unpack_from(data, position)
        body = position + _PAGE.size + segments
        end = body + sum(data[position + _PAGE.size : body])
        if end > len(data):
            stray += len(data) - position  # cut off inside the page
            break
        if flags & _BEGINS and not beginning:
            rate, pre_skip = _timing(data[body:end])
            links.append(_Link(position, serial, rate, pre_skip))
        beginning = bool(flags & _BEGINS)
        if links:
            link = links[-1]
            if link.spans and link.spans[-1][1] == position:
                link.spans[-1] = (link.spans[-1][0], end)
            else:
                link.spans.append((position, end))
            if serial == link.serial and granule > 0:
                if not link.first:
                    link.first, link.joined_late = granule, granule > segments * _MOST_SAMPLES
                link.last = granule
        position = end
    if not links:
        return whole(len(data))
    return Contents(tuple(link.recording() for link in links), stray)


def _timing(header: bytes) -> tuple[int | None, int]:
    """Rate of the granule positions in Hz, and samples at the start that need not come out.

    Both are from a stream's first packet.
    """
    if header.startswith(b"OpusHead") and len(header) >= 12:
        return _OPUS_RATE, int.from_bytes(header[10:12], "little")
    if header.startswith(b"\x01vorbis") and len(header) >= 29:
        # Some encoders start their clock by up to a long block late: no sound is missing then.
        return int.from_bytes(header[12:16], "little") or None, 1 << (header[28] >> 4)
    return None, 0
