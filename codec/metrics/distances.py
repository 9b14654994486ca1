"""Distances between a signal and its reconstruction, one value per row."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.metrics.mel import mel_spectrogram

BANDS = 24
"""About one per critical band."""
STFT_SIZES = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
"""FFT size, hop and window of the multi-resolution STFT distance."""
FRAMES_AT_ONCE = 512


def stft_distance(estimate: Tensor, target: Tensor) -> Tensor:
    """Multi-resolution STFT distance (Yamamoto et al. 2019, eq. 3 to 6), as auraloss's defaults.

    For each resolution the spectral convergence plus the mean L1 distance of log magnitudes
    (natural logarithm), averaged over resolutions; here and not from auraloss, which the runtime
    does without.

    Shape: two of (rows, time), time above 1024 -> (rows,)
    """
    total = torch.zeros(len(target), device=target.device)
    for n_fft, hop, window in STFT_SIZES:
        difference, energy, logs, count = (torch.zeros_like(total) for _ in range(4))
        signals = (estimate, target)
        for x, y in zip(*(_magnitudes(s, n_fft, hop, window) for s in signals), strict=True):
            difference += (y - x).square().sum(dim=(1, 2))
            energy += y.square().sum(dim=(1, 2))
            logs += (y / x).log().abs().sum(dim=(1, 2))
            count += y[0].numel()
        total = total + (difference / energy).sqrt() + logs / count
    return total / len(STFT_SIZES)


def _magnitudes(signal: Tensor, n_fft: int, hop: int, window: int) -> Iterator[Tensor]:
    """Parts of the STFT, one after the other: at once it takes 5 times as long and 1 GB a minute.

    Shape: (rows, time) -> (rows, n_fft // 2 + 1, up to FRAMES_AT_ONCE)
    """
    taper = torch.hann_window(window, device=signal.device)
    frames = 1 + signal.shape[1] // hop
    signal = F.pad(signal, (n_fft // 2, n_fft // 2), mode="reflect")
    for first in range(0, frames, FRAMES_AT_ONCE):
        last = min(first + FRAMES_AT_ONCE, frames) - 1
        part = signal[:, first * hop : last * hop + n_fft]
        spectrum = torch.stft(part, n_fft, hop, window, taper, center=False, return_complex=True)
        yield (spectrum.real**2 + spectrum.imag**2).clamp(min=1e-8).sqrt()


def si_sdr(estimate: Tensor, target: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, eq. 4).

    Shape: two of (rows, time) -> (rows,)
    """
    estimate = estimate - estimate.mean(dim=1, keepdim=True)
    target = target - target.mean(dim=1, keepdim=True)
    energy = (target**2).sum(dim=1, keepdim=True).clamp(min=1e-12)
    projection = (estimate * target).sum(dim=1, keepdim=True) / energy * target
    distortion = ((estimate - projection) ** 2).sum(dim=1).clamp(min=1e-12)
    return 10 * ((projection**2).sum(dim=1).clamp(min=1e-12) / distortion).log10()


def band_error(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    """Mean absolute error of the long-term level in BANDS mel bands, in dB.

    Shape: two of (rows, time) -> (rows,)
    """
    levels = [
        mel_spectrogram(x, sample_rate, 2048, BANDS).square().mean(dim=1).clamp(min=1e-10).log10()
        for x in (estimate, target)
    ]
    return 10 * (levels[0] - levels[1]).abs().mean(dim=1)
