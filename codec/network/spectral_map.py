"""The base layer: waveform -> latents -> a map of the spectrum, trained by likelihood.

The decoder of a VAE says how likely every observation is given the latents. Here the observations
are spectra (see views.py), and what the decoder gives of each bin is a variance (how loud it is
to be expected), of the lowest bins a mean as well (the waveform itself, as far up as the latents
carry it), and where in the bin its partial lies. No waveform is synthesised for that, so training
sees some hundred seconds of audio a second on one CPU core (codec/network/map_likelihood.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.network.config import FRAME, SpectralMapConfig
from codec.network.float32 import in_float32
from codec.network.labels import LabelClassifier, LabelEmbedding
from codec.network.layers import ConvNeXtBlock, QuickConvNeXtBlock
from codec.network.views import (
    LONG_BINS,
    LONG_WINDOW,
    MAX_LOG_POWER,
    MEDIUM_BINS,
    MEDIUM_FRAMES,
    MIN_LOG_POWER,
    SHORT_BANDS,
    SHORT_FRAMES,
    WAVE_BINS,
    Views,
    analyze,
)

POWERS = LONG_BINS + MEDIUM_FRAMES * MEDIUM_BINS + SHORT_FRAMES * SHORT_BANDS
FINE = LONG_BINS + MEDIUM_FRAMES * MEDIUM_BINS
"""Bins that have a frequency offset."""
WAVE = MEDIUM_FRAMES * WAVE_BINS
"""Complex values of the waveform in a frame."""

TYPICAL_LEVEL, TYPICAL_SPREAD = -9.0, 4.0
"""Mean and deviation of log powers over recordings, which the network's inputs are scaled by."""


@dataclass(frozen=True)
class SpectralMap:
    """What latents say of the views of every frame; fields as in :class:`Views` where not said."""

    long: Tensor
    """Log variances."""
    medium: Tensor
    short: Tensor
    wave_mean: Tensor
    wave_logvar: Tensor
    """(batch, frames, MEDIUM_FRAMES, WAVE_BINS)"""
    long_offset: Tensor
    medium_offset: Tensor
    long_spread: Tensor
    """Log of the expected absolute error of the offset: low where a bin holds a partial."""
    medium_spread: Tensor


@dataclass(frozen=True)
class MapReconstruction:
    """What training compares: the views of a recording, and what its latents say of them."""

    views: Views
    expected: SpectralMap


def _blocks(config: SpectralMapConfig, kind: type[ConvNeXtBlock]) -> nn.Sequential:
    scale = 1.0 / config.depth  # residual branches start small, together about the trunk's size
    return nn.Sequential(
        *(
            kind(config.width, config.expansion, config.kernel_size, scale)
            for _ in range(config.depth)
        )
    )


