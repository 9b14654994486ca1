"""Decoded audio as 16-bit integers at the model's sample rate: what crops are cut from.

It is kept in memory, or, for more audio than memory holds and for starts without any decoding, in
a cache on disk: an :class:`AudioCache`, which decodes every file once.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from filelock import FileLock
from torch import Tensor

from codec import audio
from codec.errors import LacunaError
from codec.training.ahead import computed_ahead

SILENT_PEAK = 1e-4
SHORTEST = 0.1
"""Seconds."""

INT16 = 32767.0
BYTES = 2
MEMORY_SHARE = 0.8
"""Share of the free memory that decoded audio may take."""

Progress = Callable[[str, int, int], None]
Key = tuple[str, int, int]
"""A file as it is now: its path, its size in bytes and the time of its last change."""


@dataclass(frozen=True)
class Decoded:
    """A file's first two channels, or one if both are equal; or the reason why it is of no use."""

    samples: np.ndarray
    """int16 (channels, time), the full scale being 32767."""
    problem: str = ""


def decode(path: Path, sample_rate: int) -> Decoded:
    """Read and resample a file; one that is cut short as far as it goes."""
    nothing = np.zeros((1, 0), np.int16)
    try:
        waveform, rate = audio.read(path)
    except LacunaError as error:
        return Decoded(nothing, str(error))
    if waveform.shape[1] < SHORTEST * rate:
        return Decoded(nothing, f"'{path}': shorter than {SHORTEST} s")
    if np.abs(waveform).max() < SILENT_PEAK:
        return Decoded(nothing, f"'{path}': silent")
    if waveform.shape[0] == 1 or np.array_equal(waveform[0], waveform[1]):
        waveform = waveform[:1]  # the side signal would only teach silence
    waveform = audio.resample(waveform[:2], rate, sample_rate)
    return Decoded(as_int16(waveform))


def as_int16(waveform: np.ndarray) -> np.ndarray:
    """As 16-bit integers, turned down where it exceeds full scale, as decoded Vorbis may."""
    peak = max(1.0, float(np.abs(waveform).max()))
    return np.round(waveform / peak * INT16).astype(np.int16)


def decode_all(
    paths: list[Path], sample_rate: int, progress: Progress
) -> Iterator[tuple[Path, Decoded]]:
    """:func:`decode` for each path, in threads, a few of them ahead."""
    workers = max(2, min(16, os.cpu_count() or 2))
    results = computed_ahead(
        lambda path: decode(path, sample_rate), paths, workers=workers, depth=2 * workers
    )
    # The filters of warnings are shared by all threads, hence set out here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a truncated file is used as far as it goes
        for done, (path, decoded) in enumerate(zip(paths, results, strict=True), 1):
            progress(path.name, done, len(paths))
            yield path, decoded


def decode_into_memory(
    paths: list[Path], sample_rate: int, progress: Progress
) -> tuple[list[Tensor], list[str]]:
    """Samples of every file, int16 (channels, time), and why it is of no use, if so.

    Raises:
        LacunaError: they do not fit into memory.
    """
    free = MEMORY_SHARE * psutil.virtual_memory().available
    samples: list[Tensor] = []
    problems: list[str] = []
    taken = 0
    for path, decoded in decode_all(paths, sample_rate, progress):
        taken += decoded.samples.nbytes
        if taken > free:
            raise LacunaError(
                f"decoded audio takes more than the {free / 1e9:.1f} GB of memory that are free "
                f"(file {len(samples) + 1} of {len(paths)}, '{path}'); keep it on disk: "
                f"--cache DIR"
            )
        samples.append(torch.from_numpy(decoded.samples))
        problems.append(decoded.problem)
    return samples, problems


@dataclass(frozen=True)
class CachedFile:
    """A line of the cache's index: which file, as it was then, and where its samples lie."""

    path: str
    size: int
    """Bytes."""
    modified: int
    """Nanoseconds, as the file system has it."""
    first: int
    """Number of its first value in the cache."""
    channels: int
    samples: int
    problem: str

    @property
    def key(self) -> Key:
        return self.path, self.size, self.modified

    @property
    def end(self) -> int:
        """Number of the value after its last one."""
        return self.first + self.channels * self.samples


