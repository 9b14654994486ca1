"""Mel spectrograms, and the distance between them that the field compares codecs with.

The filters are Slaney's (Auditory Toolbox 1998), as librosa's default: linear below 1 kHz,
logarithmic above, each of unit area. Written here because the runtime has neither torchaudio
nor librosa; a test compares them with torchaudio's.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

MEL_WINDOWS = (32, 64, 128, 256, 512, 1024, 2048)
MEL_BANDS = (5, 10, 20, 40, 80, 160, 320)
FLOOR = 1e-5


def hz_to_mel(hz: float) -> float:
    """Slaney's mel scale: 200/3 Hz per mel below 1 kHz, 27 mels per factor 6.4 above."""
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def mel_to_hz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


@lru_cache(maxsize=64)
def mel_filters(sample_rate: int, n_fft: int, bands: int, device: torch.device) -> Tensor:
    """Triangular filters of unit area, (n_fft // 2 + 1, bands)."""
    with torch.inference_mode(False):  # kept for later calls, and those may train
        return _triangles(sample_rate, n_fft, bands).float().to(device)


def _triangles(sample_rate: int, n_fft: int, bands: int) -> Tensor:
    top = hz_to_mel(sample_rate / 2)
    edges = mel_to_hz(torch.linspace(0, top, bands + 2, dtype=torch.float64))
    bins = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return torch.minimum(rise, fall).clamp(min=0) * 2 / (edges[2:] - edges[:-2])


def mel_spectrogram(waveform: Tensor, sample_rate: int, window: int, bands: int) -> Tensor:
    """Mel magnitudes, hop window // 4: (rows, time) -> (rows, frames, bands)."""
    spectrum = torch.stft(
        waveform,
        window,
        window // 4,
        window=torch.hann_window(window, device=waveform.device),
        pad_mode="constant",
        return_complex=True,
    )
    magnitude = (spectrum.real**2 + spectrum.imag**2).clamp(min=1e-12).sqrt()
    return magnitude.transpose(1, 2) @ mel_filters(sample_rate, window, bands, waveform.device)


def mel_distance(
    estimate: Tensor,
    target: Tensor,
    sample_rate: int,
    windows: tuple[int, ...] = MEL_WINDOWS,
    bands: tuple[int, ...] = MEL_BANDS,
) -> Tensor:
    """L1 distance of log10 mel magnitudes, summed over window lengths, one value per row.

    With the default windows this is the mel distance of the Descript Audio Codec (Kumar et al.
    2023, section 4.3); as there, the hop is a quarter of the window and magnitudes below 1e-5
    count as 1e-5. Summed, not averaged, over the seven windows.

    Shape: two of (rows, time) -> (rows,)
    """
    total = torch.zeros(len(target), device=target.device)
    for window, count in zip(windows, bands, strict=True):
        logs = [
            mel_spectrogram(x, sample_rate, window, count).clamp(min=FLOOR).log10()
            for x in (estimate, target)
        ]
        total = total + F.l1_loss(logs[0], logs[1], reduction="none").mean(dim=(1, 2))
    return total
