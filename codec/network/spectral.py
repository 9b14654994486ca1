"""The spectral network: STFT in, ConvNeXt blocks, inverse-STFT head (the default).

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
import torch.nn.functional as F
from torch import Tensor, nn

from codec.network.config import SpectralConfig
from codec.network.float32 import in_float32
from codec.network.layers import ConvNeXtBlock, Downsample, Upsample
from codec.network.levels import BandLevels
from codec.network.mdct import LowMDCT
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
        measured = config.level_latents + config.mdct_latents if config.exact_levels else 0
        self.all_measured = config.mdct_latents > 0 and measured == out_dim // 2
        if self.all_measured:
            self.log_variances = nn.Parameter(torch.zeros(measured), requires_grad=False)
        else:
            self._build_network(channels, out_dim - measured)
        if config.level_latents:
            self.levels = _band_levels(config)
            self.levels_in = nn.Linear(channels * config.levels, config.level_latents)
            self.levels_in.requires_grad_(not config.exact_levels)
        if config.mdct_latents:
            self.low_band = LowBand(config, self.levels, config.mdct_latents // channels)

    def _build_network(self, channels: int, out_dim: int) -> None:
        config = self.config
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
        self.project = nn.Linear(config.widths[-1] * config.fold, out_dim)

    @property
    def receptive_frames(self) -> int:
        """Latent frames on either side whose audio can influence one latent frame."""
        depths = self.config.encoder_depths
        reach = _receptive_frames(self.config, (0,) * len(depths) if self.all_measured else depths)
        return reach + (1 if self.config.mdct_latents else 0)  # levels of the frames beside it

    def features(self, spectra: Tensor) -> Tensor:
        """Log-magnitudes of all bins and power-compressed complex values of the lowest bins.

        (rows, frames, bins) -> (rows, frames, bins + 2 * phase_bins)
        """
        magnitude = (spectra.real**2 + spectra.imag**2 + 1e-10).sqrt()
        low = spectra[..., : self.config.phase_bins]
        gain = magnitude[..., : self.config.phase_bins] ** (COMPRESSION - 1.0)
        gain = gain * self.bin_weights
        return torch.cat([magnitude.log() / 3.0 + 1.0, low.real * gain, low.imag * gain], dim=-1)

    def measure(self, waveform: Tensor) -> Tensor:
        """Levels of bands: (batch, channels, time) -> (batch, frames, channels * levels)."""
        return _beside(self.levels.measure(waveform.flatten(0, 1)), waveform.shape[0])

    def forward(self, waveform: Tensor) -> Tensor:
        batch, config = waveform.shape[0], self.config
        with in_float32(waveform):
            rows = waveform.float().flatten(0, 1)
            spectra = stft(rows, self.window, config.stft_hop)
            measured = self._measured(rows, spectra, batch)
            if self.all_measured:
                variances = self.log_variances[:, None].expand_as(measured)
                return torch.cat([measured, variances], dim=1)
            features = _beside(self.features(spectra), batch)
        x = self.norm(self.layers(self.embed(features)))
        x = x.unflatten(1, (-1, config.fold)).flatten(2)
        parameters = self.project(x).transpose(1, 2)
        if not config.level_latents:
            return parameters
        parameters = parameters.float()
        if config.exact_levels:
            return torch.cat([measured, parameters], dim=1)
        count = config.level_latents
        return torch.cat([parameters[:, :count] + measured, parameters[:, count:]], dim=1)

    def _measured(self, rows: Tensor, spectra: Tensor, batch: int) -> Tensor:
        """What is measured: (batch, level_latents + mdct_latents, frames)."""
        if not self.config.level_latents:
            return rows.new_zeros(batch, 0, 0)
        levels = self.levels.of(spectra)
        measured = [self.levels_in(_beside(levels, batch))]
        if self.config.mdct_latents:
            measured.append(_beside(self.low_band.analyse(rows, levels), batch))
        return torch.cat(measured, dim=-1).transpose(1, 2)


def _beside(x: Tensor, batch: int) -> Tensor:
    """The channels of an item side by side: (rows, frames, n) -> (batch, frames, channels * n)"""
    return x.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2)


def _apart(x: Tensor, channels: int) -> Tensor:
    """The inverse of :func:`_beside`."""
    return x.unflatten(-1, (channels, -1)).transpose(1, 2).flatten(0, 1)


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
        self.embed = nn.Conv1d(latent_dim, config.widths[-1] * config.fold, 3, padding=1)
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
        if config.level_latents:
            self.levels = _band_levels(config)
            self.levels_out = nn.Linear(config.level_latents, channels * config.levels)
            self.levels_out.weight.requires_grad_(not config.exact_levels)
        if config.mdct_latents:
            self.low_band = LowBand(config, self.levels, config.mdct_latents // channels)
            self.low_in = nn.Linear(channels * 2 * self.low_band.bins, config.widths[0])

    @property
    def receptive_frames(self) -> int:
        """Latent frames on either side that can influence the samples of one frame."""
        # Levels are corrected in a transform of the waveform, and measured over whole frames.
        transforms = 3 if self.config.level_latents else 1
        transforms += 1 if self.config.mdct_latents else 0
        reach = _receptive_frames(self.config, self.config.decoder_depths, transforms)
        # An MDCT's window reaches into the frames beside it, and its level into those beside them.
        reach += 2 if self.config.mdct_latents else 0
        return reach + (2 if self.config.level_latents else 1)

    def forward(self, z: Tensor) -> Tensor:
        config, low = self.config, None
        if config.level_latents:
            with in_float32(z):
                said = z.float().transpose(1, 2)
                levels = self.levels_out(said[..., : config.level_latents])
                levels = _apart(levels, self.channels)
        x = self.embed(z).transpose(1, 2).unflatten(2, (config.fold, -1)).flatten(1, 2)
        if config.mdct_latents:
            with in_float32(z):
                end = config.level_latents + config.mdct_latents
                values = _apart(said[..., config.level_latents : end], self.channels)
                low = self.low_band.waveform(values, levels)
                features = _beside(self.low_band.features(values), z.shape[0])
            fastest = len(self.layers) - config.decoder_depths[0]
            x = self.layers[:fastest](x) + self.low_in(features)
            x = self.layers[fastest:](x)
        else:
            x = self.layers(x)
        x = self.head(self.norm(x))
        with in_float32(x):
            x = _apart(x.float(), self.channels)
            # Log-gains of all bins, then their complex values as pairs: no copy to make them one.
            bins, fixed = config.n_fft // 2 + 1, config.waveform_bins
            gains = torch.full_like(x[..., :fixed], LOW_LOG_GAIN)
            log_gain = torch.cat([gains, x[..., fixed:bins].clamp(max=MAX_LOG_GAIN)], dim=-1)
            pairs = x[..., bins:].unflatten(-1, (bins, 2)) * log_gain.exp()[..., None]
            spectra = torch.view_as_complex(pairs)
            waveform = inverse_stft(spectra, self.window, config.stft_hop)
            if low is not None:
                waveform = waveform + low
            if config.level_latents:
                waveform = self.levels.correct(waveform, levels)
        return waveform.reshape(z.shape[0], self.channels, -1)


class LowBand(nn.Module):
    """MDCT latents and what they say of the waveform of one channel.

    A latent is a coefficient over what it would be on average if its band were noise of the band's
    levels. So rounding it makes noise that is equally far below the sound in every window.
    """

    window: Tensor
    band: Tensor
    shares: Tensor

    def __init__(self, config: SpectralConfig, levels: BandLevels, count: int) -> None:
        super().__init__()
        self.stft_hop = config.stft_hop
        self.mdct = LowMDCT(config.hop_length, count)
        self.levels = levels
        with torch.device("cpu"):
            bin_of = (torch.arange(count) + 0.5) * config.n_fft / (2 * config.hop_length)
            of_first = bin_of.round().long().clamp(min=levels.first) - levels.first
            window = torch.hann_window(config.n_fft)
            shares = _window_shares(config.hop_length, config.levels_per_frame)
        self.bins = min(math.ceil(float(bin_of[-1])) + 3, config.n_fft // 2 + 1)
        """Bins of the STFT that the coefficients reach, with a Hann window's main lobe."""
        self.scale = float(window.square().sum()) ** 0.5
        """White noise's RMS in a bin of the STFT, over that in a coefficient."""
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("band", levels.band_of_bin.cpu()[of_first], persistent=False)
        self.register_buffer("shares", shares, persistent=False)

    def analyse(self, waveform: Tensor, levels: Tensor) -> Tensor:
        """(rows, time) and levels (rows, frames, levels) -> latents (rows, frames, count)."""
        return self.mdct(waveform) / self._expected(levels)

    def waveform(self, latents: Tensor, levels: Tensor) -> Tensor:
        """The waveform of (rows, frames, count) at levels (rows, frames, levels): (rows, time)."""
        return self.mdct.inverse(latents * self._expected(levels))

    def features(self, latents: Tensor) -> Tensor:
        """The whitened waveform's spectrum: (rows, frames, count) -> (rows, STFT frames, 2 bins)"""
        spectra = stft(self.mdct.inverse(latents), self.window, self.stft_hop)[..., : self.bins]
        return torch.view_as_real(spectra / self.scale).flatten(2)

    def _expected(self, levels: Tensor) -> Tensor:
        """RMS of coefficients: (rows, frames, levels) -> (rows, frames, count)"""
        power = (2 * levels.clamp(max=MAX_LOG_GAIN)).exp()
        power = power.unflatten(-1, (self.levels.per_frame, self.levels.bands))
        before, after = F.pad(power[:, :-1], _FRAME_BEFORE), F.pad(power[:, 1:], _FRAME_AFTER)
        around = torch.cat([before, power, after], dim=2)
        expected = torch.einsum("rflb,l->rfb", around, self.shares)
        return expected.sqrt()[..., self.band] / self.scale


