"""What the base layer sees of a waveform: three resolutions of its spectrum, frame by frame.

A latent frame is 2048 samples. Its views overlap and share no grid, because no single window
serves both chords and voices:

    long     bins of a 4096 window, once a frame: tells partials of a chord apart
    medium   bins of a 2048 window, twice a frame: follows a voice
    short    bands of a 1024 window, four times a frame, up to the Nyquist frequency: attacks
    wave     the lowest complex bins of the medium window: the waveform itself

Beside every bin of the long and medium view stands its frequency offset: how far, in bins, the
partial that dominates the bin is from the bin's middle, by reassignment (Auger and Flandrin 1995,
"Improving the readability of time-frequency and time-scale representations by the reassignment
method", eq. 20).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from codec.network.config import FRAME

LONG_WINDOW, LONG_BINS = 4096, 400
MEDIUM_WINDOW, MEDIUM_BINS, MEDIUM_FRAMES = 2048, 256, 2
SHORT_WINDOW, SHORT_FRAMES = 1024, 4
WAVE_BINS = 24

FLOOR = 1e-9
"""Added to every power: -90 dB below white noise of unit variance."""

MAX_OFFSET = 1.5
"""Frequency offsets end here, in bins: a Hann window's main lobe is little wider."""

MIN_LOG_POWER, MAX_LOG_POWER = math.log(FLOOR), 12.0
"""Where maps are clamped: beyond full scale by some 30 dB nothing is meant."""


