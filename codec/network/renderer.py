"""From a map to a waveform: sinusoids where it has peaks, noise elsewhere, and gains for both.

What must go on smoothly in time, the phase of partials, is made by rule (sinusoids.py), and noise
is noise. The network only says how much of each there is, per bin and hop of 512 samples; at the
end every band gets the level that the map expects of it (band_matching.py). The idea is that of
harmonic plus noise models with learned controls (Serra and Smith 1990, "Spectral modeling
synthesis"; Engel et al. 2020, "DDSP"), without the assumption of one pitch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.network.band_matching import BandMatching
from codec.network.config import FRAME, SpectralMapConfig
from codec.network.half_hop import HalfHop
from codec.network.layers import QuickConvNeXtBlock
from codec.network.sinusoids import HOP, WINDOW, find_peaks, follow, write_spectrum
from codec.network.spectral_map import SpectralMap
from codec.network.stft import inverse_stft, stft
from codec.network.views import (
    LONG_WINDOW,
    MEDIUM_BINS,
    MEDIUM_FRAMES,
    MEDIUM_WINDOW,
    SHORT_BANDS,
    WAVE_BINS,
    band_of_bin,
    expected_wave,
    in_bins,
    noise_level,
)

LOW_BINS = MEDIUM_BINS
"""Bins, from 0 Hz up, in which there are sinusoids and a waveform; above there is noise alone."""

HOPS = FRAME // HOP
LONG_TRACKS, MEDIUM_TRACKS = 64, 48
BIRTHS = LONG_TRACKS + MEDIUM_FRAMES * MEDIUM_TRACKS
"""Random phases that a latent frame needs."""

HEARD_WAVE_BINS = 64
"""Bins in which a waveform of the lowest WAVE_BINS is to be found: beyond, it is 100 dB down."""

ANCHOR_FRAMES = 256
"""Sinusoids begin anew, without a step, at multiples of so many frames: where blocks of a file
meet, each of which is decoded alone."""

TIME_WIDTH = 128
"""Values of the map decoder's hidden state in each hop."""

SHARPEST = 3.0
"""A gain may be e^3; what a map says is the mean, and peaks of attacks lie above it."""

LOUDER = 0.5
"""But the level of a band is never more than e^0.5 above the map's."""

_PARTS = (LOW_BINS, LOW_BINS, HEARD_WAVE_BINS, LOW_BINS)
"""Bins of the long and medium view's sinusoids, of the waveform and of noise."""
_INITIAL_GAINS = (-0.7, -0.7, -0.5, -0.4)


@dataclass(frozen=True)
class Excitation:
    """What the gains apply to: complex values are (batch, hops, LOW_BINS) where not said."""

    long: Tensor
    """Sinusoids at the peaks of the long view."""
    medium: Tensor
    """And of the medium view."""
    wave: Tensor
    """The waveform, as far as it is known: complex (batch, hops, HEARD_WAVE_BINS)."""
    level: Tensor
    """Log power that the medium view expects, (batch, hops, LOW_BINS)."""
    seen: Tensor
    """What the network sees of the medium view, (batch, hops, width)."""
    bands: Tensor
    """Log power that the short view expects, (batch, hops, SHORT_BANDS)."""

    def of_frames(self, kept: slice) -> Excitation:
        """That of some latent frames, from first to last."""
        hops = slice(kept.start * HOPS, kept.stop * HOPS)
        return Excitation(*(getattr(self, field.name)[:, hops] for field in fields(self)))


