"""The spectral network: STFT in, ConvNeXt blocks, inverse-STFT head.

All convolutions run at the STFT's frame rate or below, which is what makes it fast on a CPU.
The head is that of Vocos (Siuzdak 2023, "Vocos: closing the gap between time-domain and
Fourier-based neural vocoders") with another parametrisation: a complex number times a positive
gain, and not a magnitude and an angle; in the lowest bins the gain is fixed. There the bits
suffice to carry the waveform itself, and any head that can turn its gain down falls into a trap:
as long as it does not know the phase, quiet is best, and once it is quiet no gradient tells it
the phase (measured: silent below 150 Hz after 100 steps, and 45 dB too quiet 400 steps later).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from codec.network.config import SpectralConfig
from codec.network.float32 import in_float32
from codec.network.layers import ConvNeXtBlock, Downsample, Upsample
from codec.network.stft import inverse_stft, stft

COMPRESSION = 0.3
"""Exponent of magnitudes in the encoder's complex features (about the ear's loudness law)."""

MAX_LOG_GAIN = 8.0
"""exp(8) is a full-scale sine in a 4096-point Hann frame, with 9 dB to spare."""


LOW_LOG_GAIN = 2.0
"""The fixed gain of the lowest bins: about the STFT of a bass note at -40 dB."""


def _blocks(config: SpectralConfig, stage: int, depth: int, total: int) -> list[nn.Module]:
    scale = 1.0 / total  # residual branches start small, together about as large as the trunk
    return [
        ConvNeXtBlock(config.widths[stage], config.expansion, config.kernel_size, scale)
        for _ in range(depth)
    ]


def _octave_weights(bins: int) -> Tensor:
    """Weights that give every octave the same share of the features' energy, 1 on average.

    Waveforms are followed from the bottom up: with equal weights the few bins in which phase can
    be carried at all would drown among the many in which it cannot.
    """
    energy = 1.0 / torch.arange(1, bins + 1)
    return (energy / energy.mean()).sqrt()


class SpectralEncoder(nn.Module):
    """Waveform to frames of ``out_dim`` values.

    Shape: (batch, channels, time) -> (batch, out_dim, time // hop_length)
    """

    window: Tensor
    bin_weights: Tensor

    def __init__(self, config: SpectralConfig, channels: int, out_dim: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        self.register_buffer("bin_weights", _octave_weights(config.phase_bins), persistent=False)
        bins = config.n_fft // 2 + 1
        self.embed = nn.Linear(channels * (bins + 2 * config.phase_bins), config.widths[0])
        total = sum(config.encoder_depths)
        layers: list[nn.Module] = []
        for stage, depth in enumerate(config.encoder_depths):
            if stage:
                layers.append(
                    Downsample(
                        config.widths[stage - 1], config.widths[stage], config.strides[stage - 1]
                    )
                )
            layers += _blocks(config, stage, depth, total)
        self.layers = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(config.widths[-1], eps=1e-6)
        self.project = nn.Linear(config.widths[-1], out_dim)

    @property
    def receptive_frames(self) -> int:
        """Latent frames on either side whose audio can influence one latent frame."""
        return _receptive_frames(self.config, self.config.encoder_depths)

    def features(self, spectra: Tensor) -> Tensor:
        """Log-magnitudes of all bins and power-compressed complex values of the lowest bins.

        (rows, frames, bins) -> (rows, frames, bins + 2 * phase_bins)
        """
        magnitude = (spectra.real**2 + spectra.imag**2 + 1e-10).sqrt()
        low = spectra[..., : self.config.phase_bins]
        gain = magnitude[..., : self.config.phase_bins] ** (COMPRESSION - 1.0)
        gain = gain * self.bin_weights
        return torch.cat([magnitude.log() / 3.0 + 1.0, low.real * gain, low.imag * gain], dim=-1)

    def forward(self, waveform: Tensor) -> Tensor:
        with in_float32(waveform):
            rows = waveform.float().flatten(0, 1)
            features = self.features(stft(rows, self.window, self.config.stft_hop))
            # The channels of an item side by side: (batch, frames, channels * features).
            features = features.unflatten(0, (waveform.shape[0], -1)).transpose(1, 2).flatten(2)
        x = self.norm(self.layers(self.embed(features)))
        return self.project(x).transpose(1, 2)


class SpectralDecoder(nn.Module):
    """Latents to waveform.

    Shape: (batch, latent_dim, frames) -> (batch, channels, frames * hop_length)
    """

    window: Tensor

    def __init__(self, config: SpectralConfig, channels: int, latent_dim: int) -> None:
        super().__init__()
        self.config = config
        self.channels = channels
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        self.embed = nn.Conv1d(latent_dim, config.widths[-1], 3, padding=1)
        total = sum(config.decoder_depths)
        layers: list[nn.Module] = []
        for stage in reversed(range(len(config.decoder_depths))):
            layers += _blocks(config, stage, config.decoder_depths[stage], total)
            if stage:
                layers.append(
                    Upsample(
                        config.widths[stage], config.widths[stage - 1], config.strides[stage - 1]
                    )
                )
        self.layers = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(config.widths[0], eps=1e-6)
        bins = config.n_fft // 2 + 1
        self.head = nn.Linear(config.widths[0], channels * 3 * bins)
        nn.init.normal_(self.head.weight, std=0.02)

    @property
    def receptive_frames(self) -> int:
        """Latent frames on either side that can influence the samples of one frame."""
        return _receptive_frames(self.config, self.config.decoder_depths) + 1

    def forward(self, z: Tensor) -> Tensor:
        config = self.config
        x = self.layers(self.embed(z).transpose(1, 2))
        x = self.head(self.norm(x))
        with in_float32(x):
            x = x.float().unflatten(-1, (self.channels, -1)).transpose(1, 2).flatten(0, 1)
            # Log-gains of all bins, then their complex values as pairs: no copy to make them one.
            bins, fixed = config.n_fft // 2 + 1, config.waveform_bins
            gains = torch.full_like(x[..., :fixed], LOW_LOG_GAIN)
            log_gain = torch.cat([gains, x[..., fixed:bins].clamp(max=MAX_LOG_GAIN)], dim=-1)
            pairs = x[..., bins:].unflatten(-1, (bins, 2)) * log_gain.exp()[..., None]
            spectra = torch.view_as_complex(pairs)
            waveform = inverse_stft(spectra, self.window, config.stft_hop)
        return waveform.reshape(z.shape[0], self.channels, -1)


def _receptive_frames(config: SpectralConfig, depths: tuple[int, ...]) -> int:
    """One-sided reach of the STFT and of all blocks, in latent frames, rounded up."""
    reach = config.n_fft / (2 * config.stft_hop)  # in frames of the STFT
    stride = 1
    for stage, depth in enumerate(depths):
        if stage:
            stride *= config.strides[stage - 1]
            reach += stride - 1  # a merged frame reaches to both of its ends
        reach += depth * (config.kernel_size // 2) * stride
    return math.ceil(reach / stride)
