"""Random crops of a folder of audio, each fixed by (seed, index) alone.

Item ``index`` of a run is the same crop with the same gain and the same noise whichever process
asks for it, in whichever order, before or after a restart. That is what makes resumed and
multi-process runs repeat exactly, and why nothing here keeps a random state.

Two sources share the choice of crops: :class:`ResidentAudio` holds everything decoded in memory
(on the GPU when there is one), :class:`StreamedAudio` reads each crop from disk.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from codec import audio
from codec.batch.folders import find_audio
from codec.errors import AudioError, LacunaError
from codec.network.config import ModelConfig
from codec.training.config import DataConfig

SILENT_PEAK = 1e-4
INT16 = 32767.0


@dataclass(frozen=True)
class AudioFile:
    """One usable file: its path, its labels, and its length at the model's sample rate."""

    path: Path
    samples: int
    channels: int
    labels: dict[str, str]


@dataclass(frozen=True)
class Crop:
    """Where an item comes from, and how it is changed."""

    file: int
    start: int
    gain: float
    second: bool
    """Take the second of a stereo file's two coded channels (one-channel networks only)."""


@dataclass(frozen=True)
class Batch:
    """waveform (items, channels, time); index (items,) keys every other random choice."""

    waveform: Tensor
    index: Tensor


def item_rng(seed: int, index: int, purpose: int = 0) -> np.random.Generator:
    """The random generator of one item; ``purpose`` tells its independent uses apart."""
    return np.random.Generator(np.random.Philox(key=[seed, (purpose << 48) + index]))


def split_files(data: str | Path, valid: str | Path | None) -> tuple[list[Path], list[Path]]:
    """Files to train on and to validate on: of two folders, or every 20th file of one.

    Raises:
        AudioError: no such folder, no audio in it, or a single file and no folder to validate on.
    """
    paths = find_audio(data)
    if valid is not None:
        return paths, find_audio(valid)
    if len(paths) < 2:
        raise AudioError(f"'{data}' holds one audio file; name another folder with --valid")
    return [p for i, p in enumerate(paths) if i % 20], paths[::20]


