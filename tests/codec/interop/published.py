"""Stable Audio's autoencoder as other programs write it, with random weights, tiny.

Names and shapes are spelled out here on their own, after the published code of stable-audio-tools
0.0.19 (models/autoencoders.py), so that a slip in codec/interop cannot be in both places.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

WIDTH, MULTIPLES, STRIDES, LATENTS = 8, (1, 2), (2, 4), 4
HOP = 8

TOOLS_CONFIG: dict[str, Any] = {
    "model_type": "autoencoder",
    "sample_size": 65536,
    "sample_rate": 16000,
    "audio_channels": 2,
    "model": {
        "encoder": {
            "type": "oobleck",
            "requires_grad": False,
            "config": {
                "in_channels": 2,
                "channels": WIDTH,
                "c_mults": list(MULTIPLES),
                "strides": list(STRIDES),
                "latent_dim": 2 * LATENTS,
                "use_snake": True,
            },
        },
        "decoder": {
            "type": "oobleck",
            "config": {
                "out_channels": 2,
                "channels": WIDTH,
                "c_mults": list(MULTIPLES),
                "strides": list(STRIDES),
                "latent_dim": LATENTS,
                "use_snake": True,
                "final_tanh": False,
            },
        },
        "bottleneck": {"type": "vae"},
        "latent_dim": LATENTS,
        "downsampling_ratio": HOP,
        "io_channels": 2,
    },
    "training": {"learning_rate": 1.5e-4},
}

DIFFUSERS_CONFIG: dict[str, Any] = {
    "_class_name": "AutoencoderOobleck",
    "_diffusers_version": "0.42.1",
    "encoder_hidden_size": WIDTH,
    "downsampling_ratios": list(STRIDES),
    "channel_multiples": list(MULTIPLES),
    "decoder_channels": WIDTH,
    "decoder_input_channels": LATENTS,
    "audio_channels": 2,
    "sampling_rate": 16000,
}

Draw = Callable[..., Tensor]


def _conv(
    draw: Draw, name: str, first: int, second: int, kernel: int, biases: int, gain: float = 1.0
) -> dict[str, Tensor]:
    tensors = {
        f"{name}.weight_g": gain * (1 + 0.2 * draw(first, 1, 1)),
        f"{name}.weight_v": draw(first, second, kernel),
    }
    return tensors | ({f"{name}.bias": 0.1 * draw(biases)} if biases else {})


def _snake(draw: Draw, name: str, channels: int) -> dict[str, Tensor]:
    return {f"{name}.{which}": 0.3 * draw(channels) for which in ("alpha", "beta")}


def _unit(draw: Draw, name: str, width: int) -> dict[str, Tensor]:
    return {
        **_snake(draw, f"{name}.layers.0", width),
        **_conv(draw, f"{name}.layers.1", width, width, 7, width, gain=0.3),
        **_snake(draw, f"{name}.layers.2", width),
        **_conv(draw, f"{name}.layers.3", width, width, 1, width, gain=0.3),
    }


def tools_weights(seed: int = 0, channels: int = 2) -> dict[str, Tensor]:
    """The state dict of stable-audio-tools' AudioAutoencoder for ``TOOLS_CONFIG``."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    near, wide = WIDTH, 2 * WIDTH
    encoder = {
        **_conv(draw, "layers.0", near, channels, 7, near),
        **_stage_down(draw, "layers.1", near, near, 2),
        **_stage_down(draw, "layers.2", near, wide, 4),
        **_snake(draw, "layers.3", wide),
        **_conv(draw, "layers.4", 2 * LATENTS, wide, 3, 2 * LATENTS),
    }
    decoder = {
        **_conv(draw, "layers.0", wide, LATENTS, 7, wide),
        **_stage_up(draw, "layers.1", wide, near, 4),
        **_stage_up(draw, "layers.2", near, near, 2),
        **_snake(draw, "layers.3", near),
        **_conv(draw, "layers.4", channels, near, 7, 0),
    }
    return {
        **{f"encoder.{key}": value for key, value in encoder.items()},
        **{f"decoder.{key}": value for key, value in decoder.items()},
    }


