"""The short-time Fourier transform of the spectral network, and its inverse."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def stft(waveform: Tensor, window: Tensor, hop: int) -> Tensor:
    """Complex spectra of frames centred on the middle of each hop.

    (batch, time), time a multiple of hop -> (batch, time // hop, len(window) // 2 + 1)
    """
    pad = (len(window) - hop) // 2
    spectra = torch.stft(
        F.pad(waveform, (pad, pad)),
        len(window),
        hop,
        window=window,
        center=False,
        return_complex=True,
    )
    return spectra.transpose(1, 2)


def inverse_stft(spectra: Tensor, window: Tensor, hop: int) -> Tensor:
    """Least-squares inverse of :func:`stft` (Griffin and Lim 1984, eq. 6).

    (batch, frames, len(window) // 2 + 1) -> (batch, frames * hop)
    """
    n_fft, frames = len(window), spectra.shape[1]
    segments = torch.fft.irfft(spectra, n_fft, dim=-1) * window
    shape = (-1, frames, n_fft // hop, hop)
    envelope = _overlap_add((window**2).reshape(1, 1, -1, hop).expand(shape))
    pad = (n_fft - hop) // 2
    keep = slice(pad, pad + frames * hop)
    return _overlap_add(segments.reshape(shape))[:, keep] / envelope[:, keep]


def _overlap_add(pieces: Tensor) -> Tensor:
    """Frames cut into pieces of a hop, (batch, frames, n_fft // hop, hop) -> (batch, time)."""
    overlap = pieces.shape[2]
    total = F.pad(pieces[:, :, 0], (0, 0, 0, overlap - 1))
    for shift in range(1, overlap):  # sums, not writes in place: those are slow in ONNX
        total = total + F.pad(pieces[:, :, shift], (0, 0, shift, overlap - 1 - shift))
    return total.flatten(1)
