"""A codec whose latents are all measured: levels of bands, and the lowest MDCT coefficients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import codec
from codec.errors import CheckpointError
from codec.model import checkpoint
from codec.network.autoencoder import Autoencoder
from codec.network.config import load_model_config
from codec.training.codec_task import MDCT_SIGMA, initial_weights
from codec.training.decoder_task import DecoderTask

SETTINGS = [
    "model.network.level_latents=10",
    "model.network.levels_per_frame=2",
    "model.network.level_knee=20",
    "model.network.waveform_bins=0",
    "model.network.mdct_latents=16",  # of 128 coefficients: up to 1 kHz
    "model.latent_dim=26",
]


@pytest.fixture
def trained(train: Callable[..., Any], tmp_path: Path) -> Path:
    state = train(tmp_path / "run", settings=SETTINGS, overrides={"steps": 3})
    assert state.step == 3
    return tmp_path / "run" / "model.safetensors"


def test_training_from_nothing_follows_the_waveform_at_once(
    trained: Path, read_log: Callable[..., Any]
) -> None:
    """Three steps teach nothing: the coefficients themselves carry the tones up to 1 kHz."""
    loaded = checkpoint.load(trained)
    sigma = loaded.statistics.sigma * loaded.statistics.std
    assert sigma[10:].numpy() == pytest.approx(MDCT_SIGMA, rel=1e-3)
    model = codec.load(trained)
    time = torch.arange(32_000) / 16_000
    sound = 0.3 * torch.sin(2 * torch.pi * 440 * time)[None] * torch.hann_window(32_000)
    decoded, rate = model.decompress(model.compress(sound, 16_000, quality=10))
    assert rate == 16_000
    assert decoded.shape == sound.shape
    assert torch.nn.functional.cosine_similarity(decoded, sound) > 0.9  # else about 0
    # A KL that nothing can lower pulls nothing, and its weight is not chased.
    weights = {line["kl_weight"] for line in read_log(trained.parent)}
    assert len(weights) == 1


def test_the_decoder_is_trained_on_alone(
    trained: Path, train: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DecoderTask, "preview", lambda *arguments: None)
    options = {"decoder_only": True, "init": str(trained), "settings": SETTINGS}
    train(tmp_path / "second", overrides={"steps": 2}, **options)
    before = checkpoint.load(trained)
    after = checkpoint.load(tmp_path / "second" / "model.safetensors")
    assert after.latent_id == before.latent_id
    old, new = (x.autoencoder.decoder.state_dict()["low_in.weight"] for x in (before, after))
    assert not torch.equal(old, new)


def test_it_starts_no_model_with_learned_latents(trained: Path) -> None:
    wider = Autoencoder(load_model_config("tiny", [*SETTINGS, "model.latent_dim=29"]))
    with pytest.raises(CheckpointError, match="latent_dim: 26 there, 29 in the config"):
        initial_weights(wider, trained)
