"""Profiles of labels from recordings."""

from __future__ import annotations

import shutil
from pathlib import Path

import calibrate_labels as tool
import numpy as np
import pytest
from judge_labels import Heard

from codec import audio
from diffusion.model import checkpoint
from diffusion.model.shipped import find_checkpoint


def test_twice_as_many_is_as_bad_as_half_as_many() -> None:
    real, twice, half, short = (
        Heard(8, n, frames, -20.0) for n, frames in ((20, 4), (40, 4), (10, 4), (20, 2))
    )
    assert tool.error(real, real) == 0
    assert tool.error(twice, real) == pytest.approx(tool.error(half, real))
    assert tool.error(short, real) == pytest.approx(np.log(2) ** 2)
    nothing = Heard(8, 0.0, np.nan, -90.0)
    assert tool.error(nothing, real) == np.inf


def test_a_model_gets_its_profiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For a label with pitch what fits best, for rain white noise; others keep what they have."""
    for name, value in (("CLIPS", 2), ("SECONDS", 1.0), ("SLOW", (1.0, 1.3)), ("CLARITY", (0, 1))):
        monkeypatch.setattr(tool, name, value)
    rng, time = np.random.default_rng(0), np.arange(44100) / 44100
    notes = sum(np.sin(2 * np.pi * 220 * k * time) / k for k in range(1, 20))
    sounds = {"piano": 0.05 * notes * (time < 0.5), "rain": 0.05 * rng.standard_normal(44100)}
    for label, sound in sounds.items():
        (tmp_path / "real" / label).mkdir(parents=True)
        path = tmp_path / "real" / label / "a.wav"
        audio.write(path, sound[None].astype(np.float32), 44100)
    model = tmp_path / "model.safetensors"
    shutil.copy(find_checkpoint("small"), model)
    before = checkpoint.load(model)
    tool.main(model, real=tmp_path / "real", labels="piano,rain")
    after = checkpoint.load(model)
    assert after.fingerprint == before.fingerprint
    piano, rain = after.profiles["piano"], after.profiles["rain"]
    assert piano.slow in (1.0, 1.3)
    assert piano.clarity in (0, 1)
    assert (rain.slow, rain.clarity) == (1.0, 0.0)
    assert rain.coded_channels == before.profiles["rain"].coded_channels
    assert {k: v for k, v in after.profiles.items() if k not in sounds} == {
        k: v for k, v in before.profiles.items() if k not in sounds
    }
    printed = capsys.readouterr().out
    assert "| piano | 1 |" in printed
