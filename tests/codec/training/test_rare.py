"""What recordings seldom hold: made by seed and index, finite, and as it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from codec.batch.folders import find_audio
from codec.network.config import load_model_config
from codec.training.config import DataConfig
from codec.training.data import AudioSource, open_source
from codec.training.rare import beeps, clicks, cut_hard, make_rare, noise, sweep, tones

RATE = 44100
TIME = RATE // 2


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", [tones, sweep, beeps, noise, clicks])
def test_sounds_are_within_full_scale_and_not_silent(kind) -> None:
    for seed in range(20):
        sound = kind(TIME, RATE, rng(seed))
        assert sound.shape == (TIME,)
        assert np.isfinite(sound).all()
        assert 1e-3 < np.abs(sound).max() < 2


def test_a_cut_leaves_the_rest_as_it_is() -> None:
    """All four kinds of cuts occur, and what is not silent is the sound itself."""
    sound = np.arange(1, 1001, dtype=np.float32)
    seen = set()
    for seed in range(60):
        cut = cut_hard(sound, rng(seed))
        assert cut.dtype == np.float32
        assert ((cut == sound) | (cut == 0)).all()
        seen.add((bool(cut[0]), bool(cut[-1]), bool(cut.any())))
    assert {(False, True, True), (True, False, True), (True, True, True)} <= seen
    assert (False, False, True) in seen


def test_some_are_cut_recordings_and_some_synthetic() -> None:
    recording = rng(5).standard_normal((2, TIME)).astype(np.float32)
    made = [make_rare(recording, RATE, rng(seed)) for seed in range(40)]
    of_recording = [((x == recording) | (x == 0)).all() for x in made]
    assert 15 < sum(of_recording) < 40


def opened(folder: Path, share: float) -> AudioSource:
    config = DataConfig(crop_seconds=0.2, gain_db=(0.0, 0.0), rare_share=share)
    model = load_model_config("tiny")
    return open_source(find_audio(folder), model, config, seed=3, device=torch.device("cpu"))


def test_a_share_of_crops_is_changed_the_same_ones_in_every_batch(audio_folder: Path) -> None:
    plain, rare = (opened(audio_folder, share) for share in (0.0, 0.3))
    indices = range(200)
    one, other = plain.batch(indices).waveform, rare.batch(indices).waveform
    changed = (one != other).flatten(1).any(1)
    assert 0.15 < changed.float().mean() < 0.45
    assert torch.equal(rare.batch([7, 150]).waveform, other[[7, 150]])
    assert torch.equal(rare.without_rare().batch(indices).waveform, one)