def _stage_down(draw: Draw, name: str, narrow: int, wide: int, stride: int) -> dict[str, Tensor]:
    return {
        **_unit(draw, f"{name}.layers.0", narrow),
        **_unit(draw, f"{name}.layers.1", narrow),
        **_unit(draw, f"{name}.layers.2", narrow),
        **_snake(draw, f"{name}.layers.3", narrow),
        **_conv(draw, f"{name}.layers.4", wide, narrow, 2 * stride, wide),
    }


def _stage_up(draw: Draw, name: str, wide: int, narrow: int, stride: int) -> dict[str, Tensor]:
    return {
        **_snake(draw, f"{name}.layers.0", wide),
        # a transposed convolution is stored input channels first
        **_conv(draw, f"{name}.layers.1", wide, narrow, 2 * stride, narrow),
        **_unit(draw, f"{name}.layers.2", narrow),
        **_unit(draw, f"{name}.layers.3", narrow),
        **_unit(draw, f"{name}.layers.4", narrow),
    }


DIFFUSERS_NAMES = {
    "encoder.layers.0": "encoder.conv1",
    "encoder.layers.3": "encoder.snake1",
    "encoder.layers.4": "encoder.conv2",
    "decoder.layers.0": "decoder.conv1",
    "decoder.layers.3": "decoder.snake1",
    "decoder.layers.4": "decoder.conv2",
    **{f"encoder.layers.{i}.layers.3": f"encoder.block.{i - 1}.snake1" for i in (1, 2)},
    **{f"encoder.layers.{i}.layers.4": f"encoder.block.{i - 1}.conv1" for i in (1, 2)},
    **{f"decoder.layers.{i}.layers.0": f"decoder.block.{i - 1}.snake1" for i in (1, 2)},
    **{f"decoder.layers.{i}.layers.1": f"decoder.block.{i - 1}.conv_t1" for i in (1, 2)},
    **{
        f"{half}.layers.{i}.layers.{first + unit}.layers.{inner}": (
            f"{half}.block.{i - 1}.res_unit{unit + 1}.{name}"
        )
        for half, first in (("encoder", 0), ("decoder", 2))
        for i in (1, 2)
        for unit in range(3)
        for inner, name in enumerate(("snake1", "conv1", "snake2", "conv2"))
    },
}


def diffusers_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under diffusers' names; it keeps Snake's as (1, channels, 1)."""
    renamed = {}
    for key, value in weights.items():
        module, _, parameter = key.rpartition(".")
        snake = parameter in ("alpha", "beta")
        renamed[f"{DIFFUSERS_NAMES[module]}.{parameter}"] = value[None, :, None] if snake else value
    return renamed


def write_diffusers(
    folder: Path, weights: dict[str, Tensor], config: dict[str, Any] | None = None
) -> Path:
    """A folder with config.json and diffusion_pytorch_model.safetensors."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config or DIFFUSERS_CONFIG))
    tensors = {key: value.contiguous() for key, value in diffusers_weights(weights).items()}
    save_file(tensors, folder / "diffusion_pytorch_model.safetensors")
    return folder


def write_tools(
    folder: Path,
    weights: dict[str, Tensor],
    config: dict[str, Any] | None = None,
    *,
    pickled: bool = False,
) -> Path:
    """A folder with model_config.json, and model.ckpt or model.safetensors."""
    folder.mkdir(parents=True)
    (folder / "model_config.json").write_text(json.dumps(config or TOOLS_CONFIG))
    if pickled:
        torch.save({"state_dict": weights, "epoch": 3}, folder / "model.ckpt")
    else:
        save_file(weights, folder / "model.safetensors")
    return folder


def changed(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of a config with another value at a dotted path."""
    config = copy.deepcopy(config)
    table = config
    *tables, key = path.split(".")
    for name in tables:
        table = table[name]
    table[key] = value
    return config
