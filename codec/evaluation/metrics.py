"""Distances between a signal and its reconstruction, one value per row."""

from __future__ import annotations

from torch import Tensor

from codec.mel import mel_spectrogram

BANDS = 24
"""About one per critical band."""


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
