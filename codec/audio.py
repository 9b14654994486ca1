"""Audio files in and out, resampling, and mid/side: everything between a file and the network.

Arrays are float32 and shaped (channels, time), full scale at +-1. Reading, writing and resampling
all work block by block, so memory does not grow with the length of a recording.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import stat
import struct
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeVar

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from codec.errors import AudioError
from codec.files import atomic_path

if TYPE_CHECKING:
    import torch

FloatArray = NDArray[np.float32]
Waveform = TypeVar("Waveform", NDArray[np.floating], "torch.Tensor")

MAX_CHANNELS = 255
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1_000, 1_000_000  # Hz

_UNKNOWN_LENGTH = 2**62  # libsndfile reports 2**63 - 1 when a header gives no length
_UNRECOGNISED_FORMAT = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT
_TAGS = ("title", "artist", "date", "album", "comment")


# ---------------------------------------------------------------------------------------- reading


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


def check_finite(block: FloatArray, position: int, sample_rate: int, name: str) -> None:
    """Refuse NaN and infinity in (channels, time); ``position`` is the block's first sample.

    Raises:
        AudioError: naming the channel and the second of the first such value.
    """
    if np.isfinite(block).all():
        return
    time, channel = np.argwhere(~np.isfinite(block.T))[0]
    raise AudioError(
        f"{name}: channel {channel + 1} holds {block[channel, time]} at "
        f"{(position + time) / sample_rate:.6f} s, expected finite numbers; "
        f"replace NaN and infinity with 0 (numpy.nan_to_num does) and try again"
    )


def _check_floating(dtype: object, is_floating: bool) -> None:
    if not is_floating:
        raise AudioError(
            f"got samples of type {dtype}, expected floating point with full scale at +-1; "
            f"scale integers first"
        )


# ---------------------------------------------------------------------------------------- writing


@dataclass(frozen=True)
class _Container:
    """A file format to write, and libsndfile's name for each sample format it offers.

    A lossy format has no sample formats, only a ``coding``.
    """

    format: str
    subtypes: dict[str, str]
    coding: str = ""


_PCM = {"16": "PCM_16", "24": "PCM_24"}
_PCM_AND_FLOAT = {**_PCM, "float": "FLOAT"}
_CONTAINERS = {
    # RF64 is WAV with 64-bit sizes; AudioWriter turns it into plain WAV when that is enough.
    ".wav": _Container("RF64", _PCM_AND_FLOAT),
    ".w64": _Container("W64", _PCM_AND_FLOAT),
    ".flac": _Container("FLAC", _PCM),
    ".aiff": _Container("AIFF", _PCM_AND_FLOAT),
    ".aif": _Container("AIFF", _PCM_AND_FLOAT),
    ".caf": _Container("CAF", _PCM_AND_FLOAT),
    ".au": _Container("AU", _PCM_AND_FLOAT),
    ".ogg": _Container("OGG", {}, "VORBIS"),
    ".opus": _Container("OGG", {}, "OPUS"),
    ".mp3": _Container("MP3", {}, "MPEG_LAYER_III"),
}

# libsndfile's Vorbis encoder puts a whole write on the stack, and crashes when it is long.
_WRITE_SIZE = 4096


class AudioWriter:
    """Writes an audio file in blocks; the suffix of ``path`` chooses the format.

    The file appears under its name once it is complete; an exception inside the ``with`` leaves
    none. Integer formats round to the nearest step and clip beyond full scale; ``clipped`` counts
    the samples whose magnitude exceeded 1. Float and lossy formats keep them.

    Args:
        path: the file; "-" writes WAV to standard output, at the end.
        sample_rate: Hz.
        channels: how many; FLAC holds 8 and MP3 2.
        subtype: "16" or "24" bits, "float" (32 bits), or None: 16 bits where a format has bits.
        force: replace an existing file.

    Raises:
        AudioError: an unknown suffix or subtype, or a format that cannot hold these.
        LacunaError: on entering: the file cannot be written there (see ``atomic_path``).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sample_rate: int,
        channels: int,
        subtype: str | None = None,
        force: bool = False,
    ) -> None:
        self._name = "standard output" if str(path) == "-" else str(path)
        self._path = path
        self._sample_rate = sample_rate
        self._channels = channels
        self._force = force
        suffix = ".wav" if str(path) == "-" else Path(path).suffix.lower()
        self._format, self._subtype = _choose_format(self._name, suffix, subtype)
        self._bits = {"PCM_16": 16, "PCM_24": 24}.get(self._subtype)
        self._written = 0
        self.clipped = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:  # undoes what was done if a later step fails
            if str(self._path) == "-":
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lacuna-")))
                destination = folder / "stream.wav"
            else:
                destination = stack.enter_context(atomic_path(self._path, force=self._force))
            stack.enter_context(self._finish(destination))
            self._file = stack.enter_context(self._open(destination))
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        # Handing the exception to the stack is what makes atomic_path discard the file.
        self._resources.__exit__(*exception)

    def write(self, block: FloatArray | torch.Tensor) -> None:
        """Append a block of shape (channels, n): a numpy array, or a tensor on the CPU.

        Raises:
            AudioError: another shape, integers, a value that is not finite, or the disk is full.
        """
        array = np.asarray(block)
        if array.ndim != 2 or array.shape[0] != self._channels:
            raise AudioError(
                f"{self._name}: got a block of shape {array.shape}, expected "
                f"({self._channels}, time)"
            )
        _check_floating(array.dtype, np.issubdtype(array.dtype, np.floating))
        check_finite(array, self._written, self._sample_rate, self._name)
        for start in range(0, array.shape[1], _WRITE_SIZE):
            frames = np.ascontiguousarray(array[:, start : start + _WRITE_SIZE].T, np.float32)
            try:
                self._file.write(self._quantise(frames, self._bits) if self._bits else frames)
            except soundfile.LibsndfileError as error:
                raise AudioError(
                    f"{self._name} could not be written: {error.error_string} "
                    f"Is there space left on the disk?"
                ) from None
        self._written += array.shape[1]

    def _quantise(self, frames: FloatArray, bits: int) -> NDArray[np.int32]:
        """Round and clip here: libsndfile's own conversion rounds down in some formats."""
        self.clipped += int(np.count_nonzero(np.abs(frames) > 1))
        full_scale = 2 ** (bits - 1)
        integers = np.clip(np.rint(frames * full_scale), -full_scale, full_scale - 1)
        # libsndfile takes the upper bits of an int32.
        return integers.astype(np.int32) << (32 - bits)

    def _open(self, destination: Path) -> soundfile.SoundFile:
        try:
            return soundfile.SoundFile(
                destination,
                "w",
                samplerate=self._sample_rate,
                channels=self._channels,
                subtype=self._subtype,
                format=self._format,
            )
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"{self._name}: {self._subtype} in {self._format} cannot hold {self._channels} "
                f"channels at {self._sample_rate} Hz ({error.error_string}); use .wav, or "
                f"resample"
            ) from None

    @contextmanager
    def _finish(self, destination: Path) -> Iterator[None]:
        """What is left to do after the file was closed, if all went well."""
        yield
        if self._format == "RF64":
            _shrink_header(destination)
        if str(self._path) == "-":
            with destination.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()


