"""Writing audio files, block by block; a file is complete or not there at all."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from codec.audio.decoding import TAGS, native_path
from codec.audio.waveform import (
    FloatArray,
    check_finite,
    check_floating,
    check_layout,
    checked_rate,
)
from codec.errors import AudioError
from codec.files import atomic_path, standard_output
from codec.text import printable

if TYPE_CHECKING:
    import torch


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

_LOST_TAGS = {
    "RF64": {"license"},
    "AIFF": {"album", "date", "genre", "tracknumber", "license"},
    "MP3": {"copyright", "license"},
    "W64": set(TAGS),
    "AU": set(TAGS),
}
"""The tags that libsndfile does not write, by format."""

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
        tags: those of ``TAGS`` are written, if the format holds them; ``lost_tags`` names others.

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
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._name = "standard output" if str(path) == "-" else printable(path)
        self._path = path
        self._sample_rate = checked_rate(sample_rate)
        self._channels = channels
        self._force = force
        suffix = ".wav" if str(path) == "-" else Path(path).suffix.lower()
        self._format, self._subtype = _choose_format(self._name, suffix, subtype)
        self._bits = {"PCM_16": 16, "PCM_24": 24}.get(self._subtype)
        self._written = 0
        self.clipped = 0
        self._tags = tags or {}
        self.lost_tags: list[str] = []
        """Names of the tags that the file cannot hold, once it is open."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:  # undoes what was done if a later step fails
            if str(self._path) == "-":
                standard_output()  # which must not turn out to be closed after the work
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lacuna-")))
                destination = folder / "stream.wav"
            else:
                destination = stack.enter_context(atomic_path(self._path, force=self._force))
            stack.enter_context(self._finish(destination))
            self._file = stack.enter_context(self._open(destination))
            self._write_tags(self._tags)
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
        check_floating(array.dtype, np.issubdtype(array.dtype, np.floating))
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
                native_path(destination),
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

    def _write_tags(self, tags: Mapping[str, str]) -> None:
        for name in TAGS:
            text = tags.get(name)
            if not text:
                continue
            # In an MP3, libsndfile writes UTF-8 where readers expect Latin-1.
            garbled = self._format == "MP3" and not text.isascii()
            if garbled or name in _LOST_TAGS.get(self._format, ()):
                self.lost_tags.append(name)
            else:
                setattr(self._file, name, text)

    @contextmanager
    def _finish(self, destination: Path) -> Iterator[None]:
        """What is left to do after the file was closed, if all went well."""
        yield
        if self._format == "RF64":
            _shrink_header(destination)
        if str(self._path) == "-":
            with destination.open("rb") as file:
                shutil.copyfileobj(file, standard_output())
            standard_output().flush()


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
    check_layout(waveform.shape)
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

        RIFF size WAVE | JUNK 0 0 ... 0 | fmt | LIST (tags) | data size | samples
    """
    riff_size = path.stat().st_size - 8
    if riff_size > _MAX_RIFF_SIZE:
        return
    with path.open("r+b") as file:
        file.seek(12)
        kept, data_size = b"", 0
        while (name := file.read(4)) != b"data":
            (size,) = struct.unpack("<I", file.read(4))
            body = file.read(size + size % 2)
            if name == b"ds64":
                (data_size,) = struct.unpack_from("<Q", body, 8)
            elif name == b"fmt ":
                tag, *fields = struct.unpack_from("<HHIIHH", body)
                if tag == 0xFFFE:  # WAVE_FORMAT_EXTENSIBLE: the real tag opens the subformat
                    (tag,) = struct.unpack_from("<H", body, 24)
                kept = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, *fields) + kept
            elif name == b"LIST":
                kept += name + struct.pack("<I", size) + body
        room = file.tell() - 4 - 12 - 8 - len(kept)
        file.seek(0)
        file.write(struct.pack("<4sI4s4sI", b"RIFF", riff_size, b"WAVE", b"JUNK", room))
        file.write(bytes(room) + kept)
        file.write(struct.pack("<4sI", b"data", data_size))