def read_manifest(path: str | Path) -> dict[str, dict[str, str]]:
    """A CSV with a ``path`` column, relative to the manifest: path -> its other columns.

    Raises:
        LacunaError: no such file, or no ``path`` column.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:  # Excel writes a mark
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LacunaError(f"cannot read the manifest '{path}': {error}") from None
    if not rows or "path" not in rows[0]:
        raise LacunaError(f"the manifest '{path}' needs a header line with a 'path' column")
    base = Path(path).parent.resolve()
    return {str((base / (row.pop("path") or "")).resolve()): row for row in rows}


class AudioSource:
    """A set of audio files from which item ``index`` is cut."""

    def __init__(
        self, files: list[AudioFile], model: ModelConfig, config: DataConfig, seed: int
    ) -> None:
        self.files = files
        self.config = config
        self.seed = seed
        self.sample_rate = model.sample_rate
        self.channels = model.channels
        self.left_right = model.stereo == "left_right"
        hop = model.hop_length
        self.crop_samples = max(1, round(config.crop_seconds * model.sample_rate / hop)) * hop
        # A file is drawn by its length: every second of audio is equally likely.
        lengths = np.array([max(f.samples, self.crop_samples) for f in files], dtype=np.float64)
        self._cumulative = np.cumsum(lengths) / lengths.sum()

    @property
    def hours(self) -> float:
        return sum(f.samples for f in self.files) / self.sample_rate / 3600

    def crop(self, index: int) -> Crop:
        """The choice for item ``index``."""
        rng = item_rng(self.seed, index)
        file = int(np.searchsorted(self._cumulative, rng.random(), side="right"))
        file = min(file, len(self.files) - 1)
        free = max(self.files[file].samples - self.crop_samples, 0)
        start = int(rng.integers(free + 1))
        gain = 10 ** (rng.uniform(*self.config.gain_db) / 20) * (1 if rng.random() < 0.5 else -1)
        share = 0.5 if self.left_right else self.config.side_share
        second = self.files[file].channels == 2 and rng.random() < share
        return Crop(file, start, gain, second)

    def batch(self, indices: Iterable[int]) -> Batch:
        """Items ``indices`` as one batch."""
        indices = list(indices)
        waveform = torch.stack([self._item(self.crop(i)) for i in indices])
        return Batch(waveform, torch.tensor(indices))

    def _item(self, crop: Crop) -> Tensor:
        raise NotImplementedError

    def _finish(self, samples: Tensor, crop: Crop) -> Tensor:
        """Channel layout, gain and zero-padding of a raw crop (1 or 2 channels, time)."""
        if self.channels == 1 and samples.shape[0] == 2:
            left, right = samples
            if self.left_right:
                samples = (right if crop.second else left)[None]
            else:
                samples = ((left - right if crop.second else left + right) / 2)[None]
        elif self.channels == 2 and samples.shape[0] == 1:
            samples = samples.expand(2, -1)
        missing = self.crop_samples - samples.shape[1]
        return torch.nn.functional.pad(samples * crop.gain, (0, missing))


class ResidentAudio(AudioSource):
    """Decoded audio as 16-bit integers in one tensor on ``device``: 0.6 GB per stereo hour."""

    def __init__(
        self,
        files: list[AudioFile],
        samples: list[np.ndarray],
        model: ModelConfig,
        config: DataConfig,
        seed: int,
        device: torch.device,
    ) -> None:
        super().__init__(files, model, config, seed)
        self._samples = [torch.from_numpy(s).to(device) for s in samples]

    def _item(self, crop: Crop) -> Tensor:
        stored = self._samples[crop.file][:, crop.start : crop.start + self.crop_samples]
        return self._finish(stored.float() / INT16, crop)


class StreamedAudio(AudioSource):
    """Crops read from disk when asked for; several threads, since libsndfile frees the GIL."""

    def __init__(
        self, files: list[AudioFile], model: ModelConfig, config: DataConfig, seed: int
    ) -> None:
        super().__init__(files, model, config, seed)
        self._pool = ThreadPoolExecutor(max_workers=4)

    def batch(self, indices: Iterable[int]) -> Batch:
        indices = list(indices)
        items = self._pool.map(self._item, [self.crop(i) for i in indices])
        return Batch(torch.stack(list(items)), torch.tensor(indices))

    def _item(self, crop: Crop) -> Tensor:
        source = self.files[crop.file]
        with soundfile.SoundFile(source.path) as file:
            rate = file.samplerate
            start = round(crop.start * rate / self.sample_rate)
            count = round(self.crop_samples * rate / self.sample_rate)
            try:
                file.seek(min(start, file.frames))
                raw = file.read(count, dtype="float32", always_2d=True).T
            except soundfile.LibsndfileError:  # seeking fails in a FLAC file that was cut short
                with audio.AudioReader(source.path) as reader:
                    raw = next(reader.blocks(count, start))
        # As many channels as the whole file has: within a crop both may be equal by chance.
        samples = audio.resample(raw[: source.channels], rate, self.sample_rate)
        return self._finish(torch.from_numpy(samples[:, : self.crop_samples]), crop)


def open_source(
    paths: list[Path],
    model: ModelConfig,
    config: DataConfig,
    *,
    seed: int,
    device: torch.device,
    resident: bool = True,
    manifest: str | Path | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> AudioSource:
    """Look at every file and make a source of the usable ones.

    Files that cannot be read, are silent or shorter than 0.1 s are skipped with one warning
    that names them all. With a manifest only the files in it are used, with its labels.
    ``progress(what, done, total)`` is called after every file.

    Raises:
        AudioError: no usable file.
    """
    labels = read_manifest(manifest) if manifest is not None else None
    if labels is not None:
        paths = [p for p in paths if str(p.resolve()) in labels]
    files: list[AudioFile] = []
    decoded: list[np.ndarray] = []
    skipped: list[str] = []

    def load(path: Path) -> tuple[np.ndarray | None, int, int, str]:
        try:
            waveform, rate = audio.read(path)
        except LacunaError as error:
            return None, 0, 0, str(error)
        if waveform.shape[1] < 0.1 * rate:
            return None, 0, 0, f"'{path}': shorter than 0.1 s"
        if np.abs(waveform).max() < SILENT_PEAK:
            return None, 0, 0, f"'{path}': silent"
        waveform = audio.resample(_two_channels(waveform), rate, model.sample_rate)
        channels, samples = waveform.shape
        if not resident:
            return None, channels, samples, ""
        peak = max(1.0, float(np.abs(waveform).max()))  # decoded Vorbis may exceed full scale
        return np.round(waveform / peak * INT16).astype(np.int16), channels, samples, ""

    # The filters of warnings are shared by all threads, hence set out here.
    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=2) as pool:
        warnings.simplefilter("ignore")  # a truncated file is used as far as it goes
        for done, (path, result) in enumerate(zip(paths, pool.map(load, paths), strict=True), 1):
            samples, channels, length, problem = result
            if problem:
                skipped.append(problem)
            else:
                file_labels = labels[str(path.resolve())] if labels is not None else {}
                files.append(AudioFile(path, length, channels, file_labels))
                if samples is not None:
                    decoded.append(samples)
            progress(path.name, done, len(paths))
    if skipped:
        warnings.warn(f"skipped {len(skipped)} files:\n  " + "\n  ".join(skipped), stacklevel=2)
    if not files:
        raise AudioError(
            "no usable audio: every file was skipped, or the manifest names none of them"
        )
    if resident:
        return ResidentAudio(files, decoded, model, config, seed, device)
    return StreamedAudio(files, model, config, seed)


def _two_channels(waveform: np.ndarray) -> np.ndarray:
    """The first two channels, or one if both are equal: it would only teach silence."""
    if waveform.shape[0] == 1 or np.array_equal(waveform[0], waveform[1]):
        return waveform[:1]
    return waveform[:2]
