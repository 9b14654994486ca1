"""Checkpoints: one safetensors file with the weights, the latents' statistics, the entropy
coder's tables, and the config as JSON in its metadata. Nothing in it is ever executed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from codec.entropy.context_model import ContextModel
from codec.entropy.quantise import Rules
from codec.entropy.static_tables import EntropyTables
from codec.entropy.token_tables import TokenTables
from codec.errors import CheckpointError, ConfigError, MissingPackageError
from codec.files import atomic_path, unicode_path
from codec.model.precision import float32_by_default
from codec.model.statistics import LatentStatistics
from codec.model.useful_range import UsefulRange
from codec.network.autoencoder import Autoencoder
from codec.network.config import ModelConfig, SpectralMapConfig
from codec.settings import validate

FORMAT = "lacuna-codec-2"

LISTED = 5
"""Weights of a kind that an error names; of more it tells the number."""

SIDE_STEPS = 144
"""How much coarser side is quantised than mid: by a factor of 2.8 (docs/CODING.md)."""


@dataclass(frozen=True)
class Checkpoint:
    """All that a checkpoint file holds."""

    config: ModelConfig
    autoencoder: Autoencoder
    statistics: LatentStatistics
    tables: EntropyTables | TokenTables | None
    """None where nothing has been fitted to audio yet, as after `lacuna convert`."""
    useful: UsefulRange | None
    """The quantiser steps that are of use, and their bit rates; None without tables."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """How it was trained: for people, never read by code."""
    context: ContextModel | None = None
    """What codes the symbols; without it the static tables do."""
    weights_dtype: torch.dtype = torch.float16
    """The dtype of the networks' weights in the file: float16 or float32."""

    def fitted(self) -> tuple[EntropyTables | TokenTables, UsefulRange]:
        """What was fitted to audio for making files.

        Raises:
            CheckpointError: nothing yet.
        """
        if self.tables is None or self.useful is None:
            raise not_calibrated(self.config.name)
        return self.tables, self.useful

    @property
    def latent_id(self) -> str:
        """16 hex digits over all that fixes the meaning of latents, and of tokens.

        Encoder, codebooks, statistics and what frames stand for in time; not the decoder, which
        may be trained on or replaced. Computed from the weights as stored, so saving and loading
        keeps it. The config's text stays out: a field that a later version adds to it must not
        change the id of older models.
        """
        c = self.config
        timing = f"{c.sample_rate} {c.hop_length} {c.channels} {c.stereo}"
        weights = _weights(self, lambda key: not key.startswith("decoder."))
        return _digest(timing, weights | _statistics(self))

    @property
    def coding_id(self) -> str | None:
        """16 hex digits over all that fixes the meaning of a coded file: ``latent_id``, the entropy
        tables, the context model, and a spectral map's decoder, which gives the waveform layer its
        steps. None without tables, since there are no files without.
        """
        if self.tables is None:
            return None
        of_map = _weights(self, lambda key: key.startswith("decoder.map."))
        return _digest(self.latent_id, _coding_tensors(self) | of_map)


def not_calibrated(name: str) -> CheckpointError:
    """The error where a model is to code symbols and has no tables for it."""
    return CheckpointError(
        f"the model '{name}' has no entropy tables yet, which .lac files need; fit them to a "
        f"folder of audio: lacuna calibrate MODEL --data DIR"
    )


def rules_for(config: ModelConfig) -> Rules:
    """What a model's quantiser does (docs/CODING.md, "Mid and side")."""
    if isinstance(config.network, SpectralMapConfig):
        return Rules(side_steps=SIDE_STEPS, midpoints=True)
    return Rules()


