"""Magnitudes and powers of the STFT with a backward pass of their own, for the losses of training.

They are half of a training step. PyTorch differentiates an STFT by complex Fourier transforms of
full length, copies and index arithmetic; here it is one real transform back and an overlap-add,
which together with the forward pass takes two thirds of the time on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def magnitudes(
    waveform: Tensor, window: Tensor, floor: float, pad_mode: str = "constant"
) -> Tensor:
    """What ``torch.stft`` with frames around every quarter of a window gives, as magnitudes.

    Those below ``floor`` are ``floor`` and have no gradient.

    (rows, time) -> (rows, frames, len(window) // 2 + 1)
    """
    half = len(window) // 2
    padded = F.pad(waveform[:, None], (half, half), mode=pad_mode)[:, 0]
    return _Magnitudes.apply(padded, window, len(window) // 4, floor)


def powers(waveform: Tensor, window: Tensor, hop: int) -> Tensor:
    """Squared magnitudes of all frames that lie within ``waveform``.

    (rows, time) -> (rows, frames, len(window) // 2 + 1)
    """
    return _Powers.apply(waveform, window, hop)


class _Magnitudes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, waveform: Tensor, window: Tensor, hop: int, floor: float) -> Tensor:
        spectra = _spectra(waveform, window, hop)
        magnitude = torch.linalg.vector_norm(torch.view_as_real(spectra), dim=-1)
        magnitude.clamp_(min=floor)
        ctx.save_for_backward(spectra, magnitude, window)
        ctx.hop, ctx.time, ctx.floor = hop, waveform.shape[-1], floor
        return magnitude

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        spectra, magnitude, window = ctx.saved_tensors
        factor = torch.where(magnitude > ctx.floor, gradient / magnitude, 0.0)
        return _towards(spectra, factor, window, ctx.hop, ctx.time), None, None, None


class _Powers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, waveform: Tensor, window: Tensor, hop: int) -> Tensor:
        spectra = _spectra(waveform, window, hop)
        ctx.save_for_backward(spectra, window)
        ctx.hop, ctx.time = hop, waveform.shape[-1]
        return torch.linalg.vector_norm(torch.view_as_real(spectra), dim=-1).square_()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        spectra, window = ctx.saved_tensors
        return _towards(spectra, 2 * gradient, window, ctx.hop, ctx.time), None, None


def _spectra(waveform: Tensor, window: Tensor, hop: int) -> Tensor:
    return torch.fft.rfft(waveform.unfold(-1, len(window), hop) * window)


def _towards(spectra: Tensor, factor: Tensor, window: Tensor, hop: int, time: int) -> Tensor:
    """The gradient at the waveform, where that at the spectra is ``factor * spectra``."""
    factor[..., 1:-1] *= 0.5  # the inverse transform counts these bins twice
    towards = torch.view_as_complex(torch.view_as_real(spectra) * factor[..., None])
    frames = torch.fft.irfft(towards, len(window), norm="forward") * window
    overlap = len(window) // hop
    pieces = frames.unflatten(2, (overlap, hop))
    count = frames.shape[1]
    total = frames.new_zeros(len(frames), count + overlap - 1, hop)
    for shift in range(overlap):
        total[:, shift : shift + count] += pieces[:, :, shift]
    total = total.flatten(1)
    return F.pad(total, (0, time - total.shape[1]))
