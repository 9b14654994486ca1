"""Stored latents: a folder of audio encoded once, from which the diffusion stage trains.

    SHARDS/index.json                 what is stored: the codec, statistics, and every clip
    SHARDS/shard-00000.safetensors    mean and logvar, float16, (rows, latent_dim) each

Both are standardised, as ``Codec.encode`` does it. A clip's rows lie together: all frames of its
first coded channel, then all of its second. Which files a shard holds depends on the folder alone,
so that an interrupted run goes on with any number of processes; the index comes last.
diffusion/latents/encode.py writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from codec.errors import CheckpointError
from codec.files import unicode_path
from codec.model.latent_codec import LatentCodec
from codec.settings import StrictConfig, validate

FORMAT = "lacuna-latents-1"


class Clip(StrictConfig):
    """Where one audio file's latents are."""

    path: str
    """Relative to the folder that was encoded, with forward slashes."""
    shard: int
    offset: int
    """First row in the shard."""
    frames: int
    coded_channels: int
    seconds: float
    label: str
    """Empty if it has none."""
    gain_db: float = 0.0
    """Level at which it was encoded, relative to the file's."""


class Statistics(StrictConfig):
    """Over all stored frames, per latent channel: of the mean, and the mean posterior sigma."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    sigma: tuple[float, ...]


class Index(StrictConfig):
    """What index.json holds."""

    format: str
    codec: str
    latent_id: str
    frame_rate: float
    latent_dim: int
    coded_channels: int
    """Coded channels of the codec's stereo: 2, or 1 if its network takes both channels at once."""
    left_right: bool
    """Two coded channels are left and right, so that either may stand alone or for the other."""
    shards: tuple[str, ...]
    statistics: Statistics
    clips: tuple[Clip, ...]


class LatentSet:
    """An open set of stored latents; the shards are mapped into memory, not read."""

    def __init__(self, folder: Path, index: Index, shards: list[dict[str, Tensor]]) -> None:
        self.folder = folder
        self.index = index
        self.clips = index.clips
        self._shards = shards

    @classmethod
    def open(cls, folder: str | Path) -> LatentSet:
        """Open what ``lacuna latents`` made.

        Raises:
            CheckpointError: there is no index, or a file of the set is missing or damaged.
        """
        folder = Path(folder)
        path = folder / "index.json"
        if not path.is_file():
            raise CheckpointError(
                f"'{folder}' holds no finished latents (no index.json); `lacuna latents` makes "
                f"them, and the same command again finishes an interrupted one"
            )
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"'{path}' is damaged: {error}; run `lacuna latents` again"
            ) from None
        index = validate(Index, values, str(path))
        if index.format != FORMAT:
            raise CheckpointError(f"'{path}' is '{index.format}', expected '{FORMAT}'")
        shards = [load_shard(folder / name, index.latent_dim) for name in index.shards]
        for clip in index.clips:
            last = clip.offset + clip.frames * clip.coded_channels
            if not 0 <= clip.shard < len(shards) or last > len(shards[clip.shard]["mean"]):
                raise CheckpointError(
                    f"'{path}' and its shards do not fit together at '{clip.path}'; delete it and "
                    f"run `lacuna latents` again"
                )
        return cls(folder, index, shards)

    @property
    def labels(self) -> tuple[str, ...]:
        """The distinct labels, sorted; the empty one, of clips without a label, is left out."""
        return tuple(sorted({clip.label for clip in self.clips} - {""}))

    @property
    def hours(self) -> float:
        return sum(clip.seconds for clip in self.clips) / 3600

    def check_codec(self, codec: LatentCodec) -> None:
        """Refuse to be used with another codec.

        Raises:
            CheckpointError: naming both.
        """
        if codec.latent_id != self.index.latent_id:
            raise CheckpointError(
                f"the latents in '{self.folder}' are of the codec '{self.index.codec}', latent_id "
                f"{self.index.latent_id}; the codec at hand is '{codec.config.name}', latent_id "
                f"{codec.latent_id}. Name the right one with --codec, or encode the audio again "
                f"with `lacuna latents`"
            )

    def posterior(self, clip: Clip, start: int, frames: int) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of a part of a clip, as far as it goes.

        Returns:
            Each (coded_channels, latent_dim, at most ``frames``), float32.
        """
        assert 0 <= start < clip.frames, (start, clip)
        stop = min(start + frames, clip.frames)
        rows = [clip.offset + channel * clip.frames for channel in range(clip.coded_channels)]
        mean, logvar = (
            torch.stack([stored[row + start : row + stop].T.float() for row in rows])
            for stored in (self._shards[clip.shard][name] for name in ("mean", "logvar"))
        )
        return mean, logvar

    def only(self, clips: Iterable[Clip]) -> LatentSet:
        """The same set with some of its clips."""
        index = self.index.model_copy(update={"clips": tuple(clips)})
        return LatentSet(self.folder, index, self._shards)


def load_shard(path: Path, latent_dim: int) -> dict[str, Tensor]:
    try:
        with unicode_path(path) as named:
            shard = load_file(named)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"'{path}' is missing or damaged: {error}; delete it and run `lacuna latents` again"
        ) from None
    shapes = {name: tuple(tensor.shape) for name, tensor in shard.items()}
    rows = len(shard.get("mean", ()))
    if shapes != {"mean": (rows, latent_dim), "logvar": (rows, latent_dim)}:
        raise CheckpointError(
            f"'{path}': expected mean and logvar of {latent_dim} latents, got {shapes}; delete it "
            f"and run `lacuna latents` again"
        )
    return shard
