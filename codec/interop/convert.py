"""Stable Audio's autoencoder as a checkpoint of this codec: ``lacuna convert``.

Both layouts in which its weights are published are read (diffusers_layout, stable_audio_tools).
Latents keep the units of the network until the model is calibrated; files need that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from codec.errors import CheckpointError
from codec.interop import diffusers_layout, stable_audio_tools
from codec.interop.sources import find_source
from codec.interop.weights import Layout, fitted, read_weights
from codec.model.checkpoint import Checkpoint
from codec.model.precision import float32_by_default
from codec.model.statistics import LatentStatistics
from codec.network.autoencoder import Autoencoder
from codec.network.config import ModelConfig, OobleckConfig
from codec.text import printable


@dataclass(frozen=True)
class Converted:
    """A checkpoint without tables, and where it came from."""

    checkpoint: Checkpoint
    layout: str
    """diffusers or stable-audio-tools."""
    weights_path: Path
    prefix: str
    """What stood before the names of the autoencoder's weights."""
    others: int
    """Tensors in the file that are no part of the autoencoder: a diffusion model's, say."""


@float32_by_default()
def convert(source: str | Path, weights: str | Path | None = None, *, name: str) -> Converted:
    """Read an Oobleck autoencoder of diffusers or stable-audio-tools.

    Args:
        source: a folder, a JSON config, or owner/name on the Hugging Face hub.
        weights: a .safetensors file or a checkpoint, where it is not beside the config.
        name: what the model is to be called.

    Raises:
        CheckpointError: nothing there, another architecture, weights that do not fit (all keys
            are listed), or a pickle that would execute code.
        ConfigError: an unknown key or a bad value in the config.
    """
    origin = find_source(str(source), None if weights is None else Path(weights))
    config_name, weights_name = (
        f"'{printable(path)}'" for path in (origin.config_path, origin.weights_path)
    )
    layout = _layout(origin.config, config_name)
    config = layout.model_config(origin.config, name, config_name)
    network = config.network
    assert isinstance(network, OobleckConfig)
    autoencoder = _empty(config, config_name)
    tensors = read_weights(origin.weights_path)
    stored, prefix = layout.autoencoder_weights(tensors, weights_name)
    names = partial(layout.module_name, network)
    translated = fitted(autoencoder.state_dict(), stored, names, weights_name)
    autoencoder.load_state_dict(translated, assign=True)
    dim = config.latent_dim
    checkpoint = Checkpoint(
        config,
        autoencoder.eval(),
        LatentStatistics(torch.zeros(dim), torch.ones(dim), torch.ones(dim)),
        tables=None,
        useful=None,
        provenance={
            "converted": {
                "layout": layout.name,
                "config": origin.config_path.name,
                "weights": origin.weights_path.name,
                "prefix": prefix,
            }
        },
        weights_dtype=torch.float32,  # float16 would cost more than 1e-4 of what they give
    )
    return Converted(
        checkpoint, layout.name, origin.weights_path, prefix, len(tensors) - len(stored)
    )


def _layout(values: dict[str, Any], where: str) -> Layout:
    """By the key that each of them always has."""
    for key, layout in (
        ("_class_name", diffusers_layout.LAYOUT),
        ("model_type", stable_audio_tools.LAYOUT),
    ):
        if key in values:
            return layout
    raise CheckpointError(
        f"{where} has neither _class_name (diffusers) nor model_type (stable-audio-tools); "
        f"expected the config of an Oobleck autoencoder"
    )


def _empty(config: ModelConfig, where: str) -> Autoencoder:
    """The network without memory: a config may claim any size, and the weights decide."""
    try:
        with torch.device("meta"):
            return Autoencoder(config)
    except (RuntimeError, OverflowError, MemoryError):
        raise CheckpointError(
            f"{where} describes a network too large to build; fetch it again"
        ) from None
