"""Opening the recordings of an audio file with libsndfile, and reading them from front to back."""

from __future__ import annotations

import mmap
import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from codec.audio.chunks import au_contents, chunk_contents, kind_of, samples_span
from codec.audio.contents import Contents, Recording, Span, tag_length, whole
from codec.audio.flac import flac_contents
from codec.audio.mp3 import mp3_contents
from codec.audio.ogg import ogg_contents
from codec.audio.waveform import FloatArray

TAGS = (
    *("title", "artist", "album", "date", "tracknumber", "genre", "comment"),
    *("copyright", "license"),
)
"""Names of the tags that are kept, as libsndfile has them; pictures it does not read."""

_UNKNOWN_LENGTH = 2**62  # libsndfile reports 2**63 - 1 when a header gives no length


class SequentialFile(soundfile.SoundFile):
    """A SoundFile that is read front to back, without a seek after every read.

    SoundFile seeks to where it already is after each block. That fails in a FLAC file that was cut
    short, although the block itself could be read, and it limits reading to the length the header
    gives. Calling ``seek`` still works.
    """

    def seekable(self) -> bool:
        return False


@dataclass(frozen=True)
class Source:
    """One recording of a file, for libsndfile to open."""

    open: Callable[[], SequentialFile]
    size: int
    """In bytes."""
    seconds: float | None = None
    """The time that its last page stands for, of formats that tell."""

    def promised_samples(self) -> int | None:
        """Samples per channel that its bytes promise, None if they do not tell."""
        with self.open() as file:
            promised = _promised_samples(file)
            if promised is not None and self.seconds is not None:
                promised = max(promised, round(self.seconds * file.samplerate))
            return promised


def native_path(path: str | os.PathLike[str]) -> str | bytes:
    """A path as soundfile takes it: bytes, since a name need not be UTF-8 but on Windows."""
    return os.fspath(path) if sys.platform == "win32" else os.fsencode(path)


@dataclass(frozen=True)
class Layout:
    """The recordings in a file, in order, and what else its bytes say."""

    sources: list[Source]
    stray: int
    """Bytes that belong to no recording and are no tags."""
    tags: dict[str, str]


def find_sources(path: Path, folder: Callable[[], Path]) -> Layout:
    """The recordings in a file.

    Args:
        folder: gives a folder for copies of recordings that are parts of a file.

    Raises:
        soundfile.LibsndfileError: libsndfile cannot read it.
        TypeError: soundfile needs a sample rate for a format without a header.
    """
    size = path.stat().st_size
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        contents = _contents(data)
        if len(contents.recordings) == 1 and not contents.recordings[0].start:
            sources = [Source(lambda: _open(path), size, contents.recordings[0].seconds)]
        else:
            sources = [
                _copied(data, recording, folder() / f"{number}{path.suffix}")
                for number, recording in enumerate(contents.recordings)
            ]
        with sources[0].open() as first:
            subtype, tags = first.subtype, first.copy_metadata()
        if subtype.startswith("MPEG_LAYER") and len(sources) == 1:
            contents = mp3_contents(data, *(samples_span(data) or (0, size)))
            sources = [_mp3_source(path, recording) for recording in contents.recordings]
    return Layout(sources, contents.stray, tags)


def _contents(data: mmap.mmap) -> Contents:
    """What is in the bytes of a file; MP3 has no mark at its beginning and comes later."""
    head = data[:4]
    if head == b"OggS":
        return ogg_contents(data)
    if head in (b".snd", b"dns."):
        return au_contents(data)
    if kind_of(data) is not None:
        return chunk_contents(data)
    start = tag_length(data, 0)
    if data[start : start + 4] == b"fLaC":
        return flac_contents(data, start)
    return whole(len(data))


def _open(path: Path) -> SequentialFile:
    return SequentialFile(native_path(path))


def _copied(data: mmap.mmap, recording: Recording, path: Path) -> Source:
    with path.open("wb") as file:
        for start, end in recording.spans:
            for at in range(start, end, 1 << 20):
                file.write(data[at : min(at + (1 << 20), end)])
        file.seek(0)
        file.write(recording.start)
    return Source(lambda: _open(path), path.stat().st_size, recording.seconds)


def _mp3_source(path: Path, recording: Recording) -> Source:
    size = sum(end - start for start, end in recording.spans)
    return Source(lambda: _open_mp3(path, recording.spans), size)


def _open_mp3(path: Path, spans: tuple[Span, ...]) -> SequentialFile:
    """Open the frames of an MP3 through a pipe, which keeps libsndfile from guessing their length.

    Without a length tag it takes the bit rate of the first frame for that of the whole file, and
    stops reading where the file should end by that guess. A pipe has no size to guess from; the
    length is then either the tag's or unknown, and reading goes on to the end.
    """
    read_end, write_end = os.pipe()

    def feed() -> None:
        # Nobody reads to the end when the reader is closed early.
        with suppress(OSError), open(write_end, "wb") as sink, path.open("rb") as source:
            for start, end in spans:
                source.seek(start)
                for at in range(start, end, 1 << 16):
                    sink.write(source.read(min(1 << 16, end - at)))

    threading.Thread(target=feed, daemon=True).start()
    return SequentialFile(read_end)


def read_block(file: soundfile.SoundFile, size: int) -> tuple[FloatArray, bool]:
    """Up to ``size`` samples, (channels, n), and whether there may be more."""
    # libsndfile does not say how many samples stood before a damaged place; the NaNs do.
    frames = np.full((size, file.channels), np.nan, dtype=np.float32)
    try:
        count = len(file.read(out=frames))
    except soundfile.LibsndfileError:
        count = int(np.count_nonzero(~np.isnan(frames[:, 0])))
        return np.ascontiguousarray(frames[:count].T), False
    return np.ascontiguousarray(frames[:count].T), count == size


def seek(file: soundfile.SoundFile, start: int) -> bool:
    """Move to sample ``start``; False if the recording ends before it.

    Only PCM formats seek exactly. In Vorbis a seek near the end was measured to land on other
    samples, and MP3 is read through a pipe: those are decoded from the beginning.
    """
    if start and file.subtype.startswith(("PCM_", "FLOAT", "DOUBLE")):
        try:
            file.seek(start)
        except soundfile.LibsndfileError:
            return False
        return True
    readable = True
    while start and readable:
        block, readable = read_block(file, min(start, 65_536))
        start -= block.shape[1]
    return readable


def _promised_samples(file: soundfile.SoundFile) -> int | None:
    """Samples per channel that the header promises, None if it does not tell.

    libsndfile corrects the length of a WAV, AIFF, AU or W64 that was cut short, and leaves the
    number that it found in the header only in its log: "data : 192000 (should be 95978)".
    """
    if file.frames >= _UNKNOWN_LENGTH:
        return None
    longest = 1.0
    # The size of the samples, or of the whole file where only that is reported (W64, RF64). The
    # size of a whole WAV is left alone: many programs write it 8 bytes too large.
    sizes = r"\b(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)"
    for stated, actual in re.findall(sizes, file.extra_info):
        # Programs that write to a pipe do not know the size and put a huge one, e.g. 0xFFFFFFFF.
        is_placeholder = int(stated) & 0x7FFFFFFF >= 0x7FFF0000
        if int(actual) and not is_placeholder:
            longest = max(longest, int(stated) / int(actual))
    return round(file.frames * longest)
