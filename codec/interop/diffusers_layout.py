"""The layout of diffusers: config.json of an AutoencoderOobleck, and its names of modules."""

from __future__ import annotations

from typing import Any

from codec.errors import CheckpointError
from codec.interop.weights import Layout, oobleck_config
from codec.network.config import ModelConfig, OobleckConfig
from codec.settings import PositiveInt, StrictConfig, validate
from codec.text import printable

CLASS = "AutoencoderOobleck"


class _Config(StrictConfig):
    """What diffusers 0.42 stores, with its defaults."""

    encoder_hidden_size: PositiveInt = 128
    downsampling_ratios: tuple[PositiveInt, ...] = (2, 4, 4, 8, 8)
    channel_multiples: tuple[PositiveInt, ...] = (1, 2, 4, 8, 16)
    decoder_channels: PositiveInt = 128
    decoder_input_channels: PositiveInt = 64
    audio_channels: PositiveInt = 2
    sampling_rate: PositiveInt = 44100


def model_config(values: dict[str, Any], name: str, where: str) -> ModelConfig:
    """Our config of the same network.

    Raises:
        CheckpointError: another class, or an encoder and a decoder that do not belong together.
        ConfigError: an unknown key or a bad value.
    """
    kind = values.get("_class_name")
    if kind != CLASS:
        raise CheckpointError(
            f"{where} describes {printable(repr(kind))}, expected '{CLASS}', the one architecture "
            f"that can be converted"
        )
    # Keys with an underscore say where the file came from.
    source = validate(_Config, {k: v for k, v in values.items() if k[:1] != "_"}, where)
    width, latents = source.decoder_channels, source.decoder_input_channels
    if source.encoder_hidden_size != width or width != 2 * latents:
        raise CheckpointError(
            f"{where}: encoder_hidden_size {source.encoder_hidden_size}, decoder_channels {width} "
            f"and decoder_input_channels {latents}: expected the first two to be equal, and twice "
            f"the third, since the encoder gives a mean and a scale for every latent"
        )
    network = {
        "width": width,
        "width_multiples": source.channel_multiples,
        "strides": source.downsampling_ratios,
    }
    return oobleck_config(
        name, source.sampling_rate, source.audio_channels, latents, network, where
    )


def module_name(network: OobleckConfig, name: str) -> str:
    """encoder.layers.1.layers.0.layers.2 -> encoder.block.0.res_unit1.snake2"""
    part, *numbers = name.replace(".layers.", ".").split(".")
    first, *inner = (int(number) for number in numbers)
    blocks, units = len(network.strides), len(network.dilations)
    if not inner:  # around the blocks: a convolution before, Snake and a convolution behind
        outer = {0: "conv1", blocks + 1: "snake1", blocks + 2: "conv2"}
        return f"{part}.{outer[first]}"
    if part == "encoder":  # residual units, Snake, downsampling
        place, unit = {units: "snake1", units + 1: "conv1"}, inner[0] + 1
    else:  # Snake, upsampling, residual units
        place, unit = {0: "snake1", 1: "conv_t1"}, inner[0] - 1
    if len(inner) == 1:
        return f"{part}.block.{first - 1}.{place[inner[0]]}"
    inside = ("snake1", "conv1", "snake2", "conv2")[inner[1]]
    return f"{part}.block.{first - 1}.res_unit{unit}.{inside}"


LAYOUT = Layout("diffusers", model_config, lambda tensors, where: (dict(tensors), ""), module_name)
