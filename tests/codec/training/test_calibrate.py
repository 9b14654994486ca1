"""``lacuna calibrate``: a converted model makes files afterwards, and sounds as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from codec_helpers import Lacuna, music
from tiny_checkpoint import tiny_oobleck

from codec.api import Codec, load
from codec.lac.reader import LacReader
from codec.model import checkpoint
from codec.training import run_calibrate

CONFIG = """
[model]
name = "mine"
sample_rate = 16000
channels = 2
latent_dim = 4
[model.network]
kind = "oobleck"
width = 8
width_multiples = [1, 2]
strides = [4, 16]
posterior_scale = "softplus"
[training]
steps = 1
batch_size = 2
mixed_precision = "no"
[training.loss]
stft_windows = [256]
mel_windows = [256]
[training.data]
crop_seconds = 0.2
"""
"""The network of ``tiny_oobleck``."""


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    path = tmp_path / "converted.safetensors"
    checkpoint.save(tiny_oobleck(), path)
    return path


@pytest.fixture(autouse=True)
def few_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    crops = run_calibrate.CROPS.model_copy(update={"crop_seconds": 0.2})
    monkeypatch.setattr(run_calibrate, "CROPS", crops)


@pytest.mark.parametrize("updates", [0, 3])
def test_a_converted_model_makes_files_afterwards(
    lacuna: Lacuna, converted: Path, audio_folder: Path, tmp_path: Path, updates: int
) -> None:
    out = tmp_path / "fitted.safetensors"
    before, weights = load(converted), converted.read_bytes()
    result = lacuna(
        "calibrate", converted, "--data", audio_folder, "--out", out, "--updates", updates
    )
    assert result.code == 0, result.stderr
    assert "kbps per coded channel" in result.stderr
    codec = load(out)
    assert codec.latent_id in result.stderr
    assert (codec.context is not None) == bool(updates)
    assert converted.read_bytes() == weights

    # the networks are the same, the latents standard
    sound = music(1.0, 16000, 2)
    x = torch.from_numpy(sound)[None]
    torch.testing.assert_close(codec(x), before(x), rtol=1e-3, atol=1e-4)
    assert codec.provenance["note"] == "converted"
    latents = codec.encode(x)
    assert latents.std() < 5

    # there and back through the command, at any rate of the useful range
    import soundfile

    wav, lac, back = tmp_path / "in.wav", tmp_path / "a.lac", tmp_path / "back.wav"
    soundfile.write(wav, sound.T, 16000)
    assert lacuna("compress", wav, lac, "-m", out, "--quality", 10).code == 0
    assert LacReader(lac.read_bytes()).header.context_coded == bool(updates)
    assert lacuna("decompress", lac, back, "-m", out).code == 0
    decoded, _ = soundfile.read(back)
    assert decoded.shape == sound.T.shape
    whole = codec(x)[0].numpy()
    error = np.abs(decoded.T - whole).mean() / np.abs(whole).mean()
    assert error < 0.2  # quantised finely


def test_latents_are_standard_on_the_folder(converted: Path, audio_folder: Path, tmp_path: Path):
    import soundfile

    out = tmp_path / "fitted.safetensors"
    run_calibrate.calibrate(str(converted), audio_folder, out, updates=0)
    codec = load(out)
    assert checkpoint.load(out).weights_dtype == torch.float32
    values = []
    for path in sorted(audio_folder.iterdir()):
        samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
        values.append(codec.encode(torch.from_numpy(samples.T)[None])[0, 0])
    latents = torch.cat(values, dim=1)
    # crops have gains and signs of their own, so this is near and not equal
    assert (latents.mean(1).abs() < 0.5).all()
    assert ((latents.std(1) > 0.5) & (latents.std(1) < 2)).all()


def test_it_can_be_fitted_again(converted: Path, audio_folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    run_calibrate.calibrate(str(converted), audio_folder, first, updates=0)
    run_calibrate.calibrate(str(first), audio_folder, second, updates=0)
    assert load(first).latent_id == load(second).latent_id


def test_without_a_name_it_lies_beside_the_model(
    lacuna: Lacuna, converted: Path, audio_folder: Path
) -> None:
    arguments = ("calibrate", converted, "--data", audio_folder, "--updates", 0)
    assert lacuna(*arguments).code == 0
    assert load(converted.with_name("converted_calibrated.safetensors")).useful
    again = lacuna(*arguments)
    assert again.code == 1
    assert "already exists" in again.stderr


def test_mistakes(
    lacuna: Lacuna, converted: Path, audio_folder: Path, tmp_path: Path, tiny_path: Path
) -> None:
    taken = tmp_path / "taken.safetensors"
    taken.write_bytes(b"mine")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.wav").write_bytes(b"no audio")
    fresh = tmp_path / "new.safetensors"
    for arguments, message in (
        ((converted, "--data", audio_folder, "--out", taken), "already exists"),
        ((converted, "--data", tmp_path / "no", "--out", fresh), "no"),
        ((converted, "--data", broken, "--out", fresh), "no usable audio"),
        ((tmp_path / "no.safetensors", "--data", audio_folder, "--out", fresh), "no model"),
        ((converted, "--data", audio_folder, "--out", tmp_path / "a.txt"), ".safetensors"),
    ):
        result = lacuna("calibrate", *arguments)
        assert result.code == 1, message
        assert message in result.stderr
        assert "Traceback" not in result.stderr
    assert taken.read_bytes() == b"mine"
    assert not fresh.exists()


def test_files_of_before_do_not_open(converted: Path, audio_folder: Path, tmp_path: Path) -> None:
    """Their symbols would mean something else."""
    from codec.errors import CheckpointError

    out = tmp_path / "fitted.safetensors"
    run_calibrate.calibrate(str(converted), audio_folder, out, updates=0)
    data = load(out).compress(music(0.5, 16000, 1), 16000)
    with pytest.raises(CheckpointError, match="no entropy tables yet"):
        Codec(checkpoint.load(converted)).decompress(data)


def test_a_file_that_cannot_be_read_is_left_out_and_counted(
    lacuna: Lacuna, converted: Path, audio_folder: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(audio_folder, tmp_path / "data")
    (tmp_path / "data" / "broken.wav").write_bytes(b"no audio")
    result = lacuna(
        "calibrate", converted, "--data", tmp_path / "data", "--out", tmp_path / "out.safetensors",
        "--updates", 0,
    )  # fmt: skip
    assert result.code == 0
    assert "1 of 7 files cannot be read" in result.stderr


def test_its_decoder_can_be_trained_on(
    lacuna: Lacuna, converted: Path, audio_folder: Path, tmp_path: Path, no_preview: None
) -> None:
    """On quantised latents, with the config that describes it; files stay valid."""
    fitted, run = tmp_path / "fitted.safetensors", tmp_path / "run"
    run_calibrate.calibrate(str(converted), audio_folder, fitted, updates=0)
    data = load(fitted).compress(music(0.5, 16000, 2), 16000)
    config = tmp_path / "mine.toml"
    config.write_text(CONFIG)
    result = lacuna(
        "train", "codec", config, "--data", audio_folder, "--out", run, "--init", fitted,
        "--decoder-only", "--device", "cpu",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    trained = load(run / "model.safetensors")
    assert trained.latent_id == load(fitted).latent_id
    assert trained.decompress(data)[0].shape == (2, 8000)
