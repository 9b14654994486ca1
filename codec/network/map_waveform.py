"""The decoder of the spectral map: latents to a map, and the map to a waveform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.network import keyed_noise
from codec.network.config import FRAME, SpectralMapConfig
from codec.network.renderer import BIRTHS, Renderer
from codec.network.spectral_map import MapDecoder

ANCHOR_FRAMES = 256
"""Sinusoids begin anew, without a step, at multiples of so many frames: where blocks of a file
meet, each of which is decoded alone."""


@dataclass(frozen=True)
class Place:
    """Where latents stand in a recording: what is made up there depends on it alone."""

    first_frame: int = 0
    channels: Sequence[int] | None = None
    """The coded channel of every item; None for the first channel in all of them."""


START = Place()


class MapWaveformDecoder(nn.Module):
    """Latents to waveform.

    Shape: (batch, latent_dim, frames) -> (batch, 1, frames * FRAME)
    """

    def __init__(self, config: SpectralMapConfig, latent_dim: int, sample_rate: int) -> None:
        super().__init__()
        self.map = MapDecoder(config, latent_dim)
        self.renderer = Renderer(config, sample_rate)

    @property
    def receptive_frames(self) -> int:
        """Latent frames on either side that can influence the samples of one."""
        return self.map.receptive_frames + self.renderer.receptive_frames

    def forward(self, z: Tensor, place: Place = START) -> Tensor:
        batch, _, frames = z.shape
        channels = place.channels if place.channels is not None else [0] * batch
        first = place.first_frame
        anchors = [frame for frame in range(frames) if (first + frame) % ANCHOR_FRAMES == 0]
        births = keyed_noise.uniform(first, frames, channels, BIRTHS).to(z.device)
        noise = keyed_noise.normal(first, frames, channels, FRAME).flatten(1).to(z.device)
        z = z.transpose(1, 2)
        hidden = self.map(z)
        expected = self.map.map(z, hidden)
        with torch.autocast(z.device.type, enabled=False):
            excitation = self.renderer.excite(expected, births, anchors)
        gains = self.renderer.gains(hidden, excitation)
        with torch.autocast(z.device.type, enabled=False):
            return self.renderer.mix(gains, excitation, noise)[:, None]
