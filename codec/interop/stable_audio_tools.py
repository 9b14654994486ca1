"""The layout of stable-audio-tools: a JSON config, and a checkpoint with prefixes of its own.

The config is one of an autoencoder (``model_type`` "autoencoder"), or of a diffusion model that
has one as its ``pretransform``. Within the encoder and the decoder modules are named as ours are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from codec.errors import CheckpointError
from codec.interop.weights import Layout, listed, oobleck_config
from codec.network.config import ModelConfig
from codec.settings import PositiveInt, StrictConfig, validate
from codec.text import printable

PREFIXES = (
    "autoencoder_ema.ema_model.",  # what its own export takes where a run kept an average
    "autoencoder.",
    "",
    "pretransform.model.",
    "diffusion.pretransform.model.",
)
"""Where a checkpoint keeps the autoencoder: one in training, exported, or within a diffusion
model, exported or in training. The first that has anything is taken."""


class _Half(StrictConfig):
    """Encoder or decoder: its keyword arguments, with their defaults in stable-audio-tools."""

    channels: PositiveInt = 128
    latent_dim: PositiveInt = 32
    c_mults: tuple[PositiveInt, ...] = (1, 2, 4, 8)
    strides: tuple[PositiveInt, ...] = (2, 4, 8, 8)
    use_snake: bool = False
    antialias_activation: bool = False


class _Encoder(_Half):
    in_channels: PositiveInt = 2


class _Decoder(_Half):
    out_channels: PositiveInt = 2
    use_nearest_upsample: bool = False
    final_tanh: bool = True


def model_config(values: dict[str, Any], name: str, where: str) -> ModelConfig:
    """Our config of the same network.

    Raises:
        CheckpointError: another architecture, or numbers that contradict each other.
        ConfigError: an unknown key or a bad value.
    """
    model = _autoencoder(values, where)
    if model.get("pretransform"):
        raise CheckpointError(
            f"{where}: the autoencoder has a pretransform of type "
            f"'{_type(model['pretransform'])}', expected none: its input is the waveform"
        )
    for part, expected in (("encoder", "oobleck"), ("decoder", "oobleck"), ("bottleneck", "vae")):
        if (kind := _type(model.get(part))) != expected:
            raise CheckpointError(
                f"{where}: the {part} is of type '{kind}', expected '{expected}', the one "
                f"architecture that can be converted"
            )
    encoder = validate(_Encoder, _settings(model, "encoder"), f"{where} encoder")
    decoder = validate(_Decoder, _settings(model, "decoder"), f"{where} decoder")
    _check_halves(encoder, decoder, where)
    soft_clip = bool(model["decoder"].get("soft_clip", False))
    if soft_clip and decoder.final_tanh:
        raise CheckpointError(f"{where}: both final_tanh and soft_clip; expected one at most")
    stated = {
        "latent_dim": (model.get("latent_dim"), decoder.latent_dim),
        "downsampling_ratio": (model.get("downsampling_ratio"), math.prod(encoder.strides)),
        "io_channels": (model.get("io_channels"), encoder.in_channels),
    }
    for key, (said, implied) in stated.items():
        if said != implied:
            raise CheckpointError(
                f"{where}: {key} is {printable(repr(said))}, and encoder and decoder say {implied}"
            )
    network = {
        "width": encoder.channels,
        "width_multiples": encoder.c_mults,
        "strides": encoder.strides,
        "final_tanh": decoder.final_tanh or soft_clip,
    }
    return oobleck_config(
        name,
        values.get("sample_rate"),
        encoder.in_channels,
        decoder.latent_dim,
        network,
        where,
    )


def _check_halves(encoder: _Encoder, decoder: _Decoder, where: str) -> None:
    """Raises CheckpointError where our network has no such thing."""
    different = {
        "channels": (encoder.channels, decoder.channels),
        "c_mults": (encoder.c_mults, decoder.c_mults),
        "strides": (encoder.strides, decoder.strides),
        "latent_dim (of mean and scale)": (encoder.latent_dim, 2 * decoder.latent_dim),
        "in_channels and out_channels": (encoder.in_channels, decoder.out_channels),
    }
    for key, (first, second) in different.items():
        if first != second:
            raise CheckpointError(
                f"{where}: {key}: {first} in the encoder, expected {second} by the decoder"
            )
    for key, expected in (("use_snake", True), ("antialias_activation", False)):
        if getattr(encoder, key) != expected or getattr(decoder, key) != expected:
            raise CheckpointError(
                f"{where}: {key} is not {str(expected).lower()} in encoder and decoder; expected "
                f"the network of Stable Audio, with Snake activations as they are"
            )
    if decoder.use_nearest_upsample:
        raise CheckpointError(f"{where}: use_nearest_upsample is true, expected false")


def _autoencoder(values: dict[str, Any], where: str) -> dict[str, Any]:
    """The table of the autoencoder itself."""
    kind, model = values.get("model_type"), values.get("model")
    if isinstance(model, dict) and kind == "autoencoder":
        return model
    inner = model.get("pretransform") if isinstance(model, dict) else None
    if isinstance(inner, dict) and _type(inner) == "autoencoder":
        config = inner.get("config")
        if isinstance(config, dict):
            return config
    raise CheckpointError(
        f"{where}: model_type {printable(repr(kind))} without an autoencoder; expected the config "
        f"of an autoencoder, or of a diffusion model whose pretransform is one"
    )


def _type(table: Any) -> str:
    return printable(str(table.get("type"))) if isinstance(table, dict) else "none"


def _settings(model: dict[str, Any], part: str) -> dict[str, Any]:
    config = model[part].get("config", {})
    return config if isinstance(config, dict) else {}


def autoencoder_weights(weights: Mapping[str, Tensor], where: str) -> tuple[dict[str, Tensor], str]:
    """The autoencoder's tensors, without their prefix, and that prefix.

    Raises:
        CheckpointError: there is none.
    """
    for prefix in PREFIXES:
        starts = f"{prefix}encoder.", f"{prefix}decoder."
        autoencoder = {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(starts)}
        if autoencoder:
            return autoencoder, prefix
    raise CheckpointError(
        f"{where} has no autoencoder: of its {len(weights)} tensors none begins with encoder. or "
        f"decoder., behind any of the prefixes that stable-audio-tools writes "
        f"({', '.join(filter(None, PREFIXES))}); it has {listed(weights) or 'none at all'}"
    )


LAYOUT = Layout("stable-audio-tools", model_config, autoencoder_weights, lambda network, name: name)
