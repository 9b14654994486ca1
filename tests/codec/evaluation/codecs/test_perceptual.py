"""What listeners would say; each test needs the package of its measure."""

from __future__ import annotations

import numpy as np
import pytest
from codec_helpers import music

from codec.evaluation.codecs import perceptual
from codec.evaluation.codecs.perceptual import PACKAGES, Perceptual, middle

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
    judge = Perceptual()
    assert [note.split()[0] for note in judge.notes] == list(PACKAGES.values())
    assert all(".[evaluate]" in note for note in judge.notes)
    assert judge(speech_like(), speech_like(), RATE, speech=True) == {}


def test_silence_has_no_scores():
    silence = np.zeros((1, RATE), np.float32)
    assert Perceptual()(silence, speech_like(1.0), RATE, speech=True) == {}


def test_the_middle_is_as_long_as_asked_for():
    ramp = np.arange(10.0)[None]
    np.testing.assert_array_equal(middle(ramp, 2, 2.0), [[3, 4, 5, 6]])
    np.testing.assert_array_equal(middle(ramp, 2, 60.0), ramp)


@pytest.fixture(scope="module")
def scores() -> list[dict[str, float]]:
    """Scores of speech with no, little and much noise, by all measures but the slow one."""
    judge = Perceptual()
    judge._modules["visqol"] = None
    clean = speech_like()
    noise = np.random.default_rng(1).standard_normal(clean.shape).astype(np.float32)
    return [judge(clean + gain * noise, clean, RATE, speech=True) for gain in (0.0, 0.01, 0.3)]


@pytest.mark.parametrize("measure", ["zimtohrli", "pesq", "estoi", "dnsmos"])
def test_scores_fall_with_noise(scores: list[dict[str, float]], measure: str):
    values = [score[measure] for score in scores]
    assert values[0] > values[1] > values[2] or (measure == "dnsmos" and values[0] > values[2])


def test_identical_sounds_have_the_best_scores(scores: list[dict[str, float]]):
    assert scores[0]["zimtohrli"] == pytest.approx(5.0)
    assert scores[0]["pesq"] == pytest.approx(4.64, abs=0.01)
    assert scores[0]["estoi"] == pytest.approx(1.0)
    assert 1 <= scores[0]["dnsmos"] <= 5


def test_dnsmos_is_that_of_speechmos():
    pytest.importorskip("librosa")  # speechmos needs it and does not say so
    dnsmos = pytest.importorskip("speechmos.dnsmos")
    sound = speech_like(10.5)[0]
    expected = dnsmos.run(sound, RATE)["ovrl_mos"]
    assert Perceptual()._dnsmos_score(sound) == pytest.approx(float(expected), abs=1e-4)


def test_visqol_falls_with_noise_and_is_left_out_for_too_short_a_clip():
    pytest.importorskip("visqol")
    clean = music(1.2, RATE, 1)
    noise = np.random.default_rng(1).standard_normal(clean.shape).astype(np.float32)
    judge = Perceptual()
    same = judge(clean, clean, RATE, speech=False)
    worse = judge(clean + 0.1 * noise, clean, RATE, speech=False)
    assert same["visqol"] > 4.5
    assert worse["visqol"] < same["visqol"]
    assert "pesq" not in same  # for speech only
    for speech in (True, False):
        assert "visqol" not in judge(clean[:, :4000], clean[:, :4000], RATE, speech)
