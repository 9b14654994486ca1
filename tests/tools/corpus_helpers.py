"""Sounds for the tests of the corpus tool."""

from __future__ import annotations

import numpy as np

RATE = 16_000


def sound(seed: int, seconds: float, rate: int = RATE) -> np.ndarray:
    """(time,) of noise whose color changes twice a second: full band, and known again."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(max(1, round(2 * seconds))):
        spectrum = np.fft.rfft(rng.standard_normal(rate // 2))
        tilt = np.interp(np.arange(len(spectrum)), np.linspace(0, 3000, 60), rng.uniform(0, 1, 60))
        parts.append(np.fft.irfft(spectrum * (0.02 + tilt), rate // 2))
    samples = np.concatenate(parts)[: round(seconds * rate)]
    return (0.5 * samples / np.abs(samples).max()).astype(np.float32)


def narrow(samples: np.ndarray) -> np.ndarray:
    """`samples` (time,) with nothing above an eighth of the sample rate."""
    spectrum = np.fft.rfft(samples)
    spectrum[len(spectrum) // 4 :] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)
