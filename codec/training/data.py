"""Random crops of a folder of audio, each fixed by (seed, index) alone.

Item ``index`` of a run is the same crop with the same gain and the same noise whichever process
asks for it, in whichever order, before or after a restart. That is what makes resumed and
multi-process runs repeat exactly, and why nothing here keeps a random state.

They are cut from decoded 16-bit audio (decoded.py): in memory, on the GPU when there is one and it
has room, or in a memory-mapped cache.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchaudio
from torch import Tensor

from codec.batch.folders import find_audio
from codec.errors import AudioError, LacunaError
from codec.network.channel_layout import to_rows
from codec.network.config import ModelConfig
from codec.training.config import DataConfig
from codec.training.decoded import INT16, AudioCache, Progress, decode_into_memory
from codec.training.rare import make_rare

RARE = 4
"""The purpose, as :func:`item_rng` has it, of choosing what recordings seldom hold."""

DEVICE_SHARE = 0.5
"""Share of a GPU's free memory that decoded audio may take."""


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
    speed: int
    """In percent."""
    second: bool
    """Take the second of a stereo file's two coded channels (one-channel networks)."""


@dataclass(frozen=True)
class Batch:
    """waveform (items, channels, time); index (items,) keys every other random choice."""

    waveform: Tensor
    index: Tensor


def item_rng(seed: int, index: int, purpose: int = 0) -> np.random.Generator:
    """The random generator of one item; ``purpose`` tells its independent uses apart."""
    return np.random.Generator(np.random.Philox(key=[seed, (purpose << 48) + index]))


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device, without waiting until it is there."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


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
    """A set of decoded audio files from which item ``index`` is cut."""

    def __init__(
        self,
        files: list[AudioFile],
        samples: list[Tensor],
        model: ModelConfig,
        config: DataConfig,
        seed: int,
    ) -> None:
        """``samples`` of each file: int16 (channels, time), all on one device."""
        self.files = files
        self._model = model
        self.config = config
        self.seed = seed
        self.sample_rate = model.sample_rate
        self.model = model
        hop = model.hop_length
        self.crop_samples = max(1, round(config.crop_seconds * model.sample_rate / hop)) * hop
        self._samples = samples
        # A file is drawn by its length: every second of audio is equally likely.
        lengths = np.array([max(f.samples, self.crop_samples) for f in files], dtype=np.float64)
        self._cumulative = np.cumsum(lengths) / lengths.sum()

    def without_rare(self) -> AudioSource:
        """The same crops as recordings have them: what statistics are measured on."""
        return self.cut(self.config.model_copy(update={"rare_share": 0.0}))

    def cut(self, config: DataConfig) -> AudioSource:
        """The same audio, cut as another config says."""
        return AudioSource(self.files, self._samples, self._model, config, self.seed)

    @property
    def hours(self) -> float:
        return sum(f.samples for f in self.files) / self.sample_rate / 3600

    def crop(self, index: int) -> Crop:
        """The choice for item ``index``."""
        rng = item_rng(self.seed, index)
        file = int(np.searchsorted(self._cumulative, rng.random(), side="right"))
        file = min(file, len(self.files) - 1)
        speeds = self.config.speeds
        speed = speeds[0] if len(speeds) == 1 else int(rng.choice(speeds))
        free = max(self.files[file].samples - self._samples_at(speed), 0)
        start = int(rng.integers(free + 1))
        gain = 10 ** (rng.uniform(*self.config.gain_db) / 20) * (1 if rng.random() < 0.5 else -1)
        share = 0.5 if self.model.stereo == "left_right" else self.config.side_share
        rows = self.files[file].channels if self.model.channels == 1 else 1
        second = rows == 2 and rng.random() < share
        return Crop(file, start, gain, speed, second)

    def _samples_at(self, speed: int) -> int:
        """How much of a file a crop takes at a speed in percent."""
        return -(-self.crop_samples * speed // 100)

    def batch(self, indices: Iterable[int]) -> Batch:
        """Items ``indices`` as one batch."""
        indices = list(indices)
        waveform = torch.stack([self._rare(self._item(self.crop(i)), i) for i in indices])
        return Batch(waveform, torch.tensor(indices))

    def _rare(self, item: Tensor, index: int) -> Tensor:
        """A share of the items made into what recordings seldom hold."""
        if self.config.rare_share == 0:
            return item
        rng = item_rng(self.seed, index, RARE)
        if rng.random() >= self.config.rare_share:
            return item
        return torch.from_numpy(make_rare(item.cpu().numpy(), self.sample_rate, rng).copy()).to(
            item
        )

    def _item(self, crop: Crop) -> Tensor:
        end = crop.start + self._samples_at(crop.speed)
        sound = self._samples[crop.file][:, crop.start : end].float() / INT16
        if crop.speed != 100:
            sound = torchaudio.functional.resample(sound.contiguous(), crop.speed, 100)
        return self._finish(sound[:, : self.crop_samples], crop)

    def _finish(self, samples: Tensor, crop: Crop) -> Tensor:
        """Channel layout, gain and zero-padding of a raw crop (1 or 2 channels, time)."""
        row = to_rows(self.model, samples[None])[0, int(crop.second)]
        return torch.nn.functional.pad(row * crop.gain, (0, self.crop_samples - row.shape[1]))


def open_source(
    paths: list[Path],
    model: ModelConfig,
    config: DataConfig,
    *,
    seed: int,
    device: torch.device,
    cache: Path | None = None,
    manifest: str | Path | None = None,
    listed_alone: bool = True,
    progress: Progress = lambda what, done, total: None,
) -> AudioSource:
    """Decode every file, or look it up in the ``cache``, and make a source of the usable ones.

    Files that cannot be read, are silent or shorter than 0.1 s are skipped with one warning
    that names them all. With a manifest only the files in it are used, with its labels; or, unless
    ``listed_alone``, all of them, and those in it with their labels.
    ``progress(what, done, total)`` is called after every file that is decoded.

    Raises:
        AudioError: no usable file.
        LacunaError: decoded audio does not fit into memory, or the cache cannot be written.
    """
    labels = read_manifest(manifest) if manifest is not None else None
    if labels is not None and listed_alone:
        paths = [p for p in paths if str(p.resolve()) in labels]
    samples: list[Tensor] = []
    problems: list[str] = []
    if paths:
        if cache is None:
            samples, problems = decode_into_memory(paths, model.sample_rate, progress)
        else:
            samples, problems = AudioCache(cache, model.sample_rate).load(paths, progress)
    if skipped := [problem for problem in problems if problem]:
        warnings.warn(f"skipped {len(skipped)} files:\n  " + "\n  ".join(skipped), stacklevel=2)
    usable = [
        (path, sound)
        for path, sound, problem in zip(paths, samples, problems, strict=True)
        if not problem
    ]
    if not usable:
        raise AudioError(
            "no usable audio: every file was skipped, or the manifest names none of them"
        )
    files = [
        AudioFile(
            path,
            sound.shape[1],
            sound.shape[0],
            (labels or {}).get(str(path.resolve()), {}),
        )
        for path, sound in usable
    ]
    return AudioSource(files, _placed([sound for _, sound in usable], device), model, config, seed)


def _placed(samples: list[Tensor], device: torch.device) -> list[Tensor]:
    """On the device, if it is a GPU and has room for them."""
    if device.type != "cuda":
        return samples
    free, _ = torch.cuda.mem_get_info(device)
    if sum(s.nbytes for s in samples) > DEVICE_SHARE * free:
        return samples
    return [sound.to(device) for sound in samples]
