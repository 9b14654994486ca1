"""Reading audio files, block by block: memory does not grow with the length of a recording.

Arrays are float32 and shaped (channels, time), full scale at +-1.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import stat
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import soundfile

from codec.audio.waveform import FloatArray, check_finite
from codec.errors import AudioError

MAX_CHANNELS = 255
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1_000, 1_000_000  # Hz

_UNKNOWN_LENGTH = 2**62  # libsndfile reports 2**63 - 1 when a header gives no length
_UNRECOGNISED_FORMAT = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT
_TAGS = ("title", "artist", "date", "album", "comment")


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says.

    ``samples`` (per channel) is None when the header does not know, and a promise otherwise: what
    a damaged file really holds is only known by reading it. ``format`` and ``subtype`` are
    libsndfile's names, e.g. FLAC and PCM_16. ``tags`` holds those of title, artist, date, album
    and comment that the file has.
    """

    sample_rate: int
    channels: int
    samples: int | None
    format: str
    subtype: str
    tags: dict[str, str]

    @property
    def seconds(self) -> float | None:
        return None if self.samples is None else self.samples / self.sample_rate


class _SequentialFile(soundfile.SoundFile):
    """A SoundFile that is read front to back, without a seek after every read.

    SoundFile seeks to where it already is after each block. That fails in a FLAC file that was cut
    short, although the block itself could be read, and it limits reading to the length the header
    gives. Calling ``seek`` still works.
    """

    def seekable(self) -> bool:
        return False


