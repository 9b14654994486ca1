"""What is exported: the halves of a codec as modules from tensor to tensors, in standard units.

A graph works on rows, as the networks do (codec/network/channel_layout.py): a batch of coded
channels, whose audio is at the codec's sample rate and a multiple of ``hop_length`` long.

    encoder    waveform (batch, channels, time) -> posterior_mean and
               posterior_logvar, each (batch, latent_dim, frames)
    decoder    z (batch, latent_dim, frames) -> waveform (batch, channels, time)
    map        z (batch, latent_dim, frames) -> what a spectral map says (spectral_map.SpectralMap)
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from codec.errors import LacunaError
from codec.model.latent_codec import LatentCodec
from codec.network.map_waveform import MapWaveformDecoder
from codec.network.spectral_map import SpectralMap

WHY_NO_DECODER = (
    "it follows partials from frame to frame, a loop over data that a graph does not hold; the "
    "encoder and the map (what latents say of the spectrum) are exported, and waveforms are made "
    "by `lacuna decode`"
)


class EncoderGraph(nn.Module):
    """Waveform to the posterior of its standardised latents."""

    def __init__(self, codec: LatentCodec) -> None:
        super().__init__()
        # A package holds all weights of its module: those of the decoder are left out.
        self.autoencoder = copy.copy(codec.autoencoder)
        modules = codec.autoencoder.named_children()
        self.autoencoder._modules = {name: child for name, child in modules if name != "decoder"}
        self.standardizer = codec.standardizer

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        standard = self.standardizer.posterior(self.autoencoder.posterior(waveform))
        return standard.mean, standard.logvar


class DecoderGraph(nn.Module):
    """Standardised latents to a waveform."""

    def __init__(self, codec: LatentCodec) -> None:
        super().__init__()
        self.decoder, self.standardizer = codec.autoencoder.decoder, codec.standardizer

    def forward(self, z: Tensor) -> Tensor:
        return self.decoder(self.standardizer.inverse(z)).float()


class MapGraph(nn.Module):
    """Standardised latents to the fields of a ``SpectralMap``, in their order."""

    def __init__(self, codec: LatentCodec) -> None:
        super().__init__()
        assert isinstance(codec.autoencoder.decoder, MapWaveformDecoder)
        self.map, self.standardizer = codec.autoencoder.decoder.map, codec.standardizer

    def forward(self, z: Tensor) -> tuple[Tensor, ...]:
        z = self.standardizer.inverse(z).transpose(1, 2)
        expected = self.map.map(z, self.map(z))
        return tuple(getattr(expected, field.name) for field in fields(SpectralMap))


@dataclass(frozen=True)
class Graph:
    """A module to export, and how it is called."""

    name: str
    """The name of its files."""
    module: nn.Module
    input_name: str
    output_names: tuple[str, ...]
    samples_per_frame: int
    """Values along the input's last dimension that stand for a latent frame."""
    example: Callable[[int, int], Tensor]
    """An input of so many items and frames, the same each time."""


def graphs_of(codec: LatentCodec) -> list[Graph]:
    """The graphs that a codec has: of an ordinary one encoder and decoder.

    Raises:
        LacunaError: it is a codec of tokens.
    """
    config = codec.config
    if config.tokens is not None:
        raise LacunaError(
            f"the model '{config.name}' is one of tokens, expected one with a Gaussian "
            f"bottleneck; codebooks are not exported: codec.encode_tokens and decode_tokens "
            f"run in PyTorch"
        )

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(0))

    def waveform(batch: int, frames: int) -> Tensor:
        return 0.1 * noise(batch, config.channels, frames * config.hop_length)

    def latents(batch: int, frames: int) -> Tensor:
        return noise(batch, config.latent_dim, frames)

    encoder = Graph(
        "encoder",
        EncoderGraph(codec),
        "waveform",
        ("posterior_mean", "posterior_logvar"),
        config.hop_length,
        waveform,
    )
    if not has_decoder(codec):
        names = tuple(field.name for field in fields(SpectralMap))
        return [encoder, Graph("map", MapGraph(codec), "z", names, 1, latents)]
    decoder = Graph("decoder", DecoderGraph(codec), "z", ("waveform",), 1, latents)
    return [encoder, decoder]


def has_decoder(codec: LatentCodec) -> bool:
    """Whether latents can be decoded to a waveform by a graph."""
    return not isinstance(codec.autoencoder.decoder, MapWaveformDecoder)


def facts_of(codec: LatentCodec) -> dict[str, Any]:
    """What a program that runs the graphs must know of the codec."""
    config = codec.config
    return {
        "model": config.name,
        "latent_id": codec.latent_id,
        "sample_rate": config.sample_rate,
        "hop_length": config.hop_length,
        "latent_dim": config.latent_dim,
        "channels": config.channels,
        "stereo": config.stereo if config.channels == 1 else "joint",
    }
