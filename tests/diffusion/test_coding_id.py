"""A new context model changes how files are coded, and leaves what latents mean alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from generation_helpers import diffusion_file, save_both

import codec
from codec.errors import FormatError
from codec.model.latent_files import decode_file, encode_file
from codec.training.run_context import train_context
from diffusion.generation import Generator, generate


def test_stored_latents_and_diffusion_weights_outlive_a_context_model(
    audio_folder: Path, tmp_path: Path
):
    _, before = save_both(tmp_path)
    after = tmp_path / "context.safetensors"
    old = codec.load(before)
    sound = audio_folder / "1.wav"
    encode_file(
        old, str(sound), str(tmp_path / "z.safetensors"), force=False, progress=lambda _: None
    )
    train_context(str(before), audio_folder, after, updates=1)
    new = codec.load(after)
    assert new.context is not None
    assert new.latent_id == old.latent_id
    assert new.coding_id != old.coding_id
    decode_file(
        new,
        str(tmp_path / "z.safetensors"),
        str(tmp_path / "z.wav"),
        "float",
        force=False,
        progress=lambda _: None,
    )
    assert (tmp_path / "z.wav").exists()
    made = generate(Generator(diffusion_file(old), new), 0.1)
    assert made.latents.shape[1] == new.latent_dim
    data = new.compress(new.decode(made.latents[None])[0], new.sample_rate, kbps=40.0)
    with pytest.raises(FormatError, match=rf"{new.coding_id}.*{old.coding_id}"):
        old.decompress(data)
