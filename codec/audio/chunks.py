"""Files made of chunks, each with its name and its length: WAV, RF64, AIFF, W64, CAF; and AU.

Chunks are walked whatever length the header of the file gives: programs get that wrong in many
ways. Where something else stands that is no chunk, either another file of the kind begins, or what
is left is stray.
"""

from __future__ import annotations

from dataclasses import dataclass

from codec.audio.contents import Bytes, Contents, Recording, Span, is_blank, tag_length, whole

_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_NO_SIZE = 0x7FFF0000
"""Programs that write to a pipe do not know the size and put a huge one, e.g. 0xFFFFFFFF."""


@dataclass(frozen=True)
class _Kind:
    """How the chunks of a kind of file are laid out."""

    header: int
    """Bytes before the first chunk."""
    name: int
    """Bytes of a chunk's name."""
    size: int
    """Bytes of its length."""
    order: str
    samples: bytes
    """How the name of the chunk with the samples begins."""
    align: int = 2
    counts_itself: bool = False
    """The length includes name and length."""


_RIFF = _Kind(12, 4, 4, "little", b"data")
_AIFF = _Kind(12, 4, 4, "big", b"SSND")
_W64 = _Kind(40, 16, 8, "little", b"data", align=8, counts_itself=True)
_CAF = _Kind(8, 4, 8, "big", b"data", align=1)


def kind_of(data: Bytes, position: int = 0) -> _Kind | None:
    """The kind of file that begins at a position, if it is one of these."""
    head = data[position : position + 16]
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return _RIFF
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _AIFF
    if head == _W64_RIFF:
        return _W64
    return _CAF if head[:4] == b"caff" else None


def chunk_contents(data: Bytes) -> Contents:
    """The recordings in a file of chunks."""
    recordings, stray, position = [], 0, 0
    while (kind := kind_of(data, position)) is not None:
        end, _ = _walk(data, position, kind)
        recordings.append(Recording(((position, end),)))
        position = end
        while position < len(data) and kind_of(data, position) is None:
            tag = tag_length(data, position)
            following = position + tag if tag else _next_file(data, position + 1, kind)
            if not tag and not is_blank(data, position, following):
                stray += following - position
            position = following
    return Contents(tuple(recordings), stray)


def samples_span(data: Bytes) -> Span | None:
    """Where the samples of a file of chunks stand."""
    kind = kind_of(data)
    return None if kind is None else _walk(data, 0, kind)[1]


def au_contents(data: Bytes) -> Contents:
    """A Sun audio file: a header that gives its own length and that of the samples."""
    order = "big" if data[:4] == b".snd" else "little"
    start, size = (int.from_bytes(data[i : i + 4], order) for i in (4, 8))  # type: ignore[arg-type]
    end = start + size
    if size >= _NO_SIZE or end >= len(data) or is_blank(data, end, len(data)):
        return whole(len(data))
    return Contents((Recording(((0, end),)),), len(data) - end)


def _walk(data: Bytes, start: int, kind: _Kind) -> tuple[int, Span | None]:
    """Where a file's chunks end, and where its samples stand."""
    position, samples, long_size = start + kind.header, None, 0
    while position + kind.name + kind.size <= len(data):
        name = data[position : position + kind.name]
        if not name[:4].isascii() or not name[:4].decode().isprintable():
            break
        if kind_of(data, position) is not None:
            break
        body = position + kind.name + kind.size
        size = int.from_bytes(data[body - kind.size : body], kind.order)  # type: ignore[arg-type]
        if name == b"ds64":  # RF64's 64-bit lengths: of the file, then of the samples
            long_size = int.from_bytes(data[body + 8 : body + 16], "little")
        is_samples = name.startswith(kind.samples)
        if is_samples and size == 0xFFFFFFFF and long_size:
            size = long_size
        end = (position if kind.counts_itself else body) + size
        if is_samples:
            samples = (body, min(end, len(data)))
            if size >= _NO_SIZE and end > len(data):
                return len(data), samples
        if end > len(data):
            # The file was cut in the middle of its samples; anything else is no chunk.
            return (len(data) if is_samples else position), samples
        position = end + -(end - start) % kind.align
    return min(position, len(data)), samples


def _next_file(data: Bytes, position: int, kind: _Kind) -> int:
    """Where the next file of a kind begins, or the end of the data."""
    marks = {id(_RIFF): (b"RIFF", b"RF64"), id(_AIFF): (b"FORM",), id(_W64): (_W64_RIFF,)}
    starts = []
    for mark in marks.get(id(kind), (b"caff",)):
        at = data.find(mark, position)
        while at >= 0 and kind_of(data, at) is None:
            at = data.find(mark, at + 1)
        starts.append(at if at >= 0 else len(data))
    return min(starts)
