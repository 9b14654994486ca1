"""Checkpoints of the diffusion stage: one safetensors file with the weights, and with the config,
the labels and the codec's ``latent_id`` as JSON in its metadata. Nothing in it is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor

from codec.errors import CheckpointError, ConfigError
from codec.files import atomic_path
from codec.model.checkpoint import as_weights, read_tensors
from codec.model.latent_codec import LatentCodec
from codec.model.precision import float32_by_default
from codec.settings import validate
from diffusion.model import profile
from diffusion.model.config import DiffusionConfig
from diffusion.model.profile import Profiles
from diffusion.model.transformer import Transformer

FORMAT = "lacuna-diffusion-2"


@dataclass(frozen=True)
class DiffusionCheckpoint:
    """All that a checkpoint file holds."""

    config: DiffusionConfig
    transformer: Transformer
    labels: tuple[str, ...]
    """Conditioning's label i stands for ``labels[i - 1]``."""
    latent_id: str
    """The ``latent_id`` of the codec whose latents it models; with any other it makes no sense."""
    codec: str
    """That codec's name, for messages."""
    frame_rate: float
    """Latent frames per second (Hz)."""
    profiles: Profiles = field(default_factory=dict)
    """What the recordings of labels are like, of those of which that is known."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """How it was trained: for people, never read by code."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the weights as stored and the labels: what adapters belong to."""
        digest = hashlib.sha256(json.dumps([self.latent_id, *self.labels]).encode())
        for key, value in sorted(self.stored_weights().items()):
            digest.update(key.encode())
            digest.update(value.numpy().tobytes())
        return digest.hexdigest()[:16]

    def stored_weights(self) -> dict[str, Tensor]:
        """Name -> weight as its file has it: float16."""
        return {
            key: value.detach().cpu().half().contiguous()
            for key, value in self.transformer.state_dict().items()
        }


def save(checkpoint: DiffusionCheckpoint, path: str | Path) -> None:
    """Write a checkpoint, weights as float16; replaces an older file in one step.

    Raises:
        CheckpointError: a weight is not finite, or too large for float16.
    """
    weights = checkpoint.stored_weights()
    for key, value in weights.items():
        if not torch.isfinite(value).all():
            raise CheckpointError(f"'{key}' is not finite as float16; the training has diverged")
    metadata = {
        "format": FORMAT,
        "config": checkpoint.config.model_dump_json(),
        "labels": json.dumps(checkpoint.labels),
        "latent_id": checkpoint.latent_id,
        "codec": checkpoint.codec,
        "frame_rate": json.dumps(checkpoint.frame_rate),
        "profiles": profile.to_json(checkpoint.profiles),
        "provenance": json.dumps(checkpoint.provenance),
    }
    with atomic_path(Path(path), force=True) as partial:
        # Not save_file, which makes files that only their owner may read.
        partial.write_bytes(to_bytes(weights, metadata))


@float32_by_default()
def load(path: str | Path) -> DiffusionCheckpoint:
    """Read a checkpoint; the network is in evaluation mode, float32, on the CPU.

    Raises:
        CheckpointError: no such file, not a safetensors file, damaged, or of another kind.
    """
    metadata, weights = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(_other_kind(path, metadata.get("format")))
    try:
        config = validate(DiffusionConfig, json.loads(metadata["config"]), "its config")
        labels = json.loads(metadata["labels"])
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise ValueError(f"its labels are {labels!r}, expected a list of names")
        frame_rate = float(json.loads(metadata["frame_rate"]))
        if not 0 < frame_rate < math.inf:
            raise ValueError(f"its frame_rate is {frame_rate}, expected Hz above 0")
        with torch.random.fork_rng(
            devices=[]
        ):  # its first weights, replaced below, cost no numbers
            transformer = Transformer(config, len(labels))
        transformer.load_state_dict(as_weights(weights))
        return DiffusionCheckpoint(
            config,
            transformer.eval(),
            tuple(labels),
            metadata["latent_id"],
            metadata["codec"],
            frame_rate,
            profile.from_json(metadata["profiles"]),
            json.loads(metadata["provenance"]),
        )
    except CheckpointError as error:
        raise CheckpointError(f"'{path}': {error}") from None
    except (ConfigError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"'{path}' is damaged or of another version: {' '.join(str(error).split())}"
        ) from None


def check_codec(loaded: DiffusionCheckpoint, codec: LatentCodec) -> None:
    """Raises CheckpointError if a model is of other latents than the codec's."""
    config = loaded.config
    if loaded.latent_id != codec.latent_id:
        raise CheckpointError(
            f"the diffusion model '{config.name}' was trained on latents of the codec "
            f"'{loaded.codec}', latent_id {loaded.latent_id}; the codec at hand is "
            f"'{codec.config.name}', latent_id {codec.latent_id}. Name the right one with "
            f"--codec, or train on its own latents with `lacuna train diffusion`"
        )
    if config.latent_dim != codec.latent_dim or config.coded_channels * codec.config.channels > 2:
        raise CheckpointError(
            f"the diffusion model '{config.name}' has {config.coded_channels} coded channels "
            f"of {config.latent_dim} latents, which the codec '{codec.config.name}' cannot "
            f"decode; it is damaged: fetch it again"
        )


def _other_kind(path: str | Path, found: str | None) -> str:
    if found and found.startswith("lacuna-codec-"):
        return (
            f"'{path}' is a checkpoint of the codec, expected one of a diffusion model; "
            f"give it as the codec, and as the model one that `lacuna train diffusion` wrote"
        )
    if found and found.startswith("lacuna-diffusion-"):
        return (
            f"'{path}' is a diffusion model of another version of lacuna: its format is "
            f"'{found}', expected '{FORMAT}'; train it again with `lacuna train diffusion`, or use "
            f"it with the version that wrote it"
        )
    return (
        f"'{path}' is not a checkpoint of a diffusion model: its format is "
        f"'{found or 'not given'}', expected '{FORMAT}'"
    )
