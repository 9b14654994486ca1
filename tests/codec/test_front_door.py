"""codec.compress and codec.decompress: the model is chosen as the command line chooses it."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from codec_helpers import Lacuna, music
from tiny_checkpoint import tiny_checkpoint

import codec
from codec import api
from codec.errors import AudioError, FormatError, LacunaError
from codec.lac.reader import LacReader
from codec.model import checkpoint, shipped
from codec.model.shipped import DEFAULT_MODEL

KBPS = 4.0


@pytest.fixture(autouse=True)
def two_models(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the shipped models: the default, and one that is there for its files."""
    folder = tmp_path_factory.mktemp("shipped")
    for seed, name in enumerate((DEFAULT_MODEL, "older")):
        loaded = tiny_checkpoint(seed=seed)
        config = loaded.config.model_copy(update={"name": name})
        checkpoint.save(replace(loaded, config=config), folder / f"{name}.safetensors")
    monkeypatch.setattr(shipped, "WEIGHTS_DIR", folder)
    return folder


def made_with(blob: bytes) -> str:
    return LacReader(blob).header.model


@pytest.mark.parametrize("channels", [1, 2])
def test_it_does_what_the_commands_do(lacuna: Lacuna, tmp_path: Path, channels: int) -> None:
    sound = music(1.0, 16000, channels)
    soundfile.write(tmp_path / "in.wav", sound.T, 16000, subtype="FLOAT")
    lac, wav = tmp_path / "a.lac", tmp_path / "a.wav"
    kbps = KBPS * channels
    assert lacuna("compress", tmp_path / "in.wav", lac, "--kbps", kbps).code == 0
    assert lacuna("decompress", lac, wav, "--bits", "float").code == 0
    blob = codec.compress(sound, 16000, kbps=kbps)
    assert made_with(blob) == DEFAULT_MODEL
    assert blob == lac.read_bytes()
    decoded, sample_rate = codec.decompress(blob)
    assert sample_rate == 16000
    assert decoded.shape == sound.shape
    assert np.array_equal(decoded.numpy(), soundfile.read(wav, always_2d=True)[0].T)


def test_a_span(two_models: Path) -> None:
    blob = codec.compress(music(5.0, 16000, 1), 16000, kbps=KBPS)
    whole, _ = codec.decompress(blob)
    part, _ = codec.decompress(blob, start=2.5, duration=1.25)
    assert torch.equal(part, whole[:, 40000:60000])


def test_quality_and_one_dimension() -> None:
    sound = music(1.0, 16000, 1)[0]
    small, large = (codec.compress(sound, 16000, quality=quality) for quality in (0, 10))
    assert len(small) < len(large)
    assert codec.decompress(small)[0].shape == (1, 16000)


def test_each_model_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    load = api.load
    monkeypatch.setattr(api, "load", lambda path, device: asked.append(path) or load(path, device))
    models = api.Models()
    for name in (None, "older", None):
        writing = models if name is None else api.Models(name)
        models.decompress(writing.compress(music(0.5, 16000, 1), 16000, kbps=KBPS))
    assert [path.stem for path in asked] == [DEFAULT_MODEL, "older", "older"]


def test_a_file_of_a_model_that_does_not_ship(
    lacuna: Lacuna, two_models: Path, tmp_path: Path
) -> None:
    blob = codec.load("older").compress(music(0.5, 16000, 1), 16000, kbps=KBPS)
    path = (two_models / "older.safetensors").rename(tmp_path / "mine.safetensors")
    coding_id = LacReader(blob).header.coding_id.hex()
    with pytest.raises(FormatError, match=rf"'older', coding_id {coding_id}.*codec\.load"):
        codec.decompress(blob)
    assert "--model PATH" in lacuna.fails("decompress", "-", "-", stdin=blob, code=3)
    own, _ = codec.load(path).decompress(blob)
    assert torch.equal(api.Models(path).decompress(blob)[0], own)
    result = lacuna("decompress", "-", "-", "--bits", "float", "-m", path, stdin=blob)
    assert np.array_equal(soundfile.read(io.BytesIO(result.stdout))[0], own[0].numpy())


@pytest.mark.parametrize(
    "waveform",
    [
        np.zeros((0, 16000), np.float32),
        np.zeros((1, 0), np.float32),
        np.zeros((1, 1, 16000), np.float32),
        np.zeros((), np.float32),
        np.zeros((1, 16000), np.int16),
    ],
    ids=str,
)
def test_what_is_no_waveform(waveform: np.ndarray) -> None:
    with pytest.raises(AudioError):
        codec.compress(waveform, 16000)
    with pytest.raises(LacunaError):
        codec.decompress(b"no .lac file")
