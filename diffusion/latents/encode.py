"""Encoding a folder of audio into stored latents (see diffusion/latents/sets.py for what they are).

The work is planned from the folder alone: which file goes into which shard. A shard is written
whole or not at all, and one that is there already is left as it is, so that an interrupted run
goes on where it was, and processes can share the shards out among them.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from codec.audio import AudioReader, probe
from codec.audio.pieces import CHUNK
from codec.audio.resampling import resampled
from codec.batch.folders import find_audio
from codec.errors import AudioError, CheckpointError, LacunaError
from codec.files import atomic_path, unicode_path
from codec.model.blocks import block_windows
from codec.model.latent_codec import LatentCodec
from diffusion.latents.sets import FORMAT, Clip, Index, LatentSet, Statistics, load_shard

SHARD_SECONDS = 600.0
"""About 2 to 3 MB, and what a process that is killed loses at most, beside a longer file."""
MIN_SECONDS = 0.1
MAX_CHANNELS = 2


@dataclass(frozen=True)
class Source:
    """An audio file and what is known about it without decoding it."""

    path: Path
    name: str
    size: int
    """In bytes."""
    label: str
    gains_db: tuple[float, ...] = (0.0,)
    """Levels at which it is encoded, each a clip of its own."""

    def facts(self) -> list[object]:
        """What decides whether a stored shard still stands for it."""
        return [self.name, self.size, self.label, list(self.gains_db)]


@dataclass(frozen=True)
class PlannedShard:
    name: str
    sources: tuple[Source, ...]


def plan_shards(
    folder: str | Path,
    labels: Mapping[str, str] | None = None,
    gains_db: Sequence[float] = (0.0,),
) -> list[PlannedShard]:
    """Which file goes into which shard: the same in every process.

    Args:
        folder: searched with all its subfolders.
        labels: resolved path -> label; other files are left out. Without it every file is taken,
            and its label is the name of the folder that it lies in.
        gains_db: every file is encoded at each of these levels: more to train on, since a network
            does not treat loud and quiet sound alike.

    Raises:
        AudioError: no such folder, or no audio file in it that ``labels`` names.
    """
    root = Path(folder)
    groups: list[list[Source]] = [[]]
    filled = 0.0
    for path in find_audio(root):
        if labels is not None and str(path.resolve()) not in labels:
            continue
        label = path.absolute().parent.name if labels is None else labels[str(path.resolve())]
        if filled >= SHARD_SECONDS:
            groups.append([])
            filled = 0.0
        name = path.relative_to(root).as_posix()
        groups[-1].append(Source(path, name, path.stat().st_size, label, tuple(gains_db)))
        filled += len(gains_db) * _seconds(path)
    if not groups[0]:
        raise AudioError(
            f"the manifest names none of the audio files below '{root}'; its paths are relative "
            f"to the folder that it lies in"
        )
    return [
        PlannedShard(f"shard-{number:05d}.safetensors", tuple(sources))
        for number, sources in enumerate(groups)
    ]


def _seconds(path: Path) -> float:
    """As the header says; 0 for a file that does not, or that will turn out to be unusable."""
    try:
        return probe(path).seconds or 0.0
    except LacunaError:
        return 0.0


def encode_shards(
    codec: LatentCodec,
    shards: list[PlannedShard],
    out: Path,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> None:
    """Make the shards that are not in ``out`` yet.

    Args:
        progress: called after every file with its name, the files done, and all.

    Raises:
        CheckpointError: ``out`` holds latents of another codec.
    """
    total = sum(len(shard.sources) for shard in shards)
    done = 0
    latent_id = codec.latent_id
    for shard in shards:
        if _is_done(out / shard.name, shard, codec, latent_id):
            done += len(shard.sources)
            progress(shard.name, done, total)
            continue
        means: list[Tensor] = []
        logvars: list[Tensor] = []
        clips, skipped, rows = [], [], 0
        for source in shard.sources:
            try:
                encoded = [encode_posterior(codec, source.path, gain) for gain in source.gains_db]
            except LacunaError as error:
                skipped.append(str(error))
                encoded = []
            for gain_db, (mean, logvar, seconds) in zip(source.gains_db, encoded, strict=False):
                coded, frames, _ = mean.shape
                clips.append(
                    {
                        "path": source.name,
                        "label": source.label,
                        "seconds": seconds,
                        "gain_db": gain_db,
                        "offset": rows,
                        "frames": frames,
                        "coded_channels": coded,
                    }
                )
                means.append(mean.flatten(0, 1))
                logvars.append(logvar.flatten(0, 1))
                rows += coded * frames
            done += 1
            progress(source.name, done, total)
        empty = torch.zeros(0, codec.latent_dim, dtype=torch.float16)
        metadata = {
            "format": FORMAT,
            "latent_id": latent_id,
            "codec": codec.config.name,
            "sources": json.dumps([source.facts() for source in shard.sources]),
            "clips": json.dumps(clips),
            "skipped": json.dumps(skipped),
        }
        tensors = {"mean": torch.cat([empty, *means]), "logvar": torch.cat([empty, *logvars])}
        with atomic_path(out / shard.name, force=True) as partial:
            partial.write_bytes(to_bytes(tensors, metadata))


def check_out(shards: Sequence[PlannedShard], out: Path) -> None:
    """See that nothing in ``out`` is in the way but what an earlier run for these files left.

    To be called before ``encode_shards``, which replaces shards that have changed, with the shards
    of all processes.

    Raises:
        CheckpointError: a file that would be replaced is not one of this set's.
    """
    in_the_way = [out / shard.name for shard in shards] + [out / "index.json"]
    own_files = _OwnFiles(shards, out)
    for path in in_the_way:
        if path.exists() and not own_files.include(path):
            raise CheckpointError(
                f"'{path}' was not made from these audio files, and would be replaced; use another "
                f"--out folder, or delete it if nothing needs it"
            )


class _OwnFiles:
    """Which files in a folder an earlier run for the same audio made.

    The index is its own if it names one of the audio files, and so is a shard, or if such an index
    lists it: audio files may have been added or removed since.
    """

    def __init__(self, shards: Sequence[PlannedShard], out: Path) -> None:
        self._names = {source.name for shard in shards for source in shard.sources}
        self._index, self._listed = out / "index.json", set[str]()
        self._has_index = False
        try:
            index = Index.model_validate_json(self._index.read_bytes())
        except (OSError, ValueError):
            return
        if index.format == FORMAT and self._names & {clip.path for clip in index.clips}:
            self._has_index, self._listed = True, set(index.shards)

    def include(self, path: Path) -> bool:
        if path == self._index:
            return self._has_index
        if path.name in self._listed:
            return True
        try:
            metadata = _metadata(path)
            facts = json.loads(metadata["sources"])
            return metadata["format"] == FORMAT and any(fact[0] in self._names for fact in facts)
        except (OSError, SafetensorError, LookupError, ValueError, TypeError):
            return False


def _is_done(path: Path, shard: PlannedShard, codec: LatentCodec, latent_id: str) -> bool:
    """The shard is there and holds what these files give; files that changed are done again."""
    if not path.is_file():
        return False
    try:
        metadata = _metadata(path)
    except SafetensorError:
        return False
    if metadata.get("latent_id") != latent_id:
        raise CheckpointError(
            f"'{path.parent}' holds latents of the codec '{metadata.get('codec')}', latent_id "
            f"{metadata.get('latent_id')}; the codec at hand is '{codec.config.name}', latent_id "
            f"{latent_id}. Use another --out folder"
        )
    return metadata["sources"] == json.dumps([source.facts() for source in shard.sources])


def _metadata(path: Path) -> dict[str, str]:
    with unicode_path(path) as named, safe_open(named, framework="pt") as file:
        return file.metadata() or {}


@torch.inference_mode()
def encode_posterior(
    codec: LatentCodec, path: str | Path, gain_db: float = 0.0
) -> tuple[Tensor, Tensor, float]:
    """Standardised posterior of an audio file, in memory that does not grow with its samples.

    Digital silence goes through the network too. Of more than two channels the first two are used.

    Returns:
        Mean and log-variance, each (coded_channels, frames, latent_dim) and float16 on the CPU,
        and the file's seconds.

    Raises:
        AudioError: the file cannot be read, is shorter than 0.1 s, or is no sensible audio.
    """
    with AudioReader(path) as reader, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a truncated file is used as far as it goes
        channels = min(reader.info.channels, MAX_CHANNELS)
        chunks = (chunk[:channels] for chunk in reader.blocks(CHUNK))
        rate = codec.sample_rate
        at_model_rate = resampled(chunks, reader.info.sample_rate, rate, channels)
        samples = 0
        means, logvars = [], []
        halo = codec.autoencoder.encoder.receptive_frames
        gain = np.float32(10 ** (gain_db / 20))
        for window, new in block_windows(codec, at_model_rate):
            samples += new
            frames = slice(halo, halo - (-new // codec.hop_length))
            rows = codec.to_rows(torch.from_numpy(window * gain).to(codec.device)[None])[0]
            posterior = codec.analyze(rows)
            means.append(posterior.mean[..., frames].mT.half().cpu())
            logvars.append(posterior.logvar[..., frames].mT.half().cpu())
    if samples < MIN_SECONDS * rate:
        raise AudioError(f"'{path}': shorter than {MIN_SECONDS} s")
    mean, logvar = torch.cat(means, dim=1), torch.cat(logvars, dim=1)
    if not (torch.isfinite(mean).all() and torch.isfinite(logvar).all()):
        raise AudioError(f"'{path}': the network cannot work with it; scale the audio to about +-1")
    return mean, logvar, samples / rate


def write_index(codec: LatentCodec, shards: list[PlannedShard], out: Path) -> LatentSet:
    """The index of finished shards; what an older plan for the same files left is removed.

    Files that were skipped are named in one warning.

    Raises:
        AudioError: none of the files could be used.
    """
    names = tuple(shard.name for shard in shards)
    clips: list[Clip] = []
    skipped: list[str] = []
    count = 0
    total, square, sigma = (torch.zeros(codec.latent_dim, dtype=torch.float64) for _ in range(3))
    for number, name in enumerate(names):
        metadata = _metadata(out / name)
        clips += [Clip(shard=number, **values) for values in json.loads(metadata["clips"])]
        skipped += json.loads(metadata["skipped"])
        tensors = load_shard(out / name, codec.latent_dim)
        mean = tensors["mean"].double()
        count += len(mean)
        total += mean.sum(0)
        square += mean.square().sum(0)
        sigma += (0.5 * tensors["logvar"].double()).exp().sum(0)
    if skipped:
        warnings.warn(f"skipped {len(skipped)} files:\n  " + "\n  ".join(skipped), stacklevel=2)
    if not clips:
        raise AudioError(f"no latents in '{out}': every file was skipped")
    average = total / count
    std = (square / count - average.square()).clamp(min=0).sqrt()
    config = codec.config
    index = Index(
        format=FORMAT,
        codec=config.name,
        latent_id=codec.latent_id,
        frame_rate=codec.frame_rate,
        latent_dim=codec.latent_dim,
        coded_channels=2 if config.channels == 1 else 1,
        left_right=config.channels == 1 and config.stereo == "left_right",
        shards=names,
        statistics=Statistics(
            mean=tuple(average.tolist()),
            std=tuple(std.tolist()),
            sigma=tuple((sigma / count).tolist()),
        ),
        clips=tuple(clips),
    )
    own_files = _OwnFiles(shards, out)
    left_behind = [p for p in out.glob("shard-*.safetensors") if p.name not in names]
    own = [path for path in left_behind if own_files.include(path)]
    with atomic_path(out / "index.json", force=True) as partial:
        partial.write_text(index.model_dump_json(indent=1), encoding="utf-8")
    for path in own:
        path.unlink()
    return LatentSet.open(out)
