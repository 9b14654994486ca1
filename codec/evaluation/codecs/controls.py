"""Sounds that are no copy of the original, for measures of quality to fail on.

A measure that likes one of them better than a real codec cannot hear what it lacks:

- noise: white noise brought to the original's levels, 32 bands every 23 ms. It has the spectral
  envelope of the original and its course, and neither a pitch nor a waveform;
- comb: lines every 43 Hz, with phases that never change, brought to the same levels. It has a
  partial near every partial of the original, and the texture of a buzzer.

They are the same for all models and cost no bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from codec import audio
from codec.evaluation.codecs.peers import RoundTrip
from codec.metrics.spectra import MEASURING_RATE

BANDS = 32
PERIOD = 1024
"""Samples at 44.1 kHz: between two levels of a band, and of the comb."""
WINDOW, HOP = 2048, 512
ROUNDS = 2
"""Levels of overlapping frames disturb each other; the second round mends the most of it."""


def white_noise(samples: int, seed: int) -> Tensor:
    """(samples,)"""
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def line_comb(samples: int, seed: int) -> Tensor:
    """Lines of one strength at every multiple of 43.07 Hz, their phases drawn once: (samples,)"""
    generator = torch.Generator().manual_seed(seed)
    phases = 2 * torch.pi * torch.rand(PERIOD // 2 + 1, generator=generator)
    period = torch.fft.irfft(torch.polar(torch.ones_like(phases), phases)) * PERIOD**0.5
    return period.repeat(-(-samples // PERIOD))[:samples]


CONTROLS: dict[str, Callable[[int, int], Tensor]] = {"noise": white_noise, "comb": line_comb}


@dataclass(frozen=True)
class Original:
    """The original itself: what a perfect codec would give; a ``Coder`` without a rate."""

    codec: str = "original"
    kbps: None = None

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> RoundTrip:
        """See ``Coder``."""
        return RoundTrip(waveform, 0, 0.0, 0.0)


@dataclass(frozen=True)
class Control:
    """One of CONTROLS; a ``Coder`` without a rate."""

    codec: str
    kbps: None = None

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> RoundTrip:
        """Each channel of (channels, time) made of its levels alone; same shape and rate."""
        original = torch.from_numpy(audio.resample(waveform, sample_rate, MEASURING_RATE))
        samples = original.shape[1]
        carriers = [CONTROLS[self.codec](samples, seed) for seed in range(len(original))]
        control = brought_to_levels(torch.stack(carriers), original).numpy()
        control = audio.resample(control, MEASURING_RATE, sample_rate)[:, : waveform.shape[1]]
        return RoundTrip(control, 0, 0.0, 0.0)


def brought_to_levels(carrier: Tensor, original: Tensor) -> Tensor:
    """``carrier`` with the power of ``original`` in each of BANDS, every PERIOD samples.

    Shape: two of (rows, time) at 44.1 kHz -> (rows, time)
    """
    taper = torch.hann_window(WINDOW)
    wanted = _band_powers(_spectra(original, taper))
    for _ in range(ROUNDS):
        spectra = _spectra(carrier, taper)
        gain = ((wanted + 1e-9) / (_band_powers(spectra) + 1e-9)).sqrt()
        gain = gain[:, _bands()].repeat_interleave(PERIOD // HOP, dim=2)
        spectra = spectra * gain[..., : spectra.shape[2]]
        carrier = torch.istft(spectra, WINDOW, HOP, window=taper, length=carrier.shape[1])
    return carrier


def _spectra(waveform: Tensor, taper: Tensor) -> Tensor:
    return torch.stft(waveform, WINDOW, HOP, window=taper, pad_mode="constant", return_complex=True)


def _bands() -> Tensor:
    """The band of each bin: BANDS that are equally wide in ERB (Glasberg and Moore 1990, eq. 4)."""
    hz = torch.linspace(0, MEASURING_RATE / 2, WINDOW // 2 + 1)
    erbs = 21.4 * (0.00437 * hz + 1).log10()
    return (erbs / erbs[-1] * BANDS).long().clamp(max=BANDS - 1)


def _band_powers(spectra: Tensor) -> Tensor:
    """Complex (rows, bins, frames) -> (rows, BANDS, frames of PERIOD)"""
    power = spectra.abs().square()
    bands = power.new_zeros(len(power), BANDS, power.shape[2]).index_add_(1, _bands(), power)
    per_level = PERIOD // HOP
    padded = torch.nn.functional.pad(bands, (0, -bands.shape[2] % per_level))
    return padded.unflatten(2, (-1, per_level)).mean(dim=3)
