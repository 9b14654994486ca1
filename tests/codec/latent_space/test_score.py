"""Scores: planted outliers come first, loudness does not decide, and what it is not is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from codec_helpers import Lacuna
from untrained import untrained

from codec.api import Codec, load
from codec.errors import AudioError, LacunaError
from codec.latent_space.score import score
from codec.model import bounds
from codec.model.bounds import bounds_of_rows
from codec.network.config import FRAME

EXAMPLE = Path(__file__).parents[3] / "codec" / "examples" / "plucked.ogg"
RATE = 44100


@pytest.fixture(scope="module")
def small() -> Codec:
    return load("small")


def ordinary() -> list[np.ndarray]:
    """Seconds of a recording of an instrument."""
    waveform, rate = soundfile.read(EXAMPLE, dtype="float32", always_2d=True)
    assert rate == RATE
    return [waveform[n * RATE : (n + 1) * RATE, 0][None] for n in range(4)]


def planted() -> list[np.ndarray]:
    """Clicks, a bare sweep, and the recording's own pieces of 23 ms in disorder."""
    rng = np.random.default_rng(0)
    clicks = np.zeros((1, RATE), np.float32)
    clicks[0, rng.integers(0, RATE, 40)] = 0.9
    time = np.arange(RATE) / RATE
    sweep = np.float32(0.3 * np.sin(2 * np.pi * (100 * time + 1e4 * time**2)))[None]
    pieces = ordinary()[0][:, : 43 * 1024].reshape(43, 1024)
    return [clicks, sweep, pieces[rng.permutation(43)].reshape(1, -1)]


def test_planted_outliers_come_first(small: Codec) -> None:
    """By the latents' cost and the misfit together. Clicks and sweeps were among what the weights
    saw (codec/training/rare.py), so they come first by a quarter and not by far."""
    usual = [score(small, x).total for x in ordinary()]
    odd = [score(small, x).total for x in planted()]
    assert min(odd) > 1.25 * max(usual)


def test_quiet_is_not_unlikely(small: Codec) -> None:
    """What a density alone would say: the half amplitude is likelier by log 2 of every sample."""
    whole, half = (score(small, gain * ordinary()[1]).total for gain in (1.0, 0.5))
    assert abs(whole - half) < 0.1 * RATE * np.log(2)


def test_what_cannot_be_scored_is_told(small: Codec) -> None:
    with pytest.raises(AudioError, match="finite"):
        score(small, np.full((1, 5000), np.nan, np.float32))
    with pytest.raises(LacunaError, match=r"\(spectral\) has no likelihood of spectra"):
        bounds_of_rows(untrained("spectral"), torch.zeros(1, 1, FRAME), 1)


def test_the_command_ranks(lacuna: Lacuna, tiny_path: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, gain in (("quiet", 0.01), ("loud", 0.5)):
        soundfile.write(tmp_path / f"{name}.wav", gain * rng.standard_normal(8000), 16000)
    result = lacuna("score", tmp_path, "--model", tiny_path, "--json")
    assert result.code == 0, result.stderr
    rows = json.loads(result.stdout)["scores"]
    assert len(rows) == 2
    assert rows[0]["total"] >= rows[1]["total"]
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    result = lacuna("score", tmp_path, "--model", tiny_path)
    assert "broken.wav" in result.stderr
    assert b"outliers first" in result.stdout
    assert b"quiet.wav" in result.stdout
    alone = lacuna("score", tmp_path / "loud.wav", "--model", tiny_path)
    assert alone.code == 0
    assert len(alone.stdout.splitlines()) == 2


def test_mistakes(lacuna: Lacuna, tiny_path: Path, tmp_path: Path) -> None:
    assert "nothing.wav" in lacuna.fails("score", tmp_path / "nothing.wav", "--model", tiny_path)
    (tmp_path / "empty").mkdir()
    assert "no audio file" in lacuna.fails("score", tmp_path / "empty", "--model", tiny_path)
    assert "nobody" in lacuna.fails("score", EXAMPLE, "--model", "nobody")


def test_bounds_have_one_public_home() -> None:
    for name in ("evidence_lower_bound", "importance_weighted_bound", "bounds_of_rows"):
        assert getattr(bounds, name).__doc__