class MapEncoder(nn.Module):
    """Waveform to mean and log-variance of every latent.

    Shape: (batch, 1, time) -> (batch, 2 * latent_dim, time // FRAME)

    With labels in the config it takes them, (batch, labels) as in labels.py, or does without.
    """

    def __init__(self, config: SpectralMapConfig, latent_dim: int) -> None:
        super().__init__()
        self.config = config
        inputs = POWERS + 2 * WAVE + FINE
        self.embed = nn.Linear(inputs, config.width)
        self.label = self.classifier = None
        if config.labels:
            count = len(config.labels)
            self.label = LabelEmbedding(count, config.width)
            self.classifier = LabelClassifier(inputs, count, config.width, config.kernel_size)
        self.blocks = _blocks(config, ConvNeXtBlock)
        self.project = nn.Linear(config.width, 2 * latent_dim)
        self.wave_in = nn.Linear(2 * WAVE, latent_dim, bias=False)
        """A linear way for the waveform past the blocks: what is learned first, and fast."""
        nn.init.constant_(self.project.bias[latent_dim:], -3.0)

    @property
    def receptive_frames(self) -> int:
        """Latent frames on either side whose audio can influence one latent frame."""
        reach = self.config.depth * (self.config.kernel_size // 2)
        return reach + LONG_WINDOW // FRAME // 2

    def forward(self, waveform: Tensor, label: Tensor | None = None) -> Tensor:
        return self.from_views(self.views(waveform), label)

    def classify(self, views: Views) -> Tensor:
        """Logits of q(y|x): (batch, labels)."""
        assert self.classifier is not None, self.config
        return self.classifier(_features(views))

    @staticmethod
    def views(waveform: Tensor) -> Views:
        """What the network sees of a waveform (batch, 1, time)."""
        with in_float32(waveform):
            return analyze(waveform[:, 0].float())

    def from_views(self, views: Views, label: Tensor | None = None) -> Tensor:
        """(batch, 2 * latent_dim, frames)"""
        x = self.embed(_features(views))
        if self.label is not None and label is not None:
            x = x + self.label(label)
        parameters = self.project(self.blocks(x)).float()
        mean, logvar = parameters.chunk(2, dim=-1)
        mean = mean + self.wave_in(views.wave.flatten(2)).float()
        return torch.cat([mean, logvar], dim=-1).transpose(1, 2)


def _features(views: Views) -> Tensor:
    """All that is seen of every frame, of about unit size: (batch, frames, POWERS + ...)."""
    powers = [views.long, views.medium, views.short]
    levels = torch.cat([power.flatten(2) for power in powers], dim=-1)
    offsets = [views.long_offset.flatten(2), views.medium_offset.flatten(2)]
    levels = (levels - TYPICAL_LEVEL) / TYPICAL_SPREAD
    return torch.cat([levels, views.wave.flatten(2), *offsets], dim=-1)


class MapDecoder(nn.Module):
    """Latents to a map, and to the hidden state behind it.

    Shape: (batch, frames, latent_dim) -> (batch, frames, width)

    With labels in the config it takes them, (batch, labels) as in labels.py, or does without.
    """

    def __init__(self, config: SpectralMapConfig, latent_dim: int) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Linear(latent_dim, config.width)
        self.label = LabelEmbedding(len(config.labels), config.width) if config.labels else None
        self.blocks = _blocks(config, QuickConvNeXtBlock)
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, POWERS + 3 * WAVE + 2 * FINE)
        self.wave_out = nn.Linear(latent_dim, 2 * WAVE, bias=False)
        nn.init.normal_(self.head.weight, std=0.02)

    @property
    def receptive_frames(self) -> int:
        """Latent frames on either side that can influence the map of one."""
        return self.config.depth * (self.config.kernel_size // 2)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        x = self.embed(z)
        if self.label is not None and label is not None:
            x = x + self.label(label)
        return self.blocks(x)

    def map(self, z: Tensor, hidden: Tensor) -> SpectralMap:
        """The map of latents (batch, frames, latent_dim) and their hidden state."""
        sizes = [POWERS, 2 * WAVE, WAVE, FINE, FINE]
        parts = self.head(self.norm(hidden)).float().split(sizes, dim=-1)
        long, medium, short = _grids(_log_powers(parts[0]))
        wave = parts[1] + self.wave_out(z).float()
        long_offset, medium_offset, _ = _grids(parts[3])
        long_spread, medium_spread, _ = _grids(parts[4].clamp(-4, 2))
        return SpectralMap(
            long=long,
            medium=medium,
            short=short,
            wave_mean=wave.unflatten(-1, (MEDIUM_FRAMES, WAVE_BINS, 2)),
            wave_logvar=parts[2].clamp(-8, 2).unflatten(-1, (MEDIUM_FRAMES, WAVE_BINS)),
            long_offset=long_offset,
            medium_offset=medium_offset,
            long_spread=long_spread,
            medium_spread=medium_spread,
        )

    def short(self, hidden: Tensor) -> Tensor:
        """The map's ``short`` alone, which is a twentieth of it."""
        rows = slice(FINE, POWERS)
        outputs = F.linear(self.norm(hidden), self.head.weight[rows], self.head.bias[rows])
        return _log_powers(outputs.float()).unflatten(-1, (SHORT_FRAMES, SHORT_BANDS))


def _log_powers(outputs: Tensor) -> Tensor:
    return (outputs * TYPICAL_SPREAD + TYPICAL_LEVEL).clamp(MIN_LOG_POWER, MAX_LOG_POWER)


def _grids(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The long, medium and short part of (batch, frames, FINE or POWERS) in their shapes."""
    long, medium, short = x.split([LONG_BINS, FINE - LONG_BINS, x.shape[-1] - FINE], dim=-1)
    return (
        long.unsqueeze(2),
        medium.unflatten(-1, (MEDIUM_FRAMES, MEDIUM_BINS)),
        short.unflatten(-1, (SHORT_FRAMES, -1)),
    )