class AudioCache:
    """Decoded audio of any number of folders in two files that only grow.

    ``44100.int16`` has the samples of one file after the other, channels interleaved, and
    ``44100.jsonl`` a line for each, written after its samples: what was decoded when a run was
    killed is kept. A file whose size or time has changed is decoded anew. Samples are
    memory-mapped: the system holds what is used often, and any number of runs share it.
    """

    def __init__(self, folder: str | Path, sample_rate: int) -> None:
        self.folder = Path(folder)
        self.sample_rate = sample_rate
        self._values = self.folder / f"{sample_rate}.int16"
        self._index = self.folder / f"{sample_rate}.jsonl"

    def load(self, paths: list[Path], progress: Progress) -> tuple[list[Tensor], list[str]]:
        """As :func:`decode_into_memory`; only files that the cache does not have are decoded.

        Raises:
            LacunaError: the folder cannot be written to, or the disk is full.
        """
        keys = [_key(path) for path in paths]
        with self._writing(), FileLock(self.folder / f"{self.sample_rate}.lock"):
            cached, length = self._read_index()
            missing = [path for path, key in zip(paths, keys, strict=True) if key not in cached]
            if missing:
                self._add(missing, cached, length, progress)
        values = _mapped(self._values, max(file.end for file in cached.values()))
        files = [cached[key] for key in keys]
        return [_samples(values, file) for file in files], [file.problem for file in files]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            raise LacunaError(
                f"the cache '{self.folder}' cannot be written ({error.strerror or error}); decoded "
                f"audio takes 2 bytes a sample, 0.6 GB for an hour of stereo at 44.1 kHz. Make "
                f"room, or name another folder with --cache: what is decoded is kept"
            ) from None

    def _read_index(self) -> tuple[dict[Key, CachedFile], int]:
        """Every file whose samples are there, and how many bytes of the index tell of them."""
        cached: dict[Key, CachedFile] = {}
        length = 0
        if not self._index.exists() or not self._values.exists():
            return cached, length
        end = self._values.stat().st_size // BYTES
        for line in self._index.read_bytes().splitlines(keepends=True):
            try:
                file = CachedFile(**json.loads(line))
            except (ValueError, TypeError):
                break  # a line that was cut short
            if file.end > end or not line.endswith(b"\n"):
                break
            cached[file.key] = file
            length += len(line)
        return cached, length

    def _add(
        self, paths: list[Path], cached: dict[Key, CachedFile], length: int, progress: Progress
    ) -> None:
        """Decode ``paths``, append them to both files, and add them to ``cached``."""
        first = max((file.end for file in cached.values()), default=0)
        with open(self._values, "ab") as values, open(self._index, "ab") as index:
            values.truncate(first * BYTES)
            index.truncate(length)
            for path, decoded in decode_all(paths, self.sample_rate, progress):
                values.write(np.ascontiguousarray(decoded.samples.T).tobytes())
                values.flush()
                channels, samples = decoded.samples.shape
                file = CachedFile(*_key(path), first, channels, samples, decoded.problem)
                index.write(json.dumps(asdict(file)).encode() + b"\n")
                index.flush()
                first = file.end
                cached[file.key] = file


def _key(path: Path) -> Key:
    try:
        status = path.stat()
    except OSError:  # decoding will say what is wrong with it
        return str(path.resolve()), -1, -1
    return str(path.resolve()), status.st_size, status.st_mtime_ns


def _mapped(path: Path, length: int) -> Tensor:
    """int16 values of a file, mapped into memory and never written to."""
    if length == 0:
        return torch.zeros(0, dtype=torch.int16)
    return torch.from_file(str(path), shared=False, size=length, dtype=torch.int16)


def _samples(values: Tensor, file: CachedFile) -> Tensor:
    return values[file.first : file.end].view(file.samples, file.channels).T
