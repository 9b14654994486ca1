"""The frames of an MP3 file (MPEG audio of any layer): recordings that were joined, and strays.

A frame's header gives its length, so a file is walked from frame to frame, and what is neither
frame nor tag is stray: decoders give up at the first 1024 bytes of it. A recording may begin with
an "Info" or "Xing" frame, which says how many frames follow; decoders stop there, so what comes
after so many frames is a recording of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from codec.audio.contents import Bytes, Contents, Recording, Span, is_blank, tag_length, whole

_KBPS = {  # by (version is 1, layer); index 0 is a rate of its own, whose frames tell no length
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""Hz, by the two bits of the version: MPEG 1, 2, 2.5."""


@dataclass(frozen=True)
class _Frame:
    length: int
    kind: tuple[int, int, int]
    """Version, layer and sample rate, in which all frames of a recording agree."""
    info: bool = False
    """It holds no sound but the facts about what follows."""
    following: int | None = None
    """Frames that are said to follow an Info frame."""


def mp3_contents(data: Bytes, start: int = 0, end: int | None = None) -> Contents:
    """The recordings in the bytes of an MP3 file, or in those from ``start`` to ``end``."""
    end = len(data) if end is None else end
    walk = _Walk(data, end)
    position = start
    while position < end:
        frame = _frame_at(data, position, end)
        if frame is not None and (walk.kind == frame.kind or _is_start(data, position, end)):
            walk.add(position, frame)
            position += frame.length
            continue
        tag = tag_length(data, position)
        if tag:
            position = min(position + tag, end)
            continue
        following = _next_start(data, position + 1, end)
        if (walk.recordings and following < end) or not is_blank(data, position, following):
            walk.stray += following - position
        position = following
    if not walk.recordings:
        return (
            whole(len(data))
            if (start, end) == (0, len(data))
            else Contents((Recording(((start, end),)),))
        )
    return Contents(tuple(Recording(tuple(spans)) for spans in walk.recordings), walk.stray)


class _Walk:
    """The recordings that were found so far."""

    def __init__(self, data: Bytes, end: int) -> None:
        self._data, self._end = data, end
        self.recordings: list[list[Span]] = []
        self.stray = 0
        self.kind: tuple[int, int, int] | None = None
        self._left: int | None = None
        """Frames that belong to this recording yet; None if all that follow do."""

    def add(self, position: int, frame: _Frame) -> None:
        if frame.info or not self.recordings or self._left == 0 or frame.kind != self.kind:
            self.recordings.append([])
            self._left = frame.following if frame.info else None
        elif self._left is not None:
            self._left -= 1
        spans, last = self.recordings[-1], position + frame.length
        if spans and spans[-1][1] == position:
            spans[-1] = (spans[-1][0], last)
        else:
            spans.append((position, last))
        self.kind = frame.kind


def _frame_at(data: Bytes, position: int, end: int) -> _Frame | None:
    """The frame whose header stands at a position, if it ends by ``end``."""
    if position + 4 > end or data[position] != 0xFF or data[position + 1] & 0xE0 != 0xE0:
        return None
    second, third, fourth = data[position + 1 : position + 4]
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    rate_index, kbps_index = third >> 2 & 3, third >> 4
    if version == 1 or layer == 4 or rate_index == 3 or kbps_index in (0, 15):
        return None
    rate = _RATES[version][rate_index]
    kbps, padding = _KBPS[version == 3, layer][kbps_index], third >> 1 & 1
    if layer == 1:
        length = (12_000 * kbps // rate + padding) * 4
    else:
        length = (72_000 if layer == 3 and version != 3 else 144_000) * kbps // rate + padding
    if position + length > end:
        return None
    kind = (version, layer, rate)
    if layer != 3:
        return _Frame(length, kind)
    mono = fourth >> 6 == 3
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    tag = position + 4 + side
    if data[tag : tag + 4] in (b"Xing", b"Info"):
        counted = data[tag + 7] & 1
        count = int.from_bytes(data[tag + 8 : tag + 12], "big") if counted else None
        return _Frame(length, kind, True, count)
    return _Frame(length, kind, data[position + 36 : position + 40] == b"VBRI")


def _is_start(data: Bytes, position: int, end: int) -> bool:
    """Whether a frame at a position is followed by one of its kind, a tag or the end."""
    frame = _frame_at(data, position, end)
    if frame is None:
        return False
    after = position + frame.length
    following = _frame_at(data, after, end)
    if following is not None:
        return following.kind == frame.kind
    return after == end or tag_length(data, after) > 0


def _next_start(data: Bytes, position: int, end: int) -> int:
    """The next position of two frames in a row, or of a tag before the end; else ``end``."""
    while True:
        position = data.find(b"\xff", position, end)
        if position < 0:
            return end
        if _is_start(data, position, end):
            return position
        position += 1
