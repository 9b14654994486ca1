"""`lacuna encode` and `decode`: latents on disk and back."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from codec_helpers import BLOCK, music
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from codec.api import Codec
from codec.errors import AudioError, CheckpointError, LacunaError
from codec.model.latent_files import decode_file, encode_file


def silent_progress(seconds: float) -> None:
    pass


def encode(codec: Codec, source: Path, target: Path, force: bool = False) -> tuple[int, ...]:
    return encode_file(codec, str(source), str(target), force=force, progress=silent_progress)


def decode(codec: Codec, source: Path, target: Path) -> np.ndarray:
    decode_file(codec, str(source), str(target), "float", force=True, progress=silent_progress)
    samples, _ = soundfile.read(target, always_2d=True, dtype="float32")
    return samples.T


@pytest.fixture
def latents(tiny_codec: Codec, tmp_path: Path) -> Path:
    """The latents of 0.5 s of stereo."""
    soundfile.write(tmp_path / "in.wav", music(0.5, 16000, 2).T, 16000)
    encode(tiny_codec, tmp_path / "in.wav", tmp_path / "z.safetensors")
    return tmp_path / "z.safetensors"


@pytest.mark.parametrize("samples", [1, 128, BLOCK + 1, 2 * BLOCK + 999])
@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2)])
def test_round_trip(tiny_codec: Codec, tmp_path: Path, rate: int, channels: int, samples: int):
    sound = music(3 * BLOCK / rate + 0.1, rate, channels)[:, :samples]
    soundfile.write(tmp_path / "in.wav", sound.T, rate, subtype="FLOAT")
    shape = encode(tiny_codec, tmp_path / "in.wav", tmp_path / "z.safetensors")
    stored = load_file(tmp_path / "z.safetensors")["latents"]
    frames = math.ceil(math.ceil(samples * 16000 / rate) / 128)
    assert stored.shape == shape == (channels, 4, frames)
    decoded = decode(tiny_codec, tmp_path / "z.safetensors", tmp_path / "out.wav")
    assert decoded.shape == sound.shape
    assert soundfile.info(tmp_path / "out.wav").samplerate == rate


def test_latents_are_those_of_the_codec_and_decode_to_its_sound(tiny_codec: Codec, tmp_path: Path):
    sound = music(2.5 * BLOCK / 16000, 16000, 2)
    soundfile.write(tmp_path / "in.wav", sound.T, 16000, subtype="FLOAT")
    encode(tiny_codec, tmp_path / "in.wav", tmp_path / "z.safetensors")
    stored = load_file(tmp_path / "z.safetensors")["latents"]
    z = tiny_codec.encode(torch.from_numpy(sound)[None])[0]
    torch.testing.assert_close(stored[..., 40:-40], z[..., 40:-40], rtol=0, atol=1e-3)
    decoded = decode(tiny_codec, tmp_path / "z.safetensors", tmp_path / "out.wav")
    y = tiny_codec.decode(stored[None])[0].numpy()
    np.testing.assert_allclose(decoded[:, 5000:-5000], y[:, 5000:-5000], atol=1e-3)


def test_silence_gets_the_latents_of_silence(tiny_codec: Codec, tmp_path: Path):
    soundfile.write(tmp_path / "in.wav", np.zeros(8000), 16000)
    encode(tiny_codec, tmp_path / "in.wav", tmp_path / "z.safetensors")
    stored = load_file(tmp_path / "z.safetensors")["latents"]
    z = tiny_codec.encode(torch.zeros(1, 1, 16000))[0, ..., 50:51]  # one frame of its middle
    torch.testing.assert_close(stored, z.expand_as(stored), rtol=0, atol=1e-4)


def test_file_says_what_it_is(tiny_codec: Codec, latents: Path):
    with safe_open(latents, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["latent_id"] == tiny_codec.latent_id
    assert (metadata["samples"], metadata["sample_rate"], metadata["channels"]) == (
        "8000",
        "16000",
        "2",
    )


def test_half_precision_latents_are_taken(tiny_codec: Codec, latents: Path, tmp_path: Path):
    with safe_open(latents, framework="pt") as file:
        metadata, z = file.metadata(), file.get_tensor("latents")
    expected = decode(tiny_codec, latents, tmp_path / "out.wav")
    save_file({"latents": z.bfloat16()}, latents, metadata)
    got = decode(tiny_codec, latents, tmp_path / "out.wav")
    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.99


def test_another_models_latents_are_refused(tiny_codec, tiny_stereo_codec, latents, tmp_path):
    with pytest.raises(CheckpointError) as error:
        decode(tiny_stereo_codec, latents, tmp_path / "out.wav")
    assert tiny_codec.latent_id in str(error.value)
    assert tiny_stereo_codec.latent_id in str(error.value)
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": "0"}, "0 samples"),
        ({"samples": "many"}, "many"),
        ({"samples": "99999"}, "for 99999 samples"),
        ({"sample_rate": "0"}, "at 0 Hz"),
        ({"channels": "-1"}, "-1 channels"),
        ({"channels": "1"}, "1 channels"),
        (None, "latent_id"),
    ],
)
def test_tampered_metadata_is_refused(
    tiny_codec: Codec, latents: Path, tmp_path: Path, change: dict[str, str] | None, message: str
):
    with safe_open(latents, framework="pt") as file:
        metadata, z = file.metadata(), file.get_tensor("latents")
    save_file({"latents": z}, latents, {**metadata, **change} if change else None)
    with pytest.raises(AudioError, match=message):
        decode(tiny_codec, latents, tmp_path / "out.wav")


def test_latents_that_are_not_finite_are_refused(tiny_codec: Codec, latents: Path, tmp_path: Path):
    with safe_open(latents, framework="pt") as file:
        metadata, z = file.metadata(), file.get_tensor("latents")
    z[0, 0, 0] = float("nan")
    save_file({"latents": z}, latents, metadata)
    with pytest.raises(AudioError, match="expected finite latents"):
        decode(tiny_codec, latents, tmp_path / "out.wav")


@pytest.mark.parametrize("name", ["missing.safetensors", "text.safetensors", "."])
def test_what_is_no_latent_file_is_refused(tiny_codec: Codec, tmp_path: Path, name: str):
    (tmp_path / "text.safetensors").write_text("no tensors here")
    with pytest.raises(AudioError, match=r"not found, or not a file|not a file of latents"):
        decode(tiny_codec, tmp_path / name, tmp_path / "out.wav")


def test_existing_output_needs_force(tiny_codec: Codec, latents: Path, tmp_path: Path):
    latents.write_text("precious")
    with pytest.raises(LacunaError, match="--force"):
        encode(tiny_codec, tmp_path / "in.wav", latents)
    assert latents.read_text() == "precious"
    encode(tiny_codec, tmp_path / "in.wav", latents, force=True)
    assert load_file(latents)["latents"].shape == (2, 4, 63)