def _digest(text: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for key in sorted(tensors):
        digest.update(key.encode())
        digest.update(tensors[key].numpy().tobytes())
    return digest.hexdigest()[:16]


def _weights(checkpoint: Checkpoint, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """Those of the networks' weights whose names are wanted, as they are stored."""
    return {
        f"autoencoder.{key}": value.detach().cpu().to(checkpoint.weights_dtype).contiguous()
        for key, value in checkpoint.autoencoder.state_dict().items()
        if wanted(key)
    }


def _statistics(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The latents' statistics."""
    statistics = checkpoint.statistics
    return {
        f"latents.{name}": getattr(statistics, name).detach().cpu().float()
        for name in ("mean", "std", "sigma")
    }


def _coding_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """What codes the symbols of files."""
    tensors: dict[str, Tensor] = {}
    if checkpoint.tables is not None:
        for name, array in checkpoint.tables.to_arrays().items():
            tensors[f"entropy.{name}"] = torch.from_numpy(np.ascontiguousarray(array))
    if checkpoint.context is not None:
        for name, array in checkpoint.context.arrays.items():
            tensors[f"context.{name}"] = torch.from_numpy(np.ascontiguousarray(array))
    return tensors


def save(checkpoint: Checkpoint, path: str | Path, *, force: bool = True) -> None:
    """Write a checkpoint; replaces an older file in one step if ``force``.

    Raises:
        CheckpointError: a weight is not finite, or too large for the file's dtype.
        LacunaError: the file is there already without ``force``, or cannot be written.
    """
    tensors = _weights(checkpoint, lambda key: True) | _statistics(checkpoint)
    tensors |= _coding_tensors(checkpoint)
    for key, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise CheckpointError(
                f"'{key}' is not finite as {str(value.dtype).removeprefix('torch.')}; "
                f"the training has diverged"
            )
    metadata = {
        "format": FORMAT,
        "config": checkpoint.config.model_dump_json(),
        "latent_id": checkpoint.latent_id,
        "provenance": json.dumps(checkpoint.provenance),
    }
    if checkpoint.coding_id is not None:
        metadata["coding_id"] = checkpoint.coding_id
    if checkpoint.useful is not None:
        metadata["useful"] = json.dumps(asdict(checkpoint.useful))
    with atomic_path(path, force=force) as partial:
        # Not save_file, which makes files that only their owner may read.
        partial.write_bytes(to_bytes(tensors, metadata))


def read_tensors(path: str | Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the tensors of a checkpoint file of any kind.

    Raises:
        CheckpointError: no such file, not a safetensors file, or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at '{path}'; `lacuna models` lists the shipped ones")
    try:
        with unicode_path(path) as named, safe_open(named, framework="pt") as file:
            # Copies: what the file gives are views, each of which keeps all of it in memory.
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, tensors
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            _PICKLE.format(path=path)
            if _is_pickle(path)
            else f"'{path}' is not a safetensors file, or is damaged: {error}"
        ) from None


_PICKLE = (
    "'{path}' is not a safetensors file but a pickle, as torch.save writes; one can run any "
    "program when it is loaded, so Lacuna never does. Take its weights out with torch.load(path, "
    "weights_only=True), which runs nothing, and write them with safetensors.torch.save_file"
)


def _is_pickle(path: Path) -> bool:
    """torch.save's zip or its older form, or a bare pickle of protocol 2 or later."""
    with path.open("rb") as file:
        start = file.read(4)
    return start == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5")


def as_weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Stored weights as float32.

    Raises:
        CheckpointError: one of them is not finite.
    """
    broken = [key for key, value in tensors.items() if not torch.isfinite(value).all()]
    if broken:
        raise CheckpointError(
            f"{len(broken)} weights are not finite, the first is '{broken[0]}': the training "
            f"has diverged; use an earlier checkpoint"
        )
    return {key: value.float() for key, value in tensors.items()}


def _load_weights(network: nn.Module, weights: dict[str, Tensor], kind: str) -> None:
    """Raises:
    CheckpointError: the weights are another architecture's; it lists which.
    """
    expected = network.state_dict()
    missing = [key for key in expected if key not in weights]
    unknown = [key for key in weights if key not in expected]
    sizes = [
        f"{key} is {tuple(weights[key].shape)}, expected {tuple(value.shape)}"
        for key, value in expected.items()
        if key in weights and weights[key].shape != value.shape
    ]
    faults = [
        f"{len(names)} {fault}: {', '.join(names[:LISTED])}" + (", ..." if names[LISTED:] else "")
        for fault, names in (("missing", missing), ("unknown", unknown), ("size mismatch", sizes))
        if names
    ]
    if faults:
        raise CheckpointError(
            f"its weights are not those of the network '{kind}' that its config describes, but "
            f"another architecture's or version's ({'; '.join(faults)}); use the checkpoint as it "
            f"was written"
        )
    network.load_state_dict(weights)


@float32_by_default()
def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint; the network is in evaluation mode, float32, on the CPU.

    Raises:
        CheckpointError: no such file, not a safetensors file, damaged, or of another program.
    """
    metadata, tensors = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(_other_kind(path, metadata.get("format"), list(tensors)))
    try:
        config = validate(ModelConfig, json.loads(metadata["config"]), str(path))
        with torch.random.fork_rng(devices=[]):  # first weights cost the program no numbers
            autoencoder = Autoencoder(config)
        weights = _below(tensors, "autoencoder.")
        _load_weights(autoencoder, as_weights(weights), config.network.kind)
        statistics = LatentStatistics(**_below(tensors, "latents."))
        _check_statistics(statistics, config.latent_dim)
        tables, context = (
            {k: v.numpy() for k, v in _below(tensors, prefix).items()}
            for prefix in ("entropy.", "context.")
        )
        fitted = bool(tables or context or "useful" in metadata)
        entropy = _entropy(config, tables) if fitted else None
        checkpoint = Checkpoint(
            config,
            autoencoder.eval(),
            statistics,
            entropy,
            UsefulRange(**json.loads(metadata["useful"])) if fitted else None,
            json.loads(metadata.get("provenance", "{}")),
            _context(context, entropy),
            _dtype_of(weights),
        )
    except MissingPackageError:
        raise
    except CheckpointError as error:
        raise CheckpointError(f"'{path}': {error}") from None
    except (ConfigError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"'{path}' is damaged or of another version: {' '.join(str(error).split())}"
        ) from None
    for name in ("latent_id", "coding_id"):
        if getattr(checkpoint, name) != metadata.get(name):
            raise CheckpointError(
                f"'{path}' is damaged: its tensors give {name} {getattr(checkpoint, name)}, "
                f"its header says {metadata.get(name)}; fetch it again"
            )
    return checkpoint


def _entropy(config: ModelConfig, arrays: dict[str, Any]) -> EntropyTables | TokenTables:
    if config.tokens is None:
        return EntropyTables.from_arrays(arrays, rules_for(config))
    tables = TokenTables.from_arrays(arrays)
    expected = (config.tokens.books, config.tokens.size)
    if tables.frequencies.shape != expected:
        raise CheckpointError(
            f"token tables of shape {tables.frequencies.shape}, expected {expected} (books, size); "
            f"fetch the checkpoint again"
        )
    return tables


def _context(
    arrays: dict[str, Any], tables: EntropyTables | TokenTables | None
) -> ContextModel | None:
    if tables is None or not arrays:
        return None
    if isinstance(tables, TokenTables):
        raise CheckpointError("it has a context model for tokens, which there is none for")
    return ContextModel(arrays, tables)


def _dtype_of(weights: dict[str, Tensor]) -> torch.dtype:
    half = all(weight.dtype == torch.float16 for weight in weights.values())
    return torch.float16 if half else torch.float32


def _other_kind(path: str | Path, format_: str | None, keys: list[str]) -> str:
    if format_ and format_.startswith("lacuna-diffusion-"):
        return (
            f"'{path}' is a diffusion model, its format is '{format_}'; expected a codec, "
            f"'{FORMAT}', such as `lacuna train codec` writes"
        )
    return (
        f"'{path}' is not a checkpoint of this codec: its format is '{format_ or 'not given'}', "
        f"expected '{FORMAT}'; it has {len(keys)} tensors: {', '.join(keys[:LISTED])}"
    )


def _check_statistics(statistics: LatentStatistics, latent_dim: int) -> None:
    for name, values in vars(statistics).items():
        if (
            values.dtype != torch.float32
            or values.shape != (latent_dim,)
            or not torch.isfinite(values).all()
            or (name != "mean" and not (values > 0).all())
        ):
            raise CheckpointError(
                f"latents.{name} is {values.dtype} of shape {tuple(values.shape)}, expected "
                f"{latent_dim} finite float32 values, above 0 for std and sigma; "
                f"fetch the checkpoint again"
            )


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
