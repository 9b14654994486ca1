"""The modified discrete cosine transform as a layer: the observation that likelihoods are of.

A critically sampled transform with overlapping windows: as many numbers as samples, and smooth
joints (Princen and Bradley 1986, "Analysis/synthesis filter bank design based on time domain
aliasing cancellation"). The transform of files is another one, whose frames can be split
(lapped.py).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MDCT(nn.Module):
    """``hop`` coefficients for every ``hop`` samples, with windows of twice the length.

    The transform is orthonormal: white noise has its own RMS in each coefficient.
    """

    basis: Tensor

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        with torch.device("cpu"):
            n = torch.arange(2 * hop, dtype=torch.float64)[:, None] + 0.5
            k = torch.arange(hop, dtype=torch.float64) + 0.5
            window = torch.sin(math.pi / (2 * hop) * n)
            basis = window * torch.cos(math.pi / hop * (n + hop / 2) * k) * math.sqrt(2 / hop)
        self.register_buffer("basis", basis.float(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(rows, time), time a multiple of hop -> (rows, time // hop, hop)"""
        half = self.hop // 2
        return F.pad(waveform, (half, half)).unfold(1, 2 * self.hop, self.hop) @ self.basis
