"""Does noise sound like noise? Regularities that decoders without a source of noise put into it.

None of these says how near a decoded sound is to its original: white noise has a perfect texture.
They are diagnostics, and what counts is the distance to the original's own value, clip by clip.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from codec.metrics.spectra import (
    MEASURING_RATE,
    OCTAVES,
    bins_between,
    check_pair,
    decibels,
    magnitudes,
    spectrum,
)

FLOOR = 1e-5
"""Magnitude that is added before logarithms and ratios: some -120 dBFS."""
FRAME_RATE = MEASURING_RATE / 512
"""Hz: of the frames of an STFT with a hop of 512, at which a decoder can be heard to tick."""
COMB_LAGS = (1024, 2048, 8192)
"""Samples: frames of latents at 43, 21.5 and 5.4 Hz."""
COMB_ABOVE = 1000.0  # Hz
MODULATION_BANDS = tuple((2.0 * 2**n, 4.0 * 2**n) for n in range(6))
"""Hz: from 2 to 128, an octave each."""
MODULATION_FLOOR_DB = -60.0


def buzz(signal: Tensor) -> float:
    """Share of the 4 to 15 kHz envelope's modulation within 20 Hz of 86.13 Hz that lies at it.

    0.075 if all modulation frequencies are alike; 1 for an envelope that ticks at the frame rate.

    nan where nothing is to be heard.

    Shape: (time,) at 44.1 kHz, a second or more
    """
    bands = magnitudes(signal[None], 256, 64)[0, bins_between(4000, 15000, 256)]
    envelope = (bands + FLOOR).mean(dim=0)
    if envelope.max() < 2 * FLOOR:
        return math.nan
    envelope = (envelope - envelope.mean()) * torch.hann_window(len(envelope))
    power = torch.fft.rfft(envelope).abs().square()
    frequencies = torch.arange(len(power)) * (MEASURING_RATE / 64 / len(envelope))
    distance = (frequencies - FRAME_RATE).abs()
    return float(power[distance < 1.5].sum() / power[distance < 20.0].sum())


def flux(signal: Tensor) -> float:
    """Mean absolute change of the log spectrum from frame to frame, 0.5 to 15 kHz, in dB.

    White noise has 4.9; a texture that stands still has little.

    Shape: (time,) at 44.1 kHz, above 1024
    """
    bands = magnitudes(signal[None], 2048, 512)[0, bins_between(500, 15000, 2048)]
    return float(20 * (bands + FLOOR).log10().diff(dim=1).abs().mean())


def comb(signal: Tensor) -> dict[int, float]:
    """Correlation of what is above 1 kHz with itself COMB_LAGS later, -1 to 1.

    0 for white noise and for rain, 1 for a pattern that is repeated. For recordings of noise: a
    sustained note repeats itself rightly.

    Shape: (time,) at 44.1 kHz, longer than the longest lag
    """
    bins = torch.fft.rfft(signal.double())
    bins[: math.ceil(COMB_ABOVE / MEASURING_RATE * len(signal))] = 0
    high = torch.fft.irfft(bins, len(signal))
    values = {}
    for lag in COMB_LAGS:
        early, late = high[:-lag], high[lag:]
        energy = (early.square().sum() * late.square().sum()).sqrt()
        values[lag] = float((early * late).sum() / energy) if energy > 0 else math.nan
    return values


def modulation(signal: Tensor) -> Tensor:
    """How much the envelope of each octave moves at which speed, in dB of its mean power.

    Octaves from 62.5 Hz to 16 kHz by octaves of modulation from 2 to 128 Hz, as in the modulation
    spectra of Steeneken and Houtgast 1980.

    Shape: (time,) at 44.1 kHz, a second or more -> (len(OCTAVES), len(MODULATION_BANDS))
    """
    power = magnitudes(signal[None], 1024, 128)[0].square()
    envelopes = torch.stack([power[bins_between(*band, 1024)].sum(dim=0) for band in OCTAVES])
    envelopes = envelopes.sqrt()
    taper = torch.hann_window(envelopes.shape[1])
    means = envelopes.mean(dim=1, keepdim=True).clamp(min=1e-6)
    spectra = torch.fft.rfft((envelopes / means - 1) * taper).abs().square() / taper.sum() ** 2
    step = MEASURING_RATE / 128 / envelopes.shape[1]
    return torch.stack(
        [
            decibels(
                spectra[:, round(low / step) : round(high / step)].sum(dim=1),
                10 ** (MODULATION_FLOOR_DB / 10),
            )
            for low, high in MODULATION_BANDS
        ],
        dim=1,
    )


def modulation_distance(decoded: Tensor, original: Tensor) -> list[float]:
    """Mean absolute difference of the modulation spectra in each of OCTAVES, in dB.

    None of an octave says anything that the original leaves below -70 dBFS: nan there.

    Shape: two of (time,)
    """
    check_pair(decoded, original)
    distances = (modulation(decoded) - modulation(original)).abs().mean(dim=1)
    power = spectrum(original).abs().square()
    size = len(original)
    audible = [float(power[bins_between(*band, size)].sum()) > 1e-7 for band in OCTAVES]
    return [float(d) if there else math.nan for d, there in zip(distances, audible, strict=True)]
