"""The configs that ship, and what is said about bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from codec.errors import ConfigError
from codec.metrics.mel import MEL_WINDOWS
from codec.network.autoencoder import Autoencoder
from codec.network.config import load_model_config
from codec.settings import config_dir, read_toml
from codec.training.config import load_training_config

NAMES = sorted(
    path.stem
    for path in config_dir().glob("*.toml")
    if not path.stem.startswith("diffusion_")  # tests/diffusion has those
)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_config_builds(name: str) -> None:
    config = load_model_config(name)
    training = load_training_config(name)
    assert config.name == name
    with torch.device("meta"):
        model = Autoencoder(config)
    assert sum(p.numel() for p in model.parameters()) > 1000
    shortest_crop = training.data.crop_seconds * config.sample_rate - config.hop_length
    assert shortest_crop > max(training.loss.stft_windows) // 2


def test_all_configs_are_there() -> None:
    assert {"rave", "small", "small_64x", "stable_audio", "tiny"} <= set(NAMES)


@pytest.mark.parametrize(
    ("name", "compression"),
    [("small", 32), ("small_64x", 64), ("stable_audio", 64), ("rave", 64)],
)
def test_compression(name: str, compression: float) -> None:
    assert load_model_config(name).compression == compression


def test_small_64x_is_small_with_half_the_latents() -> None:
    small, fewer = (read_toml(name)[0]["model"] for name in ("small", "small_64x"))
    assert fewer == {**small, "name": "small_64x", "latent_dim": 32}


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    return tmp_path / "edited.toml"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("batch_size = 4", "batchsize = 4", r"'batchsize'.*known keys here:.*batch_size"),
        ("warmup_steps", "warmup", r"'optimizer\.warmup'.*learning_rate.*warmup_steps"),
        ("stft_windows", "stft_window", r"'loss\.stft_window'.*mel_windows.*stft_windows"),
        ("steps = 12", "steps = 0", r"'steps' = 0.*greater than 0"),
        ("steps = 12", "seed = -1", r"'seed' = -1"),
        ("mel_windows = [256, 64]", "mel_windows = [100]", r"mel_windows \[100\].*2048"),
        ("stft_windows = [256, 64]", "stft_windows = []", r"'loss\.stft_windows'"),
        ("crop_seconds = 0.1", "gain_db = [3, -9]", r"'data\.gain_db'.*lower bound first"),
        ("warmup_steps = 4", "betas = [0.9, 1.0]", r"'optimizer\.betas\.1' = 1\.0"),
        (
            "[training.data]",
            "[training.adversarial]\nperiod = [2]\n[training.data]",
            r"'adversarial\.period'.*feature_matching.*periods, ramp_steps",
        ),
    ],
)
def test_bad_training_values(old: str, new: str, message: str, edited: Path) -> None:
    text = (config_dir() / "tiny.toml").read_text()
    assert old in text
    edited.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        load_training_config(str(edited))


def test_unknown_model_key_lists_those_of_its_table(edited: Path) -> None:
    text = (config_dir() / "tiny.toml").read_text()
    edited.write_text(text.replace("stft_hop", "stft_hopp"))
    with pytest.raises(ConfigError, match=r"stft_hopp.*known keys here:.*phase_bins, stft_hop"):
        load_model_config(str(edited))


def test_not_toml(edited: Path) -> None:
    edited.write_text("[model")
    with pytest.raises(ConfigError, match=r"edited\.toml is not valid TOML"):
        load_model_config(str(edited))


def test_no_training_table(edited: Path) -> None:
    edited.write_text('[model]\nname = "a"\n')
    with pytest.raises(ConfigError, match=r"no \[training\] table"):
        load_training_config(str(edited))


def test_overrides() -> None:
    config = load_training_config("tiny", steps=7, seed=None)
    assert (config.steps, config.seed, config.batch_size) == (7, 0, 4)
    assert set(config.loss.mel_windows) <= set(MEL_WINDOWS)
    with pytest.raises(ConfigError, match="mixed_precision"):
        load_training_config("tiny", mixed_precision="int3")


def test_settings_replace_values_table_by_table() -> None:
    settings = ["training.kl.target_kbps=16", "training.loss.stft_windows=[64]"]
    settings.append("model.latent_dim=3")
    config, before = (load_training_config("tiny", s) for s in (settings, ()))
    assert config.kl.target_kbps == 16
    assert config.loss.stft_windows == (64,)
    assert config.loss.mel_windows == before.loss.mel_windows
    assert load_model_config("tiny", settings).latent_dim == 3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.kl.target_kbps", r"--set 'training\.kl\.target_kbps' is not a line of TOML"),
        ("training.mixed_precision=bf16", r"not a line of TOML .*expected something like"),
        ("training.kl.kbps=3", r"'kl\.kbps'.*target_kbps"),
        ("training.steps=0", "'steps' = 0"),
    ],
)
def test_bad_settings(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_training_config("tiny", [setting])
