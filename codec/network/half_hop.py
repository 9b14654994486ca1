"""Few bins of a short-time Fourier transform as one of half its hop, without the waveform between.

Inverse transform, window, overlap and transform are linear, and for frames that are far enough from
both ends the same everywhere: one matrix from a frame to the hops that it is heard in. That costs
an eighth of the transforms.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from codec.network.stft import inverse_stft, overlap_add, stft

PIECES, HOPS_BEFORE = 4, 3
"""A frame is heard in four times two hops, of which three lie before its own first."""


class HalfHop(nn.Module):
    """Spectra of a hop that is half the window to those of a quarter of it.

    Shape: (batch, frames, bins_in, 2), real and imaginary parts of bins from 1 on ->
    (batch, 2 * frames, bins_out, 2), bins from 0 on. What leaks beyond ``bins_out`` is left out.
    """

    matrix: Tensor
    ones: Tensor

    def __init__(self, window: Tensor, bins_in: int, bins_out: int) -> None:
        super().__init__()
        frames, size = 2 * PIECES + 1, len(window)
        parts = torch.zeros(bins_in, 2, frames, size // 2 + 1, 2)
        for each in range(bins_in):
            parts[each, :, PIECES, 1 + each] = torch.eye(2)
        units = torch.view_as_complex(parts.flatten(0, 1))
        hops = stft(inverse_stft(units, window, size // 2), window, size // 4)
        first = 2 * PIECES - HOPS_BEFORE
        heard = torch.view_as_real(hops[:, first : first + 2 * PIECES, :bins_out])
        self.register_buffer("matrix", heard.flatten(1), persistent=False)
        ones = torch.ones(PIECES, heard[0].numel() // PIECES)
        self.register_buffer("ones", ones, persistent=False)
        self.bins_out = bins_out

    def forward(self, pairs: Tensor) -> Tensor:
        batch, frames, *_ = pairs.shape
        heard = pairs.flatten(2) @ self.matrix
        total = overlap_add(heard.unflatten(2, (PIECES, -1)), self.ones)
        hops = total.view(batch, -1, self.bins_out, 2)
        return hops[:, HOPS_BEFORE : HOPS_BEFORE + 2 * frames]
