"""What listeners would say; each test needs the package of its measure."""

from __future__ import annotations

import numpy as np
import pytest
from codec_helpers import music

from codec.evaluation.codecs import perceptual
from codec.evaluation.codecs.perceptual import Perceptual, Scores, middle

RATE = 16_000


def speech_like(seconds: float = 2.0) -> np.ndarray:
    """A buzz in syllables with two moving formants: what PESQ takes for speech."""
    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * RATE)) / RATE
    buzz = np.sign(np.sin(2 * np.pi * 120 * t)) * np.sin(
        2 * np.pi * (700 + 200 * np.sin(9 * t)) * t
    )
    syllables = np.clip(np.sin(2 * np.pi * 3 * t), 0, 1)
    return (0.3 * syllables * buzz + 1e-3 * rng.standard_normal(len(t)))[None].astype(np.float32)


def test_packages_that_are_missing_are_named_once(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> object:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(perceptual.importlib, "import_module", missing)
    measure = Perceptual(10.0)
    assert [note.split()[0] for note in measure.notes[1:]] == ["ViSQOL", "PESQ", "ESTOI"]
    assert all("lacuna-codec[evaluate]" in note for note in measure.notes[1:])
    assert measure(speech_like(), speech_like(), RATE, speech=True) == Scores()


def test_silence_has_no_scores():
    silence = np.zeros((1, RATE), np.float32)
    assert Perceptual(10.0)(silence, speech_like(1.0), RATE, speech=True) == Scores()


def test_the_middle_is_as_long_as_asked_for():
    ramp = np.arange(10.0)[None]
    np.testing.assert_array_equal(middle(ramp, 2, 2.0), [[3, 4, 5, 6]])
    np.testing.assert_array_equal(middle(ramp, 2, 60.0), ramp)


@pytest.mark.parametrize("measure", ["pesq", "estoi"])
def test_speech_measures_fall_with_noise(measure: str):
    pytest.importorskip({"pesq": "pesq", "estoi": "pystoi"}[measure])
    clean = speech_like()
    noise = np.random.default_rng(1).standard_normal(clean.shape).astype(np.float32)
    judge = Perceptual(10.0)
    judge._visqol = {}  # takes longest, and has a test of its own
    scores = [
        getattr(judge(clean + gain * noise, clean, RATE, speech=True), measure)
        for gain in (0.0, 0.01, 0.3)
    ]
    assert scores[0] > scores[1] > scores[2]


def test_visqol_falls_with_noise_and_is_none_for_too_short_a_clip():
    pytest.importorskip("visqol")
    clean = music(1.2, RATE, 1)
    noise = np.random.default_rng(1).standard_normal(clean.shape).astype(np.float32)
    judge = Perceptual(10.0)
    same = judge(clean, clean, RATE, speech=False)
    worse = judge(clean + 0.1 * noise, clean, RATE, speech=False)
    assert same.visqol is not None
    assert same.visqol > 4.5
    assert worse.visqol is not None
    assert worse.visqol < same.visqol
    assert same.pesq is None  # for speech only
    assert judge(clean[:, :3000], clean[:, :3000], RATE, speech=False).visqol is None
