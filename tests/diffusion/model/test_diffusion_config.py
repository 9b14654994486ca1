"""The diffusion configs that ship, and what is said about bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from codec.errors import ConfigError
from codec.network.config import load_model_config
from codec.settings import config_dir
from diffusion.model.config import load_diffusion_config
from diffusion.model.transformer import Transformer


@pytest.mark.parametrize(
    ("name", "fewest", "most"),
    [
        ("diffusion_tiny", 1e4, 1e5),
        ("diffusion_small", 12e6, 15e6),
        ("diffusion_base", 130e6, 170e6),
    ],
)
def test_sizes(name: str, fewest: float, most: float):
    config = load_diffusion_config(name)
    assert config.name == name
    with torch.device("meta"):
        transformer = Transformer(config, labels=20)
    assert fewest < sum(p.numel() for p in transformer.parameters()) < most


def test_small_fits_its_codec_and_ships():
    config = load_diffusion_config("diffusion_small")
    codec = load_model_config("small")
    assert config.latent_dim == codec.latent_dim
    assert config.coded_channels == 2 // codec.channels
    with torch.device("meta"):
        transformer = Transformer(config, labels=100)
    assert 2 * sum(p.numel() for p in transformer.parameters()) < 30e6  # bytes as float16


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("window_frames", "window", r"unknown key 'window'.*known keys.*window_frames"),
        ("depth", "layers", r"unknown key 'transformer\.layers'.*known keys here:.*depth"),
        ("width = 32", "width = 30", r"width 30 must be a multiple of 4 \* heads \(8\)"),
        ("[model.transformer]", "[model.transformer]\ndropout = 1.0", r"'transformer\.dropout'"),
        ("[model", "[mode", r"no table or key 'mode'; a config has the tables model"),
    ],
)
def test_bad_configs_are_refused(tmp_path: Path, old: str, new: str, message: str):
    text = (config_dir() / "diffusion_tiny.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "edited.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_diffusion_config(str(path))
