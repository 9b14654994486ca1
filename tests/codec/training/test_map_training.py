"""The spectral map through both phases of its training, and into files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import codec
from codec.model import checkpoint
from codec.network.map_waveform import MapWaveformDecoder
from codec.training.codec_task import CodecTask
from codec.training.decoder_task import DecoderTask
from codec.training.run import train_codec


@pytest.fixture(scope="module")
def runs(audio_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of phase one and of phase two."""
    base, decoder = (tmp_path_factory.mktemp(name) for name in ("base", "decoder"))
    with pytest.MonkeyPatch.context() as patch:
        for task in (CodecTask, DecoderTask):
            patch.setattr(task, "preview", lambda *arguments: None)
        train_codec("tiny_map", audio_folder, base, cpu=True)
        first = str(base / "model.safetensors")
        train_codec("tiny_map", audio_folder, decoder, cpu=True, init=first, decoder_only=True)
    return base, decoder


@pytest.fixture(scope="module")
def model(runs: tuple[Path, Path]) -> codec.Codec:
    return codec.load(runs[1] / "model.safetensors")


def test_both_phases_learn(
    runs: tuple[Path, Path], read_log: Callable[..., list[dict[str, Any]]]
) -> None:
    for run in runs:
        losses = [line["loss"] for line in read_log(run)]
        assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5]), run


def test_the_second_phase_leaves_latents_and_map_alone(runs: tuple[Path, Path]) -> None:
    first, second = (checkpoint.load(run / "model.safetensors") for run in runs)
    assert first.latent_id == second.latent_id
    before, after = first.autoencoder.decoder, second.autoencoder.decoder
    assert isinstance(before, MapWaveformDecoder)
    assert isinstance(after, MapWaveformDecoder)
    for name, value in before.map.state_dict().items():
        assert torch.equal(value, after.map.state_dict()[name]), name
    assert not torch.equal(before.renderer.head.weight, after.renderer.head.weight)


def test_the_map_may_learn_too_and_files_are_then_others(
    runs: tuple[Path, Path],
    audio_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read_log: Callable[..., list[dict[str, Any]]],
) -> None:
    monkeypatch.setattr(DecoderTask, "preview", lambda *arguments: None)
    first = runs[0] / "model.safetensors"
    how = {"cpu": True, "init": str(first), "decoder_only": True}
    train_codec(
        "tiny_map", audio_folder, tmp_path, **how, overrides={"map_weight": 0.3, "steps": 3}
    )
    before, after = checkpoint.load(first), checkpoint.load(tmp_path / "model.safetensors")
    assert after.latent_id == before.latent_id
    assert after.coding_id != before.coding_id
    heads = [loaded.autoencoder.decoder.map.head.weight for loaded in (before, after)]
    assert not torch.equal(*heads)
    assert all(np.isfinite(line["nats"]) for line in read_log(tmp_path))


def sound(seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * 44100)) / 44100
    rng = np.random.default_rng(0)
    tones = 0.2 * np.sin(2 * np.pi * 440 * time) + 0.1 * np.sin(2 * np.pi * 663 * time)
    return (tones + 0.02 * rng.standard_normal(tones.shape)).astype(np.float32)


def test_files_seek_to_the_same_bits(model: codec.Codec) -> None:
    """Noise and phases belong to their place, whether decoding begins there or before."""
    waveform = np.stack([sound(26), 0.5 * sound(26)[::-1]])
    blob = model.compress(waveform, 44100, kbps=2.0)
    whole, _ = model.decompress(blob)
    assert whole.shape == waveform.shape
    for start, duration in ((0.5, 1.0), (11.0, 2.0), (13.0, 11.5)):
        part, _ = model.decompress(blob, start=start, duration=duration)
        first = round(start * 44100)
        assert torch.equal(part, whole[:, first : first + part.shape[1]]), start


def test_the_same_file_gives_the_same_sound(model: codec.Codec) -> None:
    blob = model.compress(sound(3)[None], 44100, kbps=1.0)
    assert torch.equal(model.decompress(blob)[0], model.decompress(blob)[0])


def test_silence_is_silence(model: codec.Codec) -> None:
    blob = model.compress(np.zeros((1, 44100), np.float32), 44100)
    assert not model.decompress(blob)[0].any()


def test_tensors_go_there_and_back(model: codec.Codec) -> None:
    waveform = torch.from_numpy(np.stack([sound(2), sound(2)]))[None]
    z = model.encode(waveform)
    assert z.shape == (1, 2, 4, 44)
    assert model.decode(z, length=waveform.shape[-1]).shape == waveform.shape
