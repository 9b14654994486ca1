"""Reading audio files, block by block: memory does not grow with the length of a recording.

Arrays are float32 and shaped (channels, time), full scale at +-1.
"""

from __future__ import annotations

import math
import os
import shutil
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import soundfile

from codec.audio.decoding import TAGS, Source, find_sources, read_block, seek
from codec.audio.pieces import cut, regrouped
from codec.audio.waveform import (
    MAX_CHANNELS,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    FloatArray,
    check_finite,
)
from codec.errors import AudioError
from codec.files import standard_input
from codec.text import printable

_UNRECOGNISED_FORMAT = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says.

    ``samples`` (per channel) is None when the header does not know, and a promise otherwise: what
    a damaged file really holds is only known by reading it. ``format`` and ``subtype`` are
    libsndfile's names, e.g. FLAC and PCM_16. ``tags`` holds those of ``TAGS`` that the file has.
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
        self._name = "standard input" if str(path) == "-" else printable(path)
        self._path = Path(path)
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        try:
            path = self._seekable_path()
            with self._explained():
                layout = find_sources(path, self._folder)
                with layout.sources[0].open() as file:
                    info = self._read_info(file, layout.tags)
                alike = layout.sources
                if len(alike) > 1:
                    alike = list(takewhile(partial(_fits, info), layout.sources))
                promises = [source.promised_samples() for source in alike]
            lengths = [samples for samples in promises if samples is not None]
            self._promised = sum(lengths) if len(lengths) == len(promises) else None
            self._sources = alike
            self._left = layout.stray + sum(rest.size for rest in layout.sources[len(alike) :])
            self.info = replace(info, samples=self._promised)
        except BaseException:
            self._resources.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def blocks(self, size: int, start: int = 0, samples: int | None = None) -> Iterator[FloatArray]:
        """Yield arrays (channels, n) of n = ``size`` samples, fewer only in the last one.

        Reads to the real end of the file, whatever length the header gives, and several recordings
        that were joined to one file ("chained") one after the other. If the end comes before the
        header's, or bytes are left that are no part of the sound, then the file was cut, damaged
        or holds something else as well: what is there is delivered, then a warning tells how much
        was read and what is missing or left.

        Args:
            size: samples per block.
            start: first sample to read.
            samples: how many to read; None reads to the end.

        Raises:
            AudioError: nothing can be read at ``start``, or a sample is NaN or infinite.
        """
        if size < 1 or start < 0:
            raise AudioError(f"got size {size} and start {start}, expected size > 0 and start >= 0")
        length = math.inf if samples is None else samples
        position = start
        for block in cut(regrouped(self._pieces(start, size), size), 0, length):
            check_finite(block, position, self.info.sample_rate, self._name)
            position += block.shape[1]
            yield block
        if position == start and length > 0:
            raise AudioError(self._nothing_at(start))
        if position - start < length:
            self._warn_of_loss(position)

    def _pieces(self, start: int, size: int) -> Iterator[FloatArray]:
        """Pieces (channels, at most ``size``) of all recordings from sample ``start`` on."""
        for source in self._sources:
            with self._explained(), source.open() as file:
                # How long a recording is shows when it has been read.
                if len(self._sources) == 1:
                    readable, start = seek(file, start), 0
                else:
                    readable = True
                while readable:
                    block, readable = read_block(file, size)
                    skipped = min(start, block.shape[1])
                    start -= skipped
                    if skipped < block.shape[1]:
                        yield block[:, skipped:]

    def _warn_of_loss(self, position: int) -> None:
        seconds = position / self.info.sample_rate
        if self._promised is not None and position < self._promised:
            promised = self._promised / self.info.sample_rate
            text = (
                f"{self._name} is cut short or damaged: read {seconds:.3f} s of the "
                f"{promised:.3f} s that its header promises"
            )
        elif self._left:
            text = f"{self._name} is damaged, or holds more than sound: read {seconds:.3f} s"
        else:
            return
        if self._left:
            text += f", and {self._left:,} bytes of the file are left that are no part of them"
        warnings.warn(text, stacklevel=3)

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

    def _seekable_path(self) -> Path:
        """The path, checked; a stream is first copied to a temporary file.

        libsndfile must seek in most formats, and every call to ``blocks`` starts afresh.
        """
        if str(self._path) == "-":
            return self._spool(standard_input())
        try:
            mode = os.stat(self._path)
        except FileNotFoundError:
            if os.path.islink(self._path):
                raise AudioError(f"{self._name} is a link to what is not there; mend it") from None
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

    def _folder(self) -> Path:
        """A temporary folder, removed when the reader is closed."""
        folder = self._resources.enter_context(tempfile.TemporaryDirectory(prefix="lacuna-"))
        return Path(folder)

    def _spool(self, stream: BinaryIO) -> Path:
        copy = self._folder() / "stream"
        with copy.open("wb") as file:
            shutil.copyfileobj(stream, file)
        if copy.stat().st_size == 0:
            raise AudioError(f"{self._name} delivered 0 bytes, expected an audio file")
        return copy

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """libsndfile's errors in words that help."""
        try:
            yield
        except soundfile.LibsndfileError as error:
            raise AudioError(self._unreadable(error)) from None
        except TypeError:  # soundfile's answer to the suffix .raw
            raise AudioError(self._headerless()) from None

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

    def _read_info(self, file: soundfile.SoundFile, tags: dict[str, str]) -> AudioInfo:
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
        return AudioInfo(
            sample_rate=file.samplerate,
            channels=file.channels,
            samples=None,
            format=file.format,
            subtype=file.subtype,
            tags={name: tags[name] for name in TAGS if tags.get(name)},
        )


def _fits(info: AudioInfo, source: Source) -> bool:
    """Whether a recording can follow the first one of its file."""
    with source.open() as file:
        return (file.samplerate, file.channels) == (info.sample_rate, info.channels)


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
