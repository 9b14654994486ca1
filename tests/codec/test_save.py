"""Codec.save: what was trained in Python, with the ids of what it has become."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from codec_helpers import music

from codec.api import Codec, load
from codec.errors import CheckpointError, FormatError, LacunaError


def train(codec: Codec, part: str, steps: int = 10) -> None:
    module = getattr(codec.autoencoder, part).requires_grad_(True)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    x = torch.from_numpy(music(0.5, 16000, 1))[None]
    for _ in range(steps):
        loss = (codec(x) - x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_a_trained_encoder_has_other_ids_at_once(tiny_path: Path, tiny_codec: Codec):
    codec, sound = load(tiny_path), music(0.5, 16000, 2)
    train(codec, "encoder")
    assert codec.latent_id != tiny_codec.latent_id
    assert codec.coding_id != tiny_codec.coding_id
    blob = codec.compress(sound, 16000)
    with pytest.raises(FormatError, match=codec.coding_id):
        tiny_codec.decompress(blob)
    with pytest.raises(FormatError, match=tiny_codec.coding_id):
        codec.decompress(tiny_codec.compress(sound, 16000))


@pytest.mark.parametrize("write", [lambda p: p.data.add_(0.01), lambda p: p.add_(0.01)])
@torch.no_grad()
def test_no_way_of_writing_weights_keeps_the_id(tiny_path: Path, write):
    codec = load(tiny_path)
    before = codec.latent_id
    write(next(codec.autoencoder.encoder.parameters()))
    assert codec.latent_id != before


def test_statistics_are_part_of_the_id(tiny_path: Path):
    codec = load(tiny_path)
    before = codec.latent_id
    codec.standardizer.mean += 0.5
    assert codec.latent_id != before


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_what_was_trained_is_saved_and_opens_its_files(
    tiny_path: Path, tiny_codec: Codec, tmp_path: Path, part: str
):
    codec, sound = load(tiny_path), music(0.5, 16000, 2)
    train(codec, part)
    path = tmp_path / "tuned.safetensors"
    codec.save(path)
    again = load(path)
    assert again.latent_id == codec.latent_id
    assert again.coding_id == codec.coding_id
    assert (again.latent_id == tiny_codec.latent_id) == (part == "decoder")
    assert (again.coding_id == tiny_codec.coding_id) == (part == "decoder")
    blob = codec.compress(sound, 16000)
    y, y_again = codec.decompress(blob)[0], again.decompress(blob)[0]
    torch.testing.assert_close(y_again, y, rtol=0, atol=1e-2)  # weights are stored as float16
    assert not torch.equal(again(torch.from_numpy(sound)[None]), tiny_codec(sound[None]))
    if part == "decoder":
        assert tiny_codec.decompress(blob)[0].shape == y.shape


def test_state_dict_round_trip_carries_the_id(tiny_path: Path):
    codec, other = load(tiny_path), load(tiny_path)
    train(codec, "encoder", steps=2)
    other.load_state_dict(codec.state_dict())
    assert other.latent_id == codec.latent_id
    sound = music(0.5, 16000, 1)
    assert other.compress(sound, 16000) == codec.compress(sound, 16000)


def test_nothing_is_replaced_unasked(tiny_codec: Codec, tmp_path: Path):
    path = tmp_path / "mine.safetensors"
    path.write_text("mine")
    with pytest.raises(LacunaError, match="already exists"):
        tiny_codec.save(path)
    assert path.read_text() == "mine"
    tiny_codec.save(path, force=True)
    assert load(path).latent_id == tiny_codec.latent_id


def test_what_has_diverged_is_not_saved(tiny_path: Path, tmp_path: Path):
    codec = load(tiny_path)
    next(codec.autoencoder.encoder.parameters()).data.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not finite"):
        codec.save(tmp_path / "nan.safetensors")
    assert not list(tmp_path.iterdir())
