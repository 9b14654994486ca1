"""Levels and waveforms octave by octave: where a codec is too soft, and where it keeps the wave."""

from __future__ import annotations

import math

from torch import Tensor

from codec.metrics.spectra import OCTAVES, bins_between, check_pair, decibels, spectrum

FLOOR = 1e-8
"""Mean power, -80 dBFS: what is less is silence."""


def level_error(decoded: Tensor, original: Tensor) -> list[float]:
    """Long-term level of decoded over original in each of OCTAVES, in dB, signed.

    Levels below -80 dBFS count as that. Means over rows.

    Shape: two of (rows, time) at 44.1 kHz
    """
    check_pair(decoded, original)
    levels = [
        [decibels(part.abs().square().sum(dim=1), FLOOR) for part in _split(signal)]
        for signal in (decoded, original)
    ]
    return [float((x - y).mean()) for x, y in zip(*levels, strict=True)]


def si_sdr_per_octave(decoded: Tensor, original: Tensor) -> list[float]:
    """Scale-invariant signal-to-distortion ratio in each of OCTAVES, in dB, within 60 either way.

    Le Roux et al. 2019, eq. 4, of the signals' parts between the octave's edges. Means over the
    rows in which the original has the octave at all; nan where none has.

    Shape: two of (rows, time) at 44.1 kHz
    """
    check_pair(decoded, original)
    ratios = []
    for x, y in zip(_split(decoded), _split(original), strict=True):
        energy = y.abs().square().sum(dim=1)
        there = energy > FLOOR
        x, y, energy = x[there], y[there], energy[there]
        gain = (x * y.conj()).real.sum(dim=1) / energy
        target = gain.square() * energy
        distortion = (x - gain[:, None] * y).abs().square().sum(dim=1)
        ratio = (decibels(target, 1e-30) - decibels(distortion, 1e-30)).clamp(-60, 60)
        ratios.append(float(ratio.mean()) if len(ratio) else math.nan)
    return ratios


def _split(waveform: Tensor) -> list[Tensor]:
    bins = spectrum(waveform)
    return [bins[:, bins_between(*octave, waveform.shape[1])] for octave in OCTAVES]
