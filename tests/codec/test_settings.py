"""Config files and --set: whatever is not known is an error that says what is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from codec.errors import ConfigError
from codec.network.config import load_model_config
from codec.settings import config_dir
from codec.training.config import load_training_config
from diffusion.model.config import load_diffusion_config
from diffusion.training.config import load_diffusion_training


def load_training_of_diffusion(name: str, settings: Sequence[str] = ()) -> object:
    return load_diffusion_training(name, settings, {})


LOADERS: list[tuple[Callable[..., object], str]] = [
    (load_model_config, "tiny"),
    (load_training_config, "tiny"),
    (load_diffusion_config, "diffusion_tiny"),
    (load_training_of_diffusion, "diffusion_tiny"),
]


@pytest.mark.parametrize(("load", "config"), LOADERS)
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("batch_size=16", r"'batch_size'.*did you mean training\.batch_size"),
        ("optimizer.learning_rate=1e-4", "'optimizer'.*did you mean training.optimizer"),
        ("latent_dim=3", r"did you mean model\.latent_dim"),
        ("trainig.steps=2", "'trainig'; a config has the tables model and training"),
        ("training=3", r"'training' is a table; expected training\.KEY"),
        ("[model]", ""),
    ],
)
def test_a_setting_outside_the_tables(load, config: str, setting: str, message: str) -> None:
    if not message:
        load(config, [setting])  # an empty table changes nothing
        return
    with pytest.raises(ConfigError, match=f"--set '{setting}'.*{message}"):
        load(config, [setting])


@pytest.mark.parametrize(
    ("load", "config", "setting"),
    [
        (load_model_config, "tiny", "model.network.nosuch=1"),
        (load_model_config, "tiny", "model.nosuch.deep=1"),
        (load_training_config, "tiny", "training.nosuch=1"),
        (load_training_config, "tiny", "training.optimizer.nosuch=1"),
        (load_diffusion_config, "diffusion_tiny", "model.transformer.nosuch=1"),
        (load_training_of_diffusion, "diffusion_tiny", "training.nosuch=1"),
    ],
)
def test_an_unknown_key_inside_a_table(load, config: str, setting: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown key '.*nosuch.*'; known keys here: \w+, "):
        load(config, [setting])


@pytest.mark.parametrize(("load", "config"), LOADERS)
def test_a_file_with_another_table(load, config: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = (config_dir() / f"{config}.toml").read_text(encoding="utf-8")
    path.write_text(text + "\n[optimizer]\nlearning_rate = 1e-4\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.toml: there is no table or key 'optimizer'"):
        load(str(path))