class AudioReader:
    """Reads an audio file, or standard input, in blocks.

    Any format that libsndfile reads: WAV, FLAC, Ogg Vorbis, Opus, MP3, AIFF, CAF, ... Values
    beyond +-1 (float files, Vorbis) are kept as they are. Use it as a context manager.

    Args:
        path: a file; "-" reads standard input.

    Raises:
        AudioError: on entering: the file is missing, a folder, empty, not audio, or has more than
            255 channels or an absurd sample rate.
    """

    info: AudioInfo

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._name = "standard input" if str(path) == "-" else str(path)
        self._path = str(path)
        self._open_file: Callable[[str], _SequentialFile] = _SequentialFile
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._path = self._seekable_path()
            with self._open() as file:
                self.info = self._read_info(file)
                self._promised = _promised_samples(file)
            if self.info.format == "MP3":
                self._open_file = _open_mp3
                with self._open() as file:
                    self._promised = _promised_samples(file)
                self.info = replace(self.info, samples=self._promised)
        except BaseException:
            self._resources.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def blocks(self, size: int, start: int = 0, samples: int | None = None) -> Iterator[FloatArray]:
        """Yield arrays (channels, n) of n = ``size`` samples, fewer only in the last one.

        Reads to the real end of the stream, whatever length the header gives. If that end comes
        before the header's, the file was cut or damaged: what is there is delivered, then a
        warning tells how much was missing.

        Args:
            size: samples per block.
            start: first sample to read.
            samples: how many to read; None reads to the end.

        Raises:
            AudioError: nothing can be read at ``start``, or a sample is NaN or infinite.
        """
        if size < 1 or start < 0:
            raise AudioError(f"got size {size} and start {start}, expected size > 0 and start >= 0")
        end = math.inf if samples is None else start + samples
        position = start
        with self._open() as file:
            if self._seek(file, start):
                while position < end:
                    block, readable = _read_block(file, min(size, int(min(end - position, size))))
                    if block.shape[1]:
                        check_finite(block, position, self.info.sample_rate, self._name)
                        position += block.shape[1]
                        yield block
                    if not readable:
                        break
        if position == start and end > start:
            raise AudioError(self._nothing_at(start))
        if position < end and self._promised is not None and position < self._promised:
            rate = self.info.sample_rate
            warnings.warn(
                f"{self._name} is cut short or damaged: read {position / rate:.3f} s of the "
                f"{self._promised / rate:.3f} s that its header promises",
                stacklevel=2,
            )

    def _nothing_at(self, start: int) -> str:
        if start:
            return (
                f"{self._name} has no sound {start / self.info.sample_rate:.3f} s after its "
                f"start; choose an earlier start"
            )
        return (
            f"{self._name} has a header but no sound that can be read: it is empty or damaged; "
            f"try the original file"
        )

    def _seekable_path(self) -> str:
        """The path, checked; a stream is first copied to a temporary file.

        libsndfile must seek in most formats, and every call to ``blocks`` starts afresh.
        """
        if self._path == "-":
            return self._spool(sys.stdin.buffer)
        try:
            mode = os.stat(self._path)
        except FileNotFoundError:
            raise AudioError(f"{self._name} not found; check the path") from None
        except OSError as error:
            raise AudioError(f"{self._name} cannot be opened: {error.strerror}") from None
        if stat.S_ISDIR(mode.st_mode):
            raise AudioError(f"{self._name} is a folder, expected an audio file")
        if stat.S_ISFIFO(mode.st_mode):  # a shell's <(command)
            with open(self._path, "rb") as stream:
                return self._spool(stream)
        if not os.access(self._path, os.R_OK):
            raise AudioError(f"{self._name} may not be read; change its permissions")
        if mode.st_size == 0:
            raise AudioError(f"{self._name} holds 0 bytes, expected audio; was it fully copied?")
        return self._path

    def _spool(self, stream: BinaryIO) -> str:
        folder = self._resources.enter_context(tempfile.TemporaryDirectory(prefix="lacuna-"))
        copy = Path(folder) / "stream"
        with copy.open("wb") as file:
            shutil.copyfileobj(stream, file)
        if copy.stat().st_size == 0:
            raise AudioError(f"{self._name} delivered 0 bytes, expected an audio file")
        return str(copy)

    @contextmanager
    def _open(self) -> Iterator[_SequentialFile]:
        try:
            file = self._open_file(self._path)
        except soundfile.LibsndfileError as error:
            raise AudioError(self._unreadable(error)) from None
        except TypeError:  # soundfile's answer to the suffix .raw
            raise AudioError(self._headerless()) from None
        with file:
            yield file

    def _unreadable(self, error: soundfile.LibsndfileError) -> str:
        if error.code == _UNRECOGNISED_FORMAT:
            return (
                f"{self._name} is not audio, or of a format that is not supported; "
                f"expected one of: {', '.join(sorted(soundfile.available_formats()))}"
            )
        return (
            f"{self._name} cannot be read as audio: {error.error_string} It is damaged, or not "
            f"what its suffix says; try the original file"
        )

    def _headerless(self) -> str:
        return (
            f"{self._name} has no audio header, so its sample rate is unknown; "
            f"convert it to WAV or FLAC first"
        )

    def _read_info(self, file: soundfile.SoundFile) -> AudioInfo:
        if file.format == "RAW":  # libsndfile takes any bytes in .vox, .gsm or .au for audio
            raise AudioError(self._headerless())
        if file.channels > MAX_CHANNELS:
            raise AudioError(
                f"{self._name} has {file.channels} channels, expected at most {MAX_CHANNELS}; "
                f"split it into several files"
            )
        if not MIN_SAMPLE_RATE <= file.samplerate <= MAX_SAMPLE_RATE:
            raise AudioError(
                f"{self._name} has a sample rate of {file.samplerate} Hz, expected "
                f"{MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz; correct its header or resample it"
            )
        if file.frames == 0:
            raise AudioError(f"{self._name} holds 0 samples; there is nothing to read")
        tags = file.copy_metadata()
        return AudioInfo(
            sample_rate=file.samplerate,
            channels=file.channels,
            samples=file.frames if file.frames < _UNKNOWN_LENGTH else None,
            format=file.format,
            subtype=file.subtype,
            tags={name: tags[name] for name in _TAGS if name in tags},
        )

    def _seek(self, file: soundfile.SoundFile, start: int) -> bool:
        """Move to sample ``start``; False if the stream ends before it.

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
            block, readable = _read_block(file, min(start, 65_536))
            start -= block.shape[1]
        return readable


def probe(path: str | os.PathLike[str]) -> AudioInfo:
    """The header of an audio file.

    Raises:
        AudioError: as for ``AudioReader``.
    """
    with AudioReader(path) as reader:
        return reader.info


def read(path: str | os.PathLike[str]) -> tuple[FloatArray, int]:
    """A whole file as float32 (channels, time), and its sample rate in Hz.

    Raises:
        AudioError: as for ``AudioReader``.
    """
    with AudioReader(path) as reader:
        return np.concatenate(list(reader.blocks(65_536)), axis=1), reader.info.sample_rate


def _open_mp3(path: str) -> _SequentialFile:
    """Open an MP3 through a pipe, which keeps libsndfile from guessing its length.

    Without a length tag it takes the bit rate of the first frame for that of the whole file, and
    stops reading where the file should end by that guess. A pipe has no size to guess from; the
    length is then either the tag's or unknown, and reading goes on to the end.
    """
    read_end, write_end = os.pipe()

    def feed() -> None:
        # Nobody reads to the end when the reader is closed early.
        with suppress(OSError), open(write_end, "wb") as sink, open(path, "rb") as source:
            # libsndfile skips a tag by seeking, unless it is small.
            header = source.read(10)
            if header.startswith(b"ID3"):
                # Four bytes of 7 bits each: https://id3.org/id3v2.3.0#ID3v2_header
                shifts = (21, 14, 7, 0)
                size = sum(byte << shift for byte, shift in zip(header[6:], shifts, strict=True))
                source.seek(10 + size)
            else:
                source.seek(0)
            shutil.copyfileobj(source, sink)

    threading.Thread(target=feed, daemon=True).start()
    return _SequentialFile(read_end)


def _read_block(file: soundfile.SoundFile, size: int) -> tuple[FloatArray, bool]:
    """Up to ``size`` samples, (channels, n), and whether there may be more."""
    # libsndfile does not say how many samples stood before a damaged place; the NaNs do.
    frames = np.full((size, file.channels), np.nan, dtype=np.float32)
    try:
        count = len(file.read(out=frames))
    except soundfile.LibsndfileError:
        count = int(np.count_nonzero(~np.isnan(frames[:, 0])))
        return np.ascontiguousarray(frames[:count].T), False
    return np.ascontiguousarray(frames[:count].T), count == size


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
    for found, actual in re.findall(sizes, file.extra_info):
        # Programs that write to a pipe do not know the size and put a huge one, e.g. 0xFFFFFFFF.
        is_placeholder = int(found) & 0x7FFFFFFF >= 0x7FFF0000
        if int(actual) and not is_placeholder:
            longest = max(longest, int(found) / int(actual))
    return round(file.frames * longest)