def write(
    path: str | os.PathLike[str],
    waveform: FloatArray | torch.Tensor,
    sample_rate: int,
    subtype: str | None = None,
    force: bool = False,
) -> int:
    """Write a whole waveform (channels, time); returns the number of samples that were clipped.

    Raises:
        AudioError, LacunaError: as for ``AudioWriter``.
    """
    if waveform.ndim != 2:
        raise AudioError(f"{path}: got shape {tuple(waveform.shape)}, expected (channels, time)")
    with AudioWriter(path, sample_rate, waveform.shape[0], subtype, force) as writer:
        writer.write(waveform)
    return writer.clipped


def _choose_format(name: str, suffix: str, subtype: str | None) -> tuple[str, str]:
    """libsndfile's format and subtype for a suffix and a user's choice of sample format."""
    if suffix not in _CONTAINERS:
        raise AudioError(
            f"{name}: cannot write audio to the suffix '{suffix}', expected one of: "
            f"{' '.join(_CONTAINERS)}"
        )
    container = _CONTAINERS[suffix]
    if subtype is None:
        return container.format, container.coding or container.subtypes["16"]
    if subtype not in _PCM_AND_FLOAT:
        raise AudioError(f"{name}: unknown subtype '{subtype}', expected 16, 24 or float")
    if subtype not in container.subtypes:
        holds = " or ".join(container.subtypes) or "no subtype to choose"
        raise AudioError(
            f"{name}: {suffix} cannot hold subtype '{subtype}', it has {holds}; "
            f"leave the subtype out, or use .wav"
        )
    return container.format, container.subtypes[subtype]