_FRAME_BEFORE, _FRAME_AFTER = (0, 0, 0, 0, 1, 0), (0, 0, 0, 0, 0, 1)


def _window_shares(hop: int, per_frame: int) -> Tensor:
    """How much of an MDCT window's energy lies where each level of three frames was measured."""
    energy = torch.zeros(3 * hop)
    middle = torch.arange(2 * hop) + 0.5
    energy[hop // 2 : hop // 2 + 2 * hop] = (math.pi / (2 * hop) * middle).sin() ** 2 / hop
    return energy.reshape(3 * per_frame, -1).sum(dim=1)


def _band_levels(config: SpectralConfig) -> BandLevels:
    stride = math.prod(config.strides) * config.fold
    first = max(1, config.waveform_bins)  # below, the waveform itself is carried
    return BandLevels(
        config.n_fft,
        config.stft_hop,
        stride,
        first,
        config.level_bands,
        config.level_knee,
        config.levels_per_frame,
    )


def _receptive_frames(config: SpectralConfig, depths: tuple[int, ...], transforms: int = 1) -> int:
    """One-sided reach of the STFTs and of all blocks, in latent frames, rounded up."""
    reach = transforms * config.n_fft / (2 * config.stft_hop)  # in frames of the STFT
    stride = 1
    for stage, depth in enumerate(depths):
        if stage:
            stride *= config.strides[stage - 1]
            reach += stride - 1  # a merged frame reaches to both of its ends
        reach += depth * (config.kernel_size // 2) * stride
    reach += (config.fold - 1) * stride
    return math.ceil(reach / (config.fold * stride))
