"""The lowest coefficients of a modified discrete cosine transform, and the waveform they stand for.

A critically sampled transform with overlapping windows: as many numbers as samples, and smooth
joints (Princen and Bradley 1986, "Analysis/synthesis filter bank design based on time domain
aliasing cancellation"). MP3, AAC and Opus code their coefficients. Here the lowest ones say what a
network cannot invent, the waveform where pitch is heard.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LowMDCT(nn.Module):
    """The lowest ``count`` of ``hop`` coefficients, one set for every ``hop`` samples.

    Coefficients are those of an orthonormal transform: white noise has its own RMS in each.
    """

    basis: Tensor
    edge: Tensor

    def __init__(self, hop: int, count: int) -> None:
        super().__init__()
        self.hop = hop
        with torch.device("cpu"):
            n = torch.arange(2 * hop, dtype=torch.float64)[:, None] + 0.5
            k = torch.arange(count, dtype=torch.float64) + 0.5
            window = torch.sin(math.pi / (2 * hop) * n)
            basis = window * torch.cos(math.pi / hop * (n + hop / 2) * k) * math.sqrt(2 / hop)
            edge = 1 / window[hop // 2 : hop, 0] ** 2
        self.register_buffer("basis", basis.float(), persistent=False)
        self.register_buffer("edge", edge.float(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(rows, time), time a multiple of hop -> (rows, time // hop, count)"""
        half = self.hop // 2
        return F.pad(waveform, (half, half)).unfold(1, 2 * self.hop, self.hop) @ self.basis

    def inverse(self, coefficients: Tensor) -> Tensor:
        """(rows, frames, count) -> (rows, frames * hop)"""
        halves = (coefficients @ self.basis.T).unflatten(-1, (2, self.hop))
        total = F.pad(halves[:, :, 0], (0, 0, 0, 1)) + F.pad(halves[:, :, 1], (0, 0, 1, 0))
        half = self.hop // 2
        waveform = total.flatten(1)[:, half:-half]
        # Where a window has no neighbour, since what lies beyond is zero, it is divided out.
        first, inner, last = waveform.tensor_split((half, waveform.shape[1] - half), dim=1)
        return torch.cat([first * self.edge, inner, last * self.edge.flip(0)], dim=1)