_MAX_RIFF_SIZE = 2**32 - 1


def _shrink_header(path: Path) -> None:
    """Turn the header of an RF64 file into that of a plain WAV, if the sizes fit 32 bits.

    The length is not known when writing starts. RF64 holds any, but many programs do not open it.
    So the header is written again, of the same size; a JUNK chunk, which every reader skips,
    takes up the space that is left over:

        RIFF size WAVE | JUNK 0 0 ... 0 | fmt | data size | samples
    """
    riff_size = path.stat().st_size - 8
    if riff_size > _MAX_RIFF_SIZE:
        return
    with path.open("r+b") as file:
        header = file.read(256)
        data_at = header.index(b"data")
        fmt_at = header.index(b"fmt ")
        (data_size,) = struct.unpack_from("<Q", header, 28)  # in the ds64 chunk
        tag, *fields = struct.unpack_from("<HHIIHH", header, fmt_at + 8)
        if tag == 0xFFFE:  # WAVE_FORMAT_EXTENSIBLE: the real tag opens the subformat
            (tag,) = struct.unpack_from("<H", header, fmt_at + 8 + 24)
        room = data_at - 44
        file.seek(0)
        file.write(struct.pack("<4sI4s4sI", b"RIFF", riff_size, b"WAVE", b"JUNK", room))
        file.write(bytes(room))
        file.write(struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, *fields))
        file.write(struct.pack("<4sI", b"data", data_size))


# ------------------------------------------------------------------------------------- resampling

# VHQ rather than HQ: measured, 48 kHz -> 44.1 kHz -> 48 kHz returns a 5 kHz tone at 153 dB SNR
# against 130 dB (24 bits are 144 dB) for a quarter more time, 8 ms per second of stereo.
_QUALITY = "VHQ"
_PIECE = 8192  # samples; what soxr gets at once


