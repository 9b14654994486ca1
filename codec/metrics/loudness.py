"""How loud a sound is, and the gains that make several equally loud.

ITU-R BS.1770-4, "Algorithms to measure audio programme loudness and true-peak audio level": the
power behind a filter that stands for the head and for hearing, in blocks of 400 ms, without those
that are silent or far below the rest. All channels weigh the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

BLOCK_SECONDS, BLOCKS_OVERLAP = 0.4, 4
SILENCE = -70.0
"""LUFS: blocks below it are left out."""
FAR_BELOW = 10.0
"""LU under the mean of what is left: these blocks are left out as well."""


def loudness(sound: np.ndarray, sample_rate: int) -> float | None:
    """Integrated loudness of (channels, time), in LUFS; None where there is nothing to hear."""
    samples = sound.shape[1]
    block = max(1, min(samples, round(BLOCK_SECONDS * sample_rate)))
    hop = max(1, block // BLOCKS_OVERLAP)
    size = 1 << (samples + block).bit_length()
    response = _weighting(np.fft.rfftfreq(size, 1 / sample_rate), sample_rate)
    power = np.zeros((samples - block) // hop + 1)
    for channel in sound:
        heard = np.fft.irfft(np.fft.rfft(channel, size) * response, size)[:samples]
        total = np.concatenate([[0.0], np.cumsum(heard**2)])
        power += (total[block::hop] - total[:-block:hop])[: len(power)] / block
    power = power[_lufs(power) > SILENCE]
    if len(power) == 0:
        return None
    power = power[_lufs(power) >= _lufs(power.mean()) - FAR_BELOW]
    return float(_lufs(power.mean()))


def matching_gains(levels: Sequence[float | None]) -> list[float]:
    """For each level, in LUFS, the dB, at most 0, that bring it to the lowest of them.

    What is silent, None, keeps its level, and the others do not follow it.
    """
    lowest = min((level for level in levels if level is not None), default=0.0)
    return [0.0 if level is None else lowest - level for level in levels]


def _lufs(power: np.ndarray) -> np.ndarray:
    return -0.691 + 10 * np.log10(np.maximum(power, 1e-20))


def _weighting(hertz: np.ndarray, sample_rate: int) -> np.ndarray:
    """The response of both filters of BS.1770, tables 1 and 2, at any sample rate.

    The recommendation gives coefficients for 48 kHz; these are the analog filters behind them, as
    libebur128 and others have found them, under the bilinear transform.
    """
    z = np.exp(-2j * np.pi * hertz / sample_rate)
    k = math.tan(math.pi * min(1681.974450955533, 0.49 * sample_rate) / sample_rate)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    middle = high**0.4996667741545416
    shelf = (
        (high + middle * k / q + k * k)
        + 2 * (k * k - high) * z
        + (high - middle * k / q + k * k) * z**2
    ) / ((1 + k / q + k * k) + 2 * (k * k - 1) * z + (1 - k / q + k * k) * z**2)
    k, q = math.tan(math.pi * 38.13547087602444 / sample_rate), 0.5003270373238773
    a = 1 + k / q + k * k
    high_pass = (1 - 2 * z + z**2) / (1 + 2 * (k * k - 1) / a * z + (1 - k / q + k * k) / a * z**2)
    return np.asarray(shelf * high_pass)
