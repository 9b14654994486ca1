"""What the measures of this folder look at: signals at one rate, their spectra and bands.

Every measure is defined at 44.1 kHz, so that its windows mean the same for all recordings; callers
resample before.
"""

from __future__ import annotations

import torch
from torch import Tensor

MEASURING_RATE = 44_100
"""Hz."""
OCTAVES = tuple((62.5 * 2**n, 125.0 * 2**n) for n in range(8))
"""Hz: from 62.5 to 16,000, an octave each."""


def magnitudes(waveform: Tensor, window: int, hop: int) -> Tensor:
    """Magnitudes of the STFT with a Hann window, frames centered, edges reflected.

    Shape: (rows, time), time above window // 2 -> (rows, window // 2 + 1, frames)
    """
    taper = torch.hann_window(window, device=waveform.device)
    return torch.stft(waveform, window, hop, window=taper, return_complex=True).abs()


def bins_between(low: float, high: float, window: int) -> slice:
    """Bins of a transform of ``window`` samples from ``low`` to below ``high``, in Hz."""
    return slice(*(round(hz / MEASURING_RATE * window) for hz in (low, high)))


def spectrum(waveform: Tensor) -> Tensor:
    """One spectrum of the whole signal, scaled so that its squares sum to the mean power.

    Sums of squares over bins are then powers of bands (Parseval), without a filter's slopes.

    Shape: (rows, time) -> (rows, time // 2 + 1), complex
    """
    return torch.fft.rfft(waveform.double()) * (2**0.5 / waveform.shape[-1])


def decibels(power: Tensor, floor: float = 1e-10) -> Tensor:
    """Ten times the decimal logarithm, of ``floor`` where the power is less."""
    return 10 * power.clamp(min=floor).log10()


def check_pair(decoded: Tensor, original: Tensor) -> None:
    """Refuse signals of different shapes.

    Raises:
        ValueError: naming both shapes.
    """
    if decoded.shape != original.shape:
        raise ValueError(
            f"got a decoded sound of shape {tuple(decoded.shape)} and an original of "
            f"{tuple(original.shape)}, expected the same; cut both to one length first"
        )
