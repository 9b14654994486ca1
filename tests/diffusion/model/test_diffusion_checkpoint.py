"""Checkpoints of the diffusion stage: what is kept and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from codec.errors import CheckpointError
from codec.model.shipped import find_checkpoint as find_codec
from diffusion.model import checkpoint
from diffusion.model.checkpoint import DiffusionCheckpoint
from diffusion.model.conditioning import Conditioning
from diffusion.model.profile import LabelProfile
from diffusion.model.shipped import DEFAULT_MODEL, find_checkpoint
from diffusion.model.transformer import Transformer

LABELS = ("bell", "piano", "goutte d'eau, été")


@pytest.fixture
def made(tiny_transformer: Transformer) -> DiffusionCheckpoint:
    return DiffusionCheckpoint(
        config=tiny_transformer.config,
        transformer=tiny_transformer,
        labels=LABELS,
        latent_id="0123456789abcdef",
        codec="tiny",
        frame_rate=44100 / 1024,
        profiles={"bell": LabelProfile(1, 0.5, 1.2)},
        provenance={"steps": 7},
    )


@pytest.fixture
def saved(made: DiffusionCheckpoint, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    checkpoint.save(made, path)
    return path


def test_all_comes_back(
    made: DiffusionCheckpoint, saved: Path, tmp_path: Path, tiny_conditioning: Conditioning
):
    random_state = torch.get_rng_state()
    loaded = checkpoint.load(saved)
    assert torch.equal(torch.get_rng_state(), random_state)  # loading draws no numbers
    for name in ("config", "labels", "latent_id", "codec", "frame_rate", "profiles", "provenance"):
        assert getattr(loaded, name) == getattr(made, name), name
    assert not loaded.transformer.training
    assert {p.dtype for p in loaded.transformer.parameters()} == {torch.float32}
    x_t, t = torch.randn_like(tiny_conditioning.known), torch.rand(3)
    y = made.transformer(x_t, t, tiny_conditioning)
    rounded = loaded.transformer(x_t, t, tiny_conditioning)
    assert (rounded - y).std() < 0.01 * y.std()

    checkpoint.save(loaded, tmp_path / "again.safetensors")
    again = checkpoint.load(tmp_path / "again.safetensors").transformer.state_dict()
    for key, value in loaded.transformer.state_dict().items():
        assert torch.equal(again[key], value), key


def test_weights_are_stored_as_float16(saved: Path):
    with safe_open(saved, framework="pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_a_diverged_network_is_not_saved(made: DiffusionCheckpoint, tmp_path: Path, value: float):
    with torch.no_grad():
        made.transformer.head.bias[0] = value
    with pytest.raises(CheckpointError, match=r"'head\.bias'.*diverged"):
        checkpoint.save(made, tmp_path / "nan.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.999])
def test_a_cut_file_is_refused(saved: Path, keep: float):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(CheckpointError, match="not a safetensors file, or is damaged"):
        checkpoint.load(saved)


def test_a_codecs_checkpoint_is_refused():
    with pytest.raises(CheckpointError, match="is a checkpoint of the codec, expected one of a"):
        checkpoint.load(find_codec("small"))


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        checkpoint.load(tmp_path / "nonesuch.safetensors")


Change = Callable[[dict[str, Any], dict[str, Any]], Any]


def _config(**values: Any) -> Change:
    def change(tensors: dict[str, Any], metadata: dict[str, Any]) -> None:
        metadata["config"] = json.dumps({**json.loads(metadata["config"]), **values})

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: m.clear(), "its format is 'not given', expected 'lacuna-diffusion-2'"),
        (lambda t, m: m.update(format="other"), "its format is 'other'"),
        (lambda t, m: m.update(format="lacuna-diffusion-1"), "of another version of lacuna"),
        (lambda t, m: m.pop("latent_id"), "latent_id"),
        (lambda t, m: m.update(config="{"), "damaged or of another version"),
        (lambda t, m: m.update(config="[1]"), "damaged or of another version"),
        (lambda t, m: m.update(labels='["bell"]'), "size mismatch"),
        (lambda t, m: m.update(labels='"abc"'), "its labels"),
        (lambda t, m: m.update(frame_rate="-1.0"), "its frame_rate"),
        (lambda t, m: m.update(profiles='{"bell": {"slow": 9}}'), "a slow of 9"),
        (_config(colour="red"), "unknown key 'colour'; known keys here: coded_channels"),
        (_config(latent_dim=5), "size mismatch"),
        (lambda t, m: t["head.bias"][:1].fill_(float("nan")), r"not finite.*'head\.bias'"),
        (lambda t, m: t.pop("head.bias"), r"head\.bias"),
        (lambda t, m: t.update(extra=torch.zeros(1)), "extra"),
    ],
)
def test_tampered_checkpoints_are_refused(saved: Path, change: Change, message: str):
    with safe_open(saved, framework="pt") as file:
        metadata = dict(file.metadata())
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    change(tensors, metadata)
    path = saved.with_name("changed.safetensors")
    save_file(tensors, path, metadata)
    with pytest.raises(CheckpointError, match=message) as error:
        checkpoint.load(path)
    assert "changed.safetensors" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_by_path_and_by_name(saved: Path):
    assert find_checkpoint(saved) == saved
    with pytest.raises(CheckpointError, match=r"no diffusion model 'nonesuch'.*shipped name"):
        find_checkpoint("nonesuch")
    assert DEFAULT_MODEL == "small"
