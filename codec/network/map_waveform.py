"""The decoder of the spectral map: latents to a map, and the map to a waveform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from codec.network import clarity, keyed_noise
from codec.network.config import FRAME, SpectralMapConfig
from codec.network.float32 import in_float32
from codec.network.renderer import BIRTHS, Renderer
from codec.network.spectral_map import MapDecoder, SpectralMap


@dataclass(frozen=True)
class Place:
    """Where latents stand in a recording: what is made up there depends on it alone."""

    first_frame: int = 0
    channels: Sequence[int] = (0,)
    """The coded channels of the items, over and over where there are more items."""
    clarity: float = 0.0
    """How much less of it is noise than in files, 0 to 2: see clarity.py."""


START = Place()


@dataclass(frozen=True)
class Randomness:
    """What a decoder draws."""

    births: Tensor
    """(batch, frames, BIRTHS) from 0 to 1: phases of sinusoids that begin."""
    noise: Tensor
    """(batch, draws, frames * FRAME), unit Gaussian: a waveform is made of each."""

    @classmethod
    def of_place(cls, place: Place, batch: int, frames: int) -> Randomness:
        """What belongs to a place, whenever and however often it is decoded: one draw."""
        channels = [place.channels[item % len(place.channels)] for item in range(batch)]
        return cls(
            keyed_noise.uniform(place.first_frame, frames, channels, BIRTHS),
            keyed_noise.normal(place.first_frame, frames, channels, FRAME).flatten(1)[:, None],
        )


class MapWaveformDecoder(nn.Module):
    """Latents to waveform.

    Shape: (batch, latent_dim, frames) -> (batch, 1, (frames - 2 * halo) * FRAME), or as many
    channels as ``randomness`` has draws. The ``halo`` at both ends only says what is around the
    other frames.
    """

    def __init__(self, config: SpectralMapConfig, latent_dim: int, sample_rate: int) -> None:
        super().__init__()
        self.map = MapDecoder(config, latent_dim)
        self.renderer = Renderer(config, sample_rate)

    @property
    def receptive_frames(self) -> int:
        """Latent frames on either side that can influence the samples of one."""
        return self.map.receptive_frames + self.renderer.receptive_frames

    def expect(self, z: Tensor, label: Tensor | None = None) -> SpectralMap:
        """The map of latents (batch, latent_dim, frames), without a waveform.

        ``label`` is (batch, labels) as in labels.py, for a model that has labels.
        """
        z = z.transpose(1, 2)
        return self.map.map(z, self.map(z, label))

    def levels(self, z: Tensor) -> Tensor:
        """The map's ``short``, without the rest."""
        return self.map.short(self.map(z.transpose(1, 2)))

    def forward(
        self,
        z: Tensor,
        place: Place = START,
        randomness: Randomness | None = None,
        label: Tensor | None = None,
        halo: int = 0,
    ) -> Tensor:
        return self.render(z, place, randomness, label, halo)[0]

    def render(
        self,
        z: Tensor,
        place: Place = START,
        randomness: Randomness | None = None,
        label: Tensor | None = None,
        halo: int = 0,
    ) -> tuple[Tensor, SpectralMap]:
        """As ``forward``, and the map of all frames that the waveform is made from."""
        batch, _, frames = z.shape
        if randomness is None:
            randomness = Randomness.of_place(place, batch, frames)
        z = z.transpose(1, 2)
        hidden = self.map(z, label)
        expected = self.map.map(z, hidden)
        if place.clarity:
            medium = clarity.sharpened(expected.medium, place.clarity)
            expected = replace(expected, medium=medium)
        with in_float32(z):
            births = randomness.births.to(z.device)
            excitation = self.renderer.excite(expected, births, place.first_frame)
        unheard = max(0, halo - self.renderer.excited_frames)
        heard = slice(unheard, frames - unheard)
        excitation = excitation.of_frames(heard)
        gains = self.renderer.gains(hidden[:, heard], excitation)
        if place.clarity:
            level = excitation.level - clarity.QUIETER * place.clarity
            excitation = replace(excitation, level=level)  # of noise: the gains are known by now
        noise = randomness.noise[..., heard.start * FRAME : heard.stop * FRAME].to(z.device)
        with in_float32(z):
            draws = [self.renderer.mix(gains, excitation, draw) for draw in noise.unbind(1)]
        wanted = slice((halo - unheard) * FRAME, (frames - halo - unheard) * FRAME)
        return torch.stack(draws, dim=1)[..., wanted], expected
