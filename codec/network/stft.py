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
    segments = torch.fft.irfft(spectra, n_fft, dim=-1)
    parts = window.view(-1, hop)
    total = overlap_add(segments.unflatten(-1, parts.shape), parts)
    envelope = overlap_add(torch.ones_like(parts[:, :1]).expand(1, frames, -1, 1), parts**2)
    pad = (n_fft - hop) // 2
    keep = slice(pad, pad + frames * hop)
    return total[:, keep] / envelope[:, keep]


def overlap_add(pieces: Tensor, window: Tensor) -> Tensor:
    """Frames in pieces of a hop, (batch, frames, n_fft // hop, hop), each times its own part of a
    window (n_fft // hop, hop), where they belong: (batch, time)
    """
    overlap = len(window)
    count = pieces.shape[1] + overlap - 1
    padded = F.pad(pieces, (0, 0, 0, 0, overlap - 1, overlap - 1))
    total = padded[:, -count:, 0] * window[0]
    for shift in range(1, overlap):  # sums, not writes in place: those are slow in ONNX
        total = torch.addcmul(total, padded[:, -count - shift : -shift, shift], window[shift])
    return total.flatten(1)
