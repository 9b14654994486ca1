"""Distances between a signal and its reconstruction, one value per row."""

from __future__ import annotations

from torch import Tensor


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