def resampled_length(samples: int, from_rate: int, to_rate: int) -> int:
    """Samples after resampling: ceil(samples * to_rate / from_rate).

    Rounding up means that resampling there and back never loses the end of a recording.
    """
    return -(-samples * to_rate // from_rate)


class StreamResampler:
    """Resamples a stream block by block with soxr.

    The output is aligned with the input: sample n lies at n / to_rate seconds. In total it has
    ``resampled_length(samples, from_rate, to_rate)`` samples; soxr itself would round to the
    nearest, so it is fed silence after the end and its output cut there. soxr always gets pieces
    of the same size, so the result has the same bits however the input was cut into blocks.
    Equal rates pass every block through unchanged.

    Args:
        from_rate, to_rate: Hz, as integers.
        channels: channels of the stream.

    Raises:
        AudioError: a rate that is not positive.
    """

    def __init__(self, from_rate: int, to_rate: int, channels: int) -> None:
        if from_rate <= 0 or to_rate <= 0:
            raise AudioError(
                f"cannot resample from {from_rate} Hz to {to_rate} Hz; expected positive rates"
            )
        self._from_rate, self._to_rate = from_rate, to_rate
        self._stream = soxr.ResampleStream(from_rate, to_rate, channels, quality=_QUALITY)
        self._pending = np.zeros((channels, 0), dtype=np.float32)
        self._samples_in = 0
        self._samples_out = 0
        self._finished = False

    def process(self, block: FloatArray, last: bool = False) -> FloatArray:
        """Feed (channels, n), get (channels, m) of what can be given out by now.

        Args:
            block: the next samples; may be empty.
            last: this is the end of the stream: everything still inside comes out.

        Raises:
            AudioError: another number of channels, or a call after the last one.
        """
        channels = self._pending.shape[0]
        if block.ndim != 2 or block.shape[0] != channels:
            raise AudioError(f"got a block of shape {block.shape}, expected ({channels}, time)")
        if self._finished:
            raise AudioError("this stream has ended; make a new StreamResampler for another one")
        self._finished = last
        if self._from_rate == self._to_rate:
            return block
        self._samples_in += block.shape[1]
        waiting = np.concatenate([self._pending, block], axis=1, dtype=np.float32)
        whole = waiting.shape[1] // _PIECE * _PIECE
        out = [self._feed(waiting[:, at : at + _PIECE]) for at in range(0, whole, _PIECE)]
        self._pending = waiting[:, whole:].copy()
        if last:
            out.append(self._flush())
        if not out:
            return np.zeros((channels, 0), dtype=np.float32)
        return np.concatenate(out, axis=1)

    def _flush(self) -> FloatArray:
        silence = np.zeros((self._pending.shape[0], -(-self._from_rate // self._to_rate) + 1))
        tail = np.concatenate([self._pending, silence], axis=1, dtype=np.float32)
        due = resampled_length(self._samples_in, self._from_rate, self._to_rate) - self._samples_out
        out = self._feed(tail, last=True)
        assert out.shape[1] >= due, (out.shape, due)
        return out[:, :due]

    def _feed(self, piece: FloatArray, last: bool = False) -> FloatArray:
        out = self._stream.resample_chunk(np.ascontiguousarray(piece.T), last=last).T
        self._samples_out += out.shape[1]
        return out


def resample(waveform: Waveform, from_rate: int, to_rate: int) -> Waveform:
    """Resample a numpy array or torch tensor (..., time); same type, dtype and device.

    The same bits as a ``StreamResampler`` fed with it in blocks, hence computed in float32 on the
    CPU, and not differentiable. The length is ``resampled_length(time, from_rate, to_rate)``.

    Raises:
        AudioError: not floating point, a tensor that requires grad, or a rate that is not positive.
    """
    if isinstance(waveform, np.ndarray):
        _check_floating(waveform.dtype, np.issubdtype(waveform.dtype, np.floating))
        rows = waveform.reshape(math.prod(waveform.shape[:-1]), waveform.shape[-1])
        out = StreamResampler(from_rate, to_rate, rows.shape[0]).process(rows, last=True)
        return out.reshape(*waveform.shape[:-1], out.shape[-1]).astype(waveform.dtype)
    import torch

    _check_floating(waveform.dtype, waveform.is_floating_point())
    if waveform.requires_grad:
        raise AudioError(
            "resample is not differentiable, and this tensor requires grad; "
            "resample the data beforehand, or call waveform.detach()"
        )
    array = waveform.to("cpu", torch.float32).numpy()
    return torch.from_numpy(resample(array, from_rate, to_rate)).to(waveform)


# --------------------------------------------------------------------------------------- mid/side


def to_mid_side(waveform: Waveform) -> Waveform:
    """Stereo (..., 2, time) as mid (L + R) / 2 and side (L - R) / 2, in that order.

    Any other number of channels passes unchanged. ``from_mid_side`` is the inverse.
    """
    if waveform.shape[-2] != 2:
        return waveform
    left, right = waveform[..., 0, :], waveform[..., 1, :]
    return _stack_channels((left + right) / 2, (left - right) / 2)


def from_mid_side(coded: Waveform) -> Waveform:
    """Mid and side (..., 2, time) as left = mid + side and right = mid - side.

    Any other number of channels passes unchanged.
    """
    if coded.shape[-2] != 2:
        return coded
    mid, side = coded[..., 0, :], coded[..., 1, :]
    return _stack_channels(mid + side, mid - side)


def _stack_channels(first: Waveform, second: Waveform) -> Waveform:
    if isinstance(first, np.ndarray):
        return np.stack([first, second], axis=-2)
    import torch

    return torch.stack([first, second], dim=-2)
