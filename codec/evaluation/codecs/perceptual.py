"""Measures that predict what listeners would say: ViSQOL, and for speech PESQ and ESTOI.

All three look at the mono mix of a stretch from the middle of a recording: ViSQOL takes
1.2 s of one core for 10 s (20 to 50 s without numba), and PESQ was made for about ten seconds.

ViSQOL (Chinen et al. 2020) is the package visqol-python: audio mode at 48 kHz, and for speech
speech mode at 16 kHz with the polynomial mapping of that paper. The small network that Google's
program has used for speech since scores lower. On two clips, network and polynomial: 1.0 and 2.4
to 2.8 for Lacuna at 2 kbps, 1.1 to 2.3 and 3.2 to 3.9 for Opus at 6, 3.2 to 4.1 and 4.2 to 4.8 for
Opus at 12. At its floor of 1 it tells nothing apart, and it needs one more package.
"""

from __future__ import annotations

import importlib
import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from codec import audio

SPEECH_RATE, AUDIO_RATE = 16_000, 48_000  # Hz
SILENT_PEAK = 1e-3
"""-60 dB: there is nothing to hear, and the measures divide by the level."""


@dataclass(frozen=True)
class Scores:
    """None where a measure is for speech only, its package is missing, or it cannot judge."""

    visqol: float | None = None
    """1 (bad) to 5 (excellent); identical signals reach about 4.7 in audio mode."""
    pesq: float | None = None
    """PESQ-WB (ITU-T P.862.2), 1.04 to 4.64."""
    estoi: float | None = None
    """Extended short-time objective intelligibility (Jensen and Taal 2016), up to 1."""


class Perceptual:
    """Measures with the packages that are installed; ``notes`` tell how, and which are not."""

    def __init__(self, seconds: float) -> None:
        """``seconds`` of each recording are judged."""
        self.seconds = seconds
        self.notes = [
            f"ViSQOL, PESQ-WB and ESTOI judge the mono mix of {seconds:g} s in the middle of each "
            f"file: ViSQOL in audio mode at 48 kHz; for the class 'speech', which alone has the "
            f"other two, in speech mode at 16 kHz with the polynomial mapping, "
            f"which scores speech 0.5 to 3 points above the network that Google's program has now."
        ]
        os.environ.setdefault("NUMBA_NUM_THREADS", str(torch.get_num_threads()))  # ViSQOL's
        visqol = self._package("visqol", "visqol-python", "ViSQOL")
        self._visqol: dict[bool, Any] = {}
        if visqol:
            for speech in (False, True):
                self._visqol[speech] = visqol.VisqolApi()
                mode = "speech" if speech else "audio"
                self._visqol[speech].create(mode=mode, use_lattice_model=False)
        self._pesq = self._package("pesq", "pesq", "PESQ")
        self._pystoi = self._package("pystoi", "pystoi", "ESTOI")

    def _package(self, module: str, package: str, measure: str) -> Any:
        try:
            return importlib.import_module(module)
        except ImportError:
            self.notes.append(
                f"{measure} is left out: the package {package} is not installed; "
                f"pip install 'lacuna-codec[evaluate]'"
            )
            return None

    def __call__(
        self, decoded: np.ndarray, original: np.ndarray, sample_rate: int, speech: bool
    ) -> Scores:
        """Judge (channels, time) by (channels, time), both at ``sample_rate`` in Hz."""
        pair = [middle(x, sample_rate, self.seconds).mean(axis=0) for x in (decoded, original)]
        if min(np.abs(x).max() for x in pair) < SILENT_PEAK:
            return Scores()
        rate = SPEECH_RATE if speech else AUDIO_RATE
        x, y = (audio.resample(mix, sample_rate, rate) for mix in pair)
        visqol = self._visqol_score(x, y, speech)
        if not speech:
            return Scores(visqol)
        return Scores(visqol, self._pesq_score(x, y), self._estoi_score(x, y))

    def _visqol_score(
        self, decoded: np.ndarray, original: np.ndarray, speech: bool
    ) -> float | None:
        if not self._visqol:
            return None
        signals = original.astype(np.float64), decoded.astype(np.float64)
        rate = SPEECH_RATE if speech else AUDIO_RATE
        try:
            score = self._visqol[speech].measure_from_arrays(*signals, rate).moslqo
        except ValueError:  # shorter than a patch of about a second
            return None
        return float(score) if np.isfinite(score) else None

    def _pesq_score(self, decoded: np.ndarray, original: np.ndarray) -> float | None:
        if self._pesq is None:
            return None
        values = self._pesq.PesqError.RETURN_VALUES
        score = self._pesq.pesq(SPEECH_RATE, original, decoded, "wb", on_error=values)
        return float(score) if score >= 1 else None  # below: too short, or no speech found

    def _estoi_score(self, decoded: np.ndarray, original: np.ndarray) -> float | None:
        if self._pystoi is None:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                return float(self._pystoi.stoi(original, decoded, SPEECH_RATE, extended=True))
            except RuntimeWarning:  # too little that is not silent
                return None


def middle(waveform: np.ndarray, sample_rate: int, seconds: float) -> np.ndarray:
    """The middle of (channels, time), or all of it if that is shorter."""
    size = min(waveform.shape[1], round(seconds * sample_rate))
    start = (waveform.shape[1] - size) // 2
    return waveform[:, start : start + size]