class Renderer(nn.Module):
    """Hidden state and map of latent frames to a waveform."""

    band_of_bin: Tensor
    window: Tensor

    def __init__(self, config: SpectralMapConfig, sample_rate: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.hidden_in = nn.Linear(config.width, HOPS * TIME_WIDTH)
        width = config.renderer_width
        self.embed = nn.Linear(TIME_WIDTH + sum(_PARTS[:3]) + SHORT_BANDS, width)
        self.embed_medium = nn.Linear(2 * LOW_BINS, width, bias=False)
        self.blocks = nn.Sequential(
            *(
                QuickConvNeXtBlock(
                    width, config.expansion, config.renderer_kernel, 1 / config.renderer_depth
                )
                for _ in range(config.renderer_depth)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, sum(_PARTS) + SHORT_BANDS)
        nn.init.normal_(self.head.weight, std=0.01)
        with torch.no_grad():
            gains = (torch.full((b,), g) for b, g in zip(_PARTS, _INITIAL_GAINS, strict=True))
            self.head.bias.copy_(F.pad(torch.cat([*gains]), (0, SHORT_BANDS)))
        self.register_buffer("band_of_bin", band_of_bin(WINDOW), persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.half_hop = HalfHop(self.window, WAVE_BINS, HEARD_WAVE_BINS)
        self.matching = BandMatching()
        self.reach = config.renderer_depth * (config.renderer_kernel // 2)

    @property
    def excited_frames(self) -> int:
        """Latent frames on either side whose excitation can influence the samples of one."""
        transform = WINDOW // HOP + self.matching.reach  # overlapping windows that hold others
        return math.ceil((self.reach + transform) / HOPS)

    @property
    def receptive_frames(self) -> int:
        """Latent frames on either side that can influence the samples of one."""
        return self.excited_frames + 2  # two for tracks from frame to frame

    def excite(self, expected: SpectralMap, births: Tensor, first_frame: int) -> Excitation:
        """Sinusoids and the known waveform of a map.

        Args:
            births: (batch, frames, BIRTHS) from 0 to 1: phases of sinusoids that begin.
            first_frame: where the first of the latent frames stands in a recording.
        """
        rate = self.sample_rate
        long_births = births[..., :LONG_TRACKS]
        medium_births = births[..., LONG_TRACKS:].unflatten(-1, (MEDIUM_FRAMES, MEDIUM_TRACKS))
        long_peaks = find_peaks(
            expected.long.flatten(1, 2),
            expected.long_offset.flatten(1, 2),
            LONG_WINDOW,
            rate,
            LONG_TRACKS,
        )
        medium_peaks = find_peaks(
            expected.medium.flatten(1, 2),
            expected.medium_offset.flatten(1, 2),
            MEDIUM_WINDOW,
            rate,
            MEDIUM_TRACKS,
        )
        long = follow(long_peaks, FRAME, rate, long_births, first_frame, ANCHOR_FRAMES)
        medium = follow(
            medium_peaks,
            FRAME // MEDIUM_FRAMES,
            rate,
            medium_births.flatten(1, 2),
            first_frame * MEDIUM_FRAMES,
            ANCHOR_FRAMES * MEDIUM_FRAMES,
        )
        level, spread = map(_from_bin_zero, (expected.medium, expected.medium_spread))
        return Excitation(
            long=write_spectrum(long, rate, LOW_BINS),
            medium=write_spectrum(medium, rate, LOW_BINS),
            wave=self._wave(expected),
            level=_at_hops(level),
            seen=_at_hops(self.embed_medium(torch.cat([(level + 10) / 4, spread], dim=-1))),
            bands=expected.short.flatten(1, 2),
        )

    def _wave(self, expected: SpectralMap) -> Tensor:
        """The waveform of the lowest bins, in the transform of the other parts."""
        scale = expected_wave(expected.medium) * noise_level(MEDIUM_WINDOW)
        pairs = (expected.wave_mean * scale[..., None]).flatten(1, 2)
        return torch.view_as_complex(self.half_hop(pairs))

    def gains(self, hidden: Tensor, excitation: Excitation) -> Tensor:
        """Log gains (batch, hops, sum(_PARTS) + SHORT_BANDS): of the parts, and of all bands."""
        relative = [
            ((_log_power(part) - excitation.level[..., : part.shape[-1]]) / 4).clamp(-3, 3)
            for part in (excitation.long, excitation.medium, excitation.wave)
        ]
        at_hops = self.hidden_in(hidden).unflatten(-1, (HOPS, TIME_WIDTH)).flatten(1, 2)
        context = [*relative, (excitation.bands + 10) / 4]
        x = torch.cat([at_hops, *(part.to(at_hops) for part in context)], dim=-1)
        x = self.embed(x) + excitation.seen
        return self.head(self.norm(self.blocks(x))).float()

    def mix(self, gains: Tensor, excitation: Excitation, noise: Tensor) -> Tensor:
        """Everything at its gain: (batch, time), with white noise of the same shape."""
        *low, bands = gains.clamp(-12.0, SHARPEST).split([*_PARTS, SHORT_BANDS], dim=-1)
        long, medium, wave, filling = low
        levels = excitation.bands / 2 + bands.clamp(max=LOUDER)
        above = in_bins(levels.exp(), self.band_of_bin[LOW_BINS:])
        spectra = stft(noise, self.window, HOP)
        below = spectra[..., :LOW_BINS] * (excitation.level / 2 + filling).exp()
        below = below + excitation.long * long.exp() + excitation.medium * medium.exp()
        lowest = below[..., :HEARD_WAVE_BINS] + excitation.wave * wave.exp()
        parts = [lowest, below[..., HEARD_WAVE_BINS:], spectra[..., LOW_BINS:] * above]
        spectra = torch.cat(parts, dim=-1)
        return self.matching(inverse_stft(spectra, self.window, HOP), 2 * levels)


def _log_power(spectra: Tensor) -> Tensor:
    """Over that of white noise of unit variance, as in maps."""
    power = spectra.real**2 + spectra.imag**2
    return (power / noise_level(WINDOW) ** 2 + 1e-9).log()


def _at_hops(x: Tensor) -> Tensor:
    """(batch, frames, MEDIUM_FRAMES, bins) -> (batch, hops, bins), straight lines between."""
    x = x.flatten(1, 2)
    steps = HOPS // MEDIUM_FRAMES
    padded = torch.cat([x[:, :1], x, x[:, -1:]], dim=1)
    share = (torch.arange(steps, device=x.device) + 0.5)[:, None] / steps
    between = torch.lerp(padded[:, :-1, None], padded[:, 1:, None], share)
    return between.flatten(1, 2)[:, steps // 2 : -(steps // 2)]


def _from_bin_zero(x: Tensor) -> Tensor:
    """Bins 1, 2, ... as 0, 1, ...: bin 0 is as bin 1, and the last one is left out."""
    return torch.cat([x[..., :1], x[..., :-1]], dim=-1)
