"""What is measured of a decoded sound, and how each number is to be read.

Three kinds. Measures of quality rank codecs, as far as the controls do not please them. Diagnostics
of texture have no better or worse: what counts is how far the decoded sound's value lies from the
original's. The rest tells where energy, waveform and image are lost, signed, band by band.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from codec import audio
from codec.evaluation.codecs.perceptual import Perceptual
from codec.metrics import octaves, stereo, texture
from codec.metrics.mel import mel_distance
from codec.metrics.spectra import MEASURING_RATE, OCTAVES
from codec.metrics.tonal import tonal

OFF = "_off"
"""Ends the name of the distance between a diagnostic's value and the original's."""


@dataclass(frozen=True)
class Measure:
    """A column of the tables."""

    label: str
    better: Literal["higher", "lower"] | None = None
    """None where neither is: see the module's text."""


QUALITY = {
    "tonal_recall": Measure("tonal recall", "higher"),
    "tonal_precision": Measure("tonal precision", "higher"),
    "zimtohrli": Measure("Zimtohrli", "higher"),
    "pesq": Measure("PESQ-WB", "higher"),
    "estoi": Measure("ESTOI", "higher"),
    "dnsmos": Measure("DNSMOS", "higher"),
    "mel_distance": Measure("mel distance", "lower"),
    "visqol": Measure("ViSQOL", "higher"),
}
TEXTURE = {
    "buzz": Measure("buzz"),
    "flux": Measure("flux (dB)"),
    **{f"comb_{lag}": Measure(f"comb {lag}") for lag in texture.COMB_LAGS},
}
MODULATION = "modulation"
"""Part of TEXTURE too, but a distance already: the mean over octaves."""
TEXTURE_DISTANCES = {
    **{name + OFF: Measure(f"{measure.label} off", "lower") for name, measure in TEXTURE.items()},
    MODULATION: Measure("modulation off (dB)", "lower"),
}
LEVELS = {f"level_{low:.0f}": Measure(f"{low:.0f} Hz") for low, _ in OCTAVES}
SI_SDR = {f"si_sdr_{low:.0f}": Measure(f"{low:.0f} Hz") for low, _ in OCTAVES}
_IMAGE_BANDS = [f"{low / 1000:g}-{high / 1000:g} kHz" for low, high in stereo.BANDS]
SIDE = {f"side_{band}": Measure(f"side/mid {band} (dB)") for band in _IMAGE_BANDS}
COHERENCE = {f"coherence_{band}": Measure(f"coherence {band}") for band in _IMAGE_BANDS}
"""SIDE and COHERENCE are changes, decoded minus original."""

ALL = {**QUALITY, **TEXTURE, **TEXTURE_DISTANCES, **LEVELS, **SI_SDR, **SIDE, **COHERENCE}


def measure(
    decoded: np.ndarray,
    original: np.ndarray,
    sample_rate: int,
    speech: bool,
    perceptual: Perceptual | None,
) -> dict[str, float]:
    """The measures of ALL that can judge this sound, of two (channels, time) of one shape.

    Mel distance, levels and SI-SDR are means over channels; tonal and texture are those of the
    first channel, perceptual measures those of the mono mix.
    """
    x, y = (
        torch.from_numpy(audio.resample(np.ascontiguousarray(sound), sample_rate, MEASURING_RATE))
        for sound in (decoded, original)
    )
    values: dict[str, float | None] = {
        "mel_distance": float(mel_distance(x, y, MEASURING_RATE).mean()),
        **dict(zip(LEVELS, octaves.level_error(x, y), strict=True)),
        **dict(zip(SI_SDR, octaves.si_sdr_per_octave(x, y), strict=True)),
        **_texture(x[0], y[0]),
    }
    partials = tonal(x[0], y[0])
    values |= {"tonal_recall": partials.recall, "tonal_precision": partials.precision}
    if len(x) == 2:
        for side, coherence, change in zip(
            SIDE, COHERENCE, stereo.stereo_change(x, y), strict=True
        ):
            if change is not None:
                values |= {side: change.side_over_mid, coherence: change.coherence}
    if perceptual is not None:
        values |= perceptual(decoded, original, sample_rate, speech)
    return {
        name: value
        for name in ALL
        if (value := values.get(name)) is not None and math.isfinite(value)
    }


def _texture(decoded: Tensor, original: Tensor) -> dict[str, float]:
    first, second = _regularities(decoded), _regularities(original)
    distances = [d for d in texture.modulation_distance(decoded, original) if not math.isnan(d)]
    return {
        **first,
        **{name + OFF: abs(first[name] - second[name]) for name in TEXTURE},
        MODULATION: sum(distances) / len(distances) if distances else math.nan,
    }


def _regularities(sound: Tensor) -> dict[str, float]:
    combs = {f"comb_{lag}": value for lag, value in texture.comb(sound).items()}
    return {"buzz": texture.buzz(sound), "flux": texture.flux(sound), **combs}
