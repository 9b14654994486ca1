"""Is the image as wide as it was? What measures of single channels and mono mixes cannot hear."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from codec.metrics.spectra import bins_between, check_pair, decibels, spectrum

BANDS = ((0.0, 1000.0), (1000.0, 4000.0), (4000.0, 16000.0))
"""Hz."""
LIMIT_DB = 60.0
SILENT = 1e-9
"""Power of both channels, -90 dBFS, below which a band has no image."""


@dataclass(frozen=True)
class Stereo:
    """The image in one band."""

    side_over_mid: float
    """Level of (L - R) / 2 over that of (L + R) / 2, in dB, within LIMIT_DB: 0 for independent
    channels, LIMIT_DB below for identical ones and above for opposite ones."""
    coherence: float
    """Correlation of the channels: 1 for identical ones, 0 independent, -1 opposite."""


def stereo(waveform: Tensor) -> list[Stereo | None]:
    """The image in each of BANDS; None for a band that is silent.

    Shape: (2, time) at 44.1 kHz
    """
    if waveform.shape[0] != 2:
        raise ValueError(f"expected (2, time), got {tuple(waveform.shape)}; mono has no image")
    left, right = spectrum(waveform)
    image: list[Stereo | None] = []
    for band in BANDS:
        bins = bins_between(*band, waveform.shape[1])
        x, y = left[bins], right[bins]
        power = x.abs().square().sum(), y.abs().square().sum()
        if float(sum(power)) < SILENT:
            image.append(None)
            continue
        mid, side = ((sign * y + x).abs().square().sum() / 4 for sign in (1, -1))
        ratio = float((decibels(side, 1e-20) - decibels(mid, 1e-20)).clamp(-LIMIT_DB, LIMIT_DB))
        product = (power[0] * power[1]).sqrt().clamp(min=1e-20)
        image.append(Stereo(ratio, float((x * y.conj()).real.sum() / product)))
    return image


def stereo_change(decoded: Tensor, original: Tensor) -> list[Stereo | None]:
    """Decoded minus original in each of BANDS, signed: a narrower image is negative dB.

    Shape: two of (2, time) at 44.1 kHz
    """
    check_pair(decoded, original)
    return [
        None
        if before is None or after is None
        else Stereo(after.side_over_mid - before.side_over_mid, after.coherence - before.coherence)
        for after, before in zip(stereo(decoded), stereo(original), strict=True)
    ]
