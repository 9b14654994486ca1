"""Measures that predict what listeners would say, from packages that are kept well by others.

All of them judge a mono mix. Zimtohrli (Alakuijala et al., Google 2024) and ViSQOL (Chinen et al.
2020) compare with the original at 48 kHz; for speech, at 16 kHz, PESQ-WB (ITU-T P.862.2) and ESTOI
(Jensen and Taal 2016) do too, and DNSMOS (Reddy et al. 2022) looks at the decoded sound alone.

ViSQOL is the package visqol-python: audio mode, and for speech speech mode at 16 kHz with the
polynomial mapping of that paper. The small network that Google's program has used for speech since
lies at its floor of 1 for most codecs of few kbps, where it tells nothing apart.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codec import audio
from codec.errors import install_hint

SPEECH_RATE, AUDIO_RATE = 16_000, 48_000  # Hz
SILENT_PEAK = 1e-3
"""-60 dB: there is nothing to hear, and the measures divide by the level."""
DNSMOS_SECONDS = 9.01
"""What its network takes at once; shorter sounds are repeated."""

PACKAGES = {
    "zimtohrli": "Zimtohrli",
    "visqol": "ViSQOL",
    "pesq": "PESQ-WB",
    "pystoi": "ESTOI",
    "onnxruntime": "DNSMOS",
}
"""Module and the measure that needs it."""


class Perceptual:
    """Measures with the packages that are installed; ``notes`` name those that are not."""

    def __init__(self) -> None:
        os.environ.setdefault("NUMBA_NUM_THREADS", str(torch.get_num_threads()))  # ViSQOL's
        self._modules = {name: self._import(name) for name in PACKAGES}
        self._visqol: dict[bool, Any] = {}
        self._dnsmos: Any = None
        if self._modules["onnxruntime"] and importlib.util.find_spec("speechmos") is None:
            self._modules["onnxruntime"] = None
        self.notes = [
            f"{measure} is left out: its package is not installed; {install_hint('evaluate')}"
            for name, measure in PACKAGES.items()
            if self._modules[name] is None
        ]

    @staticmethod
    def _import(name: str) -> Any:
        try:
            return importlib.import_module(name)
        except ImportError:
            return None

    def __call__(
        self, decoded: np.ndarray, original: np.ndarray, sample_rate: int, speech: bool
    ) -> dict[str, float]:
        """Judge (channels, time) by (channels, time), both at ``sample_rate`` in Hz.

        Measures whose package is missing, or that cannot judge this sound, are left out.
        """
        pair = [sound.mean(axis=0, dtype=np.float32) for sound in (decoded, original)]
        if min(np.abs(x).max() for x in pair) < SILENT_PEAK:
            return {}
        decoded_mix, original_mix = (audio.resample(mix, sample_rate, AUDIO_RATE) for mix in pair)
        scores = {"zimtohrli": self._zimtohrli_score(decoded_mix, original_mix)}
        if speech:
            x, y = (audio.resample(mix, sample_rate, SPEECH_RATE) for mix in pair)
            scores["pesq"] = self._pesq_score(x, y)
            scores["estoi"] = self._estoi_score(x, y)
            scores["dnsmos"] = self._dnsmos_score(x)
            scores["visqol"] = self._visqol_score(x, y, speech)
        else:
            scores["visqol"] = self._visqol_score(decoded_mix, original_mix, speech=False)
        return {name: score for name, score in scores.items() if score is not None}

    def _zimtohrli_score(self, decoded: np.ndarray, original: np.ndarray) -> float | None:
        if self._modules["zimtohrli"] is None:
            return None
        return float(self._modules["zimtohrli"].mos_from_signals(original, decoded))

    def _visqol_score(
        self, decoded: np.ndarray, original: np.ndarray, speech: bool
    ) -> float | None:
        if self._modules["visqol"] is None:
            return None
        if speech not in self._visqol:
            self._visqol[speech] = self._modules["visqol"].VisqolApi()
            mode = "speech" if speech else "audio"
            self._visqol[speech].create(mode=mode, use_lattice_model=False)
        signals = original.astype(np.float64), decoded.astype(np.float64)
        rate = SPEECH_RATE if speech else AUDIO_RATE
        try:
            score = self._visqol[speech].measure_from_arrays(*signals, rate).moslqo
        except (ValueError, IndexError):  # shorter than a patch of about a second
            return None
        return float(score) if np.isfinite(score) else None

    def _pesq_score(self, decoded: np.ndarray, original: np.ndarray) -> float | None:
        pesq = self._modules["pesq"]
        if pesq is None:
            return None
        values = pesq.PesqError.RETURN_VALUES
        score = pesq.pesq(SPEECH_RATE, original, decoded, "wb", on_error=values)
        return float(score) if score >= 1 else None  # below: too short, or no speech found

    def _estoi_score(self, decoded: np.ndarray, original: np.ndarray) -> float | None:
        if self._modules["pystoi"] is None:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                return float(
                    self._modules["pystoi"].stoi(original, decoded, SPEECH_RATE, extended=True)
                )
            except RuntimeWarning:  # too little that is not silent
                return None

    def _dnsmos_score(self, decoded: np.ndarray) -> float | None:
        """The overall score of DNSMOS P.835, as speechmos.dnsmos has it.

        The network is taken from that package and run here: its own code needs librosa.
        """
        runtime = self._modules["onnxruntime"]
        if runtime is None:
            return None
        if self._dnsmos is None:
            options = runtime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            self._dnsmos = runtime.InferenceSession(str(_dnsmos_network()), options)
        size = int(DNSMOS_SECONDS * SPEECH_RATE)
        sound = decoded.clip(-1, 1).astype(np.float32)
        while len(sound) < size:
            sound = np.concatenate([sound, sound])
        scores = []
        for first in range(0, len(sound) - size + 1, SPEECH_RATE):
            raw = self._dnsmos.run(None, {"input_1": sound[None, first : first + size]})[0][0, 2]
            scores.append(np.polyval([-0.06766283, 1.11546468, 0.04602535], float(raw)))
        return float(np.mean(scores))


def _dnsmos_network() -> Path:
    spec = importlib.util.find_spec("speechmos")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "dnsmos_models" / "sig_bak_ovr.onnx"


def middle(waveform: np.ndarray, sample_rate: int, seconds: float) -> np.ndarray:
    """The middle of (channels, time), or all of it if that is shorter."""
    size = round(min(waveform.shape[1], seconds * sample_rate))
    start = (waveform.shape[1] - size) // 2
    return waveform[:, start : start + size]