def _short_edges() -> np.ndarray:
    """Edges of the short view's bands, in its bins: pairs of bins at first, then equal ratios."""
    pairs = np.unique(np.r_[1:9, np.round(np.geomspace(9, 257, 29)).astype(int)])
    return np.minimum(2 * pairs, SHORT_WINDOW // 2 + 1)


SHORT_EDGES = _short_edges()
SHORT_BANDS = len(SHORT_EDGES) - 1


@dataclass(frozen=True)
class Views:
    """Natural logarithms of power, over that of white noise of unit variance, and more."""

    long: Tensor
    """(batch, frames, 1, LONG_BINS), bins 1, 2, ... of the window"""
    medium: Tensor
    """(batch, frames, MEDIUM_FRAMES, MEDIUM_BINS)"""
    short: Tensor
    """(batch, frames, SHORT_FRAMES, SHORT_BANDS)"""
    wave: Tensor
    """(batch, frames, MEDIUM_FRAMES, WAVE_BINS, 2), real and imaginary, whitened"""
    long_offset: Tensor
    """(batch, frames, 1, LONG_BINS), in bins"""
    medium_offset: Tensor
    """(batch, frames, MEDIUM_FRAMES, MEDIUM_BINS), in bins"""

    def of_items(self, item: Tensor) -> Views:
        """Those of items (rows,) of the batch, any of them several times."""
        return Views(*(getattr(self, field.name)[item] for field in fields(self)))


def analyze(waveform: Tensor) -> Views:
    """(batch, time), time a multiple of FRAME, -> the views of every frame."""
    long, long_offset, _ = _bins(waveform, LONG_WINDOW, 1, LONG_BINS)
    medium, medium_offset, spectra = _bins(waveform, MEDIUM_WINDOW, MEDIUM_FRAMES, MEDIUM_BINS)
    wave = torch.view_as_real(spectra[..., :WAVE_BINS] / noise_level(MEDIUM_WINDOW))
    wave = wave / expected_wave(medium)[..., None]
    return Views(long, medium, _bands(waveform), wave, long_offset, medium_offset)


def noise_level(window: int) -> float:
    """RMS magnitude of unit white noise in a bin of a Hann window of so many samples."""
    return math.sqrt(window * 3 / 8)


def expected_wave(medium: Tensor) -> Tensor:
    """RMS of nine medium bins around each of the lowest ones: what whitens the wave view.

    (batch, frames, MEDIUM_FRAMES, MEDIUM_BINS) -> (batch, frames, MEDIUM_FRAMES, WAVE_BINS)
    """
    power = medium[..., : WAVE_BINS + 8].clamp(max=MAX_LOG_POWER).exp()
    return mean_of_neighbors(power, 9)[..., :WAVE_BINS].sqrt() + 1e-4


def mean_of_neighbors(x: Tensor, count: int) -> Tensor:
    """Mean over ``count`` (odd) neighbors in the last dimension, fewer at its ends."""
    size, reach = x.shape[-1], count // 2
    place = torch.arange(size, device=x.device)
    present = (place + reach).clamp(max=size - 1) - (place - reach).clamp(min=0) + 1
    padded = F.pad(x, (reach, reach))
    total = padded[..., :size]
    for away in range(1, count):  # quicker than avg_pool1d, for the same
        total = total + padded[..., away : away + size]
    return total / present


def _frames(waveform: Tensor, window: int, hop: int) -> Tensor:
    """Segments centred on the middle of each hop: (batch, time // hop, window)"""
    pad = (window - hop) // 2
    return F.pad(waveform, (pad, pad)).unfold(-1, window, hop)


def _bins(waveform: Tensor, window: int, per_frame: int, bins: int) -> tuple[Tensor, ...]:
    """Log powers, frequency offsets and complex values of bins 1 to ``bins`` of a window."""
    segments = _frames(waveform, window, FRAME // per_frame)
    hann = torch.hann_window(window, device=waveform.device)
    phase = torch.arange(window, device=waveform.device) * (2 * math.pi / window)
    derivative = math.pi / window * phase.sin()
    keep = slice(1, bins + 1)
    spectra = torch.fft.rfft(segments * hann)[..., keep]
    changed = torch.fft.rfft(segments * derivative)[..., keep]
    power = spectra.real**2 + spectra.imag**2
    offset = -(changed * spectra.conj()).imag / (power + 1e-6) * (window / (2 * math.pi))
    log_power = (power / noise_level(window) ** 2 + FLOOR).log()
    shape = (waveform.shape[0], -1, per_frame, bins)
    return (
        log_power.view(shape),
        offset.clamp(-MAX_OFFSET, MAX_OFFSET).view(shape),
        spectra.reshape(shape),
    )


def _bands(waveform: Tensor) -> Tensor:
    """Log powers of the short view's bands."""
    segments = _frames(waveform, SHORT_WINDOW, FRAME // SHORT_FRAMES)
    spectra = torch.fft.rfft(segments * torch.hann_window(SHORT_WINDOW, device=waveform.device))
    bands = band_log_powers(spectra, band_means().to(waveform))
    return bands.view(waveform.shape[0], -1, SHORT_FRAMES, SHORT_BANDS)


def band_log_powers(spectra: Tensor, means: Tensor) -> Tensor:
    """Spectra of the short window, (..., bins), and ``band_means`` -> (..., SHORT_BANDS)."""
    power = (spectra.real**2 + spectra.imag**2) / noise_level(SHORT_WINDOW) ** 2
    return (power @ means + FLOOR).log()


def band_means() -> Tensor:
    """(bins of the short window, SHORT_BANDS): what takes powers of bins to means of bands."""
    edges = torch.as_tensor(SHORT_EDGES)
    bins = torch.arange(SHORT_WINDOW // 2 + 1)[:, None]
    inside = (edges[:-1] <= bins) & (bins < edges[1:])
    return inside / edges.diff().float()


def in_bins(of_bands: Tensor, band_of_bin: Tensor) -> Tensor:
    """Values of bands (..., SHORT_BANDS) at bins of these bands: (..., bins)"""
    return of_bands.gather(-1, band_of_bin.expand(*of_bands.shape[:-1], -1))


def band_of_bin(window: int) -> Tensor:
    """The short view's band that each bin of a longer window lies in: (window // 2 + 1,)."""
    ratio = window // SHORT_WINDOW
    edges = torch.as_tensor(SHORT_EDGES[1:-1]) * ratio - ratio // 2
    return torch.bucketize(torch.arange(window // 2 + 1), edges, right=True)
