"""Adapters: what was trained beside a diffusion model for sounds of one's own, in a small file.

A weight W (out, in) of the four matrices of every block becomes W + B A, with B (out, rank) and
A (rank, in): Hu et al. 2021, "LoRA: low-rank adaptation of large language models", section 4.1. A
new label has a row of its own beside those of the model's. Both are put into the weights when an
adapter is loaded, so that a model with one costs what it costs without.

The file is safetensors, with ``label`` (width,), and ``LAYER.A`` and ``LAYER.B`` for every layer.
Its metadata name the model that it belongs to; nothing in it is ever executed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor

from codec.errors import CheckpointError, ConfigError
from codec.files import atomic_path
from codec.model.checkpoint import as_weights, read_tensors
from codec.model.precision import float32_by_default
from codec.settings import validate
from diffusion.model.checkpoint import DiffusionCheckpoint
from diffusion.model.config import DiffusionConfig
from diffusion.model.transformer import Transformer

FORMAT = "lacuna-adapter-1"

MATRICES = (
    "attention.project_in",
    "attention.project_out",
    "feed_forward.expand",
    "feed_forward.contract",
)
"""The layers of every block that are adapted: all that a frame goes through."""

LABELS = "embed_condition.label.weight"
"""The parameter with a row for every label."""

LONGEST_LABEL = 64


@dataclass(frozen=True)
class Adapter:
    """What an adapter file holds."""

    label: str
    """The name of what it was trained on."""
    row: Tensor
    """The label's embedding, (width,)."""
    factors: dict[str, tuple[Tensor, Tensor]]
    """Layer -> A (rank, in) and B (out, rank)."""
    base: str
    """``fingerprint`` of the diffusion model that it belongs to."""
    config: DiffusionConfig
    """That model's, for messages."""
    latent_id: str
    """The ``latent_id`` of the codec whose latents that model makes."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """How it was trained: for people, never read by code."""


def layers(config: DiffusionConfig) -> list[str]:
    """The names of the layers that are adapted."""
    blocks = range(config.transformer.depth)
    return [f"blocks.{block}.{matrix}" for block in blocks for matrix in MATRICES]


def check_label(label: str, base: DiffusionCheckpoint) -> None:
    """Raises ConfigError for a label that cannot be new to a model."""
    if not label.strip() or not label.isprintable() or len(label) > LONGEST_LABEL:
        raise ConfigError(
            f"the label {label!r}: expected a word or two, of at most {LONGEST_LABEL} characters"
        )
    if label in base.labels:
        raise ConfigError(
            f"the diffusion model '{base.config.name}' knows the label '{label}' already; an "
            f"adapter brings a new one: give it another name, such as 'my {label}'"
        )


def save(adapter: Adapter, path: str | Path) -> None:
    """Write an adapter as float16; replaces an older file in one step.

    Raises:
        CheckpointError: a value is not finite.
    """
    tensors = {"label": adapter.row}
    for layer, (a, b) in adapter.factors.items():
        tensors |= {f"{layer}.A": a, f"{layer}.B": b}
    stored = {key: value.detach().cpu().half().contiguous() for key, value in tensors.items()}
    for key, value in stored.items():
        if not torch.isfinite(value).all():
            raise CheckpointError(f"'{key}' is not finite as float16; the training has diverged")
    metadata = {
        "format": FORMAT,
        "name": adapter.label,
        "base": adapter.base,
        "config": adapter.config.model_dump_json(),
        "latent_id": adapter.latent_id,
        "provenance": json.dumps(adapter.provenance),
    }
    with atomic_path(Path(path), force=True) as partial:
        partial.write_bytes(to_bytes(stored, metadata))


def load(path: str | Path) -> Adapter:
    """Read an adapter, as float32.

    Raises:
        CheckpointError: no such file, not a safetensors file, damaged, or of another kind.
    """
    metadata, stored = read_tensors(path)
    if metadata.get("format") != FORMAT:
        format = metadata.get("format") or "not given"
        raise CheckpointError(
            f"'{path}' is not an adapter: its format is '{format}', expected '{FORMAT}', which "
            f"`lacuna train adapter` writes; a whole diffusion model is given with --model"
        )
    try:
        tensors = as_weights(stored)
        config = validate(DiffusionConfig, json.loads(metadata["config"]), "its config")
        return Adapter(
            metadata["name"],
            tensors.pop("label"),
            {
                layer: (tensors[f"{layer}.A"], tensors[f"{layer}.B"])
                for layer in sorted({key.rpartition(".")[0] for key in tensors})
            },
            metadata["base"],
            config,
            metadata["latent_id"],
            json.loads(metadata["provenance"]),
        )
    except CheckpointError as error:
        raise CheckpointError(f"'{path}': {error}") from None
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(_damaged(path, " ".join(str(error).split()))) from None


@float32_by_default()
def adapted(base: DiffusionCheckpoint, path: str | Path) -> DiffusionCheckpoint:
    """``base`` with an adapter in its weights, and the adapter's label as its last.

    Raises:
        CheckpointError: the file cannot be used, or belongs to another model or other latents.
    """
    adapter = load(path)
    name = adapter.config.name
    if adapter.latent_id != base.latent_id:
        raise CheckpointError(
            f"the adapter '{path}' was trained on latents with latent_id {adapter.latent_id}; the "
            f"diffusion model '{base.config.name}' makes latents of the codec '{base.codec}', "
            f"latent_id {base.latent_id}. Train it again with `lacuna train adapter`"
        )
    if adapter.base != base.fingerprint:
        raise CheckpointError(
            f"the adapter '{path}' belongs to the diffusion model '{name}' with the fingerprint "
            f"{adapter.base}; the one at hand is '{base.config.name}', {base.fingerprint}. Name "
            f"the right one with --model, or train it again with `lacuna train adapter`"
        )
    weights = base.transformer.state_dict()
    problem = _misfit(adapter, weights, layers(base.config))
    if problem is not None or adapter.label in base.labels:
        raise CheckpointError(_damaged(path, problem or "its label is one of its model's"))
    changed = {
        f"{layer}.weight": weights[f"{layer}.weight"] + b @ a
        for layer, (a, b) in adapter.factors.items()
    }
    changed[LABELS] = torch.cat([weights[LABELS], adapter.row[None]])
    with torch.random.fork_rng(devices=[]):
        transformer = Transformer(base.config, len(base.labels) + 1)
    transformer.load_state_dict(weights | changed)
    return replace(base, transformer=transformer.eval(), labels=(*base.labels, adapter.label))


def _misfit(adapter: Adapter, weights: dict[str, Tensor], expected: list[str]) -> str | None:
    """What keeps an adapter from a model's weights."""
    if sorted(adapter.factors) != sorted(expected):
        return f"it has {len(adapter.factors)} layers, expected the {len(expected)} of its model"
    if adapter.row.shape != weights[LABELS].shape[1:]:
        return f"its label is of shape {tuple(adapter.row.shape)}"
    for layer, (a, b) in adapter.factors.items():
        rows, columns = weights[f"{layer}.weight"].shape
        shapes = (tuple(a.shape), tuple(b.shape))
        if a.ndim != 2 or shapes != ((len(a), columns), (rows, len(a))):
            return f"'{layer}' has factors of shapes {shapes[0]} and {shapes[1]}"
    return None


def _damaged(path: str | Path, reason: str) -> str:
    return (
        f"the adapter '{path}' is damaged or of another version: {reason}; train it again with "
        f"`lacuna train adapter`"
    )
