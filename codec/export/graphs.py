"""What is exported: the halves of a codec as modules from tensor to tensors, in standard units.

A graph works on rows, as the networks do (codec/network/channel_layout.py): a batch of coded
channels, whose audio is at the codec's sample rate and a multiple of ``hop_length`` long.

    encoder    waveform (batch, channels, time) -> posterior_mean and
               posterior_logvar, each (batch, latent_dim, frames)
    decoder    z (batch, latent_dim, frames) -> waveform (batch, channels, time)

Of a spectral map:

    decoder    z, births (batch, frames, BIRTHS) uniform from 0 to 1, noise (batch, time) unit
               Gaussian -> waveform (batch, 1, time)
    map        z -> what it says of the spectrum (spectral_map.SpectralMap)
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
from codec.network.map_waveform import MapWaveformDecoder, Randomness
from codec.network.renderer import BIRTHS
from codec.network.spectral_map import SpectralMap


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


class RendererGraph(nn.Module):
    """Standardised latents of a spectral map, and what its decoder draws, to a waveform."""

    def __init__(self, codec: LatentCodec) -> None:
        super().__init__()
        assert isinstance(codec.autoencoder.decoder, MapWaveformDecoder)
        self.decoder, self.standardizer = codec.autoencoder.decoder, codec.standardizer

    def forward(self, z: Tensor, births: Tensor, noise: Tensor) -> Tensor:
        randomness = Randomness(births, noise[:, None])
        return self.decoder(self.standardizer.inverse(z), randomness=randomness)


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
class Input:
    """A tensor that goes into a graph."""

    name: str
    shape: tuple[str | int, ...]
    """Sizes, or the names of free ones: "batch", "frames", "time" (frames * hop_length)."""
    draw: Callable[..., Tensor] = torch.randn
    """Makes examples."""


@dataclass(frozen=True)
class Graph:
    """A module to export, and how it is called."""

    name: str
    """The name of its files."""
    module: nn.Module
    inputs: tuple[Input, ...]
    """What is coded comes first, then what is drawn."""
    output_names: tuple[str, ...]
    silence: Tensor
    """What is coded where there is digital silence: (1, rows, 1)."""
    hop_length: int

    def example(self, batch: int, frames: int) -> tuple[Tensor, ...]:
        """Inputs of so many items and frames, the same each time."""
        sizes = {"batch": batch, "frames": frames, "time": frames * self.hop_length}
        generator = torch.Generator().manual_seed(0)
        return tuple(
            item.draw(
                [sizes[n] if isinstance(n, str) else n for n in item.shape], generator=generator
            )
            for item in self.inputs
        )


def graphs_of(codec: LatentCodec) -> list[Graph]:
    """The graphs that a codec has: encoder and decoder, of a spectral map its map as well.

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

    hop = config.hop_length
    silence = torch.zeros(1, config.channels, 1)
    silent_z = codec.analyze(silence.expand(-1, -1, hop)).mean.detach()
    waveform = Input("waveform", ("batch", config.channels, "time"))
    z = Input("z", ("batch", config.latent_dim, "frames"))
    moments = ("posterior_mean", "posterior_logvar")
    encoder = Graph("encoder", EncoderGraph(codec), (waveform,), moments, silence, hop)
    if not isinstance(codec.autoencoder.decoder, MapWaveformDecoder):
        decoder = Graph("decoder", DecoderGraph(codec), (z,), ("waveform",), silent_z, hop)
        return [encoder, decoder]
    drawn = (
        Input("births", ("batch", "frames", BIRTHS), torch.rand),
        Input("noise", ("batch", "time")),
    )
    names = tuple(field.name for field in fields(SpectralMap))
    return [
        encoder,
        Graph("decoder", RendererGraph(codec), (z, *drawn), ("waveform",), silent_z, hop),
        Graph("map", MapGraph(codec), (z,), names, silent_z, hop),
    ]


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
