"""The diffusion weights inside the package: small, of the shipped codec, and better than noise."""

from __future__ import annotations

import torch

from codec.model.shipped import find_latent_id
from codec.model.sound import decode_waveform
from diffusion.generation import Sampling, generate, load
from diffusion.model import checkpoint
from diffusion.model.shipped import DEFAULT_MODEL, shipped_models


def test_the_file_is_small_and_of_a_codec_that_ships():
    path = shipped_models()[DEFAULT_MODEL]
    assert path.stat().st_size < 30e6  # the most that a file of weights may have
    loaded = checkpoint.load(path)
    assert find_latent_id(loaded.latent_id) is not None
    assert "piano" in loaded.labels


def test_what_it_makes_hangs_together():
    """Latents of recordings go on from frame to frame; Gaussian noise does not."""
    model = load()
    sound = generate(model, 3.0, sampling=Sampling("piano", seed=1, steps=4))
    z = sound.latents
    assert z.shape[:2] == (2, model.codec.latent_dim)
    now, then = z[..., 1:], z[..., :-1]
    # Of independent values it would be 0 with a standard deviation of 1 / sqrt(their number).
    chance = now.numel() ** -0.5
    assert (now * then).sum() / (now.norm() * then.norm()) > 10 * chance
    noise = generate(model, 3.0, prior=True)
    now, then = noise.latents[..., 1:], noise.latents[..., :-1]
    assert (now * then).sum() / (now.norm() * then.norm()) < 4 * chance
    waveform = decode_waveform(model.codec, sound)
    assert waveform.shape == (2, 3 * model.codec.sample_rate)
    assert torch.isfinite(waveform).all()
    assert 1e-3 < waveform.square().mean().sqrt() < 0.5


def test_labels_are_made_as_their_recordings_are():
    """No voice of what was trained on is in stereo, and its notes were found too few and short."""
    model = load()
    assert set(model.profiles) == set(model.labels)
    voice, piano, rain = (model.profile(label) for label in ("speech_male", "piano", "rain"))
    assert (voice.coded_channels, piano.coded_channels) == (1, 2)
    assert min(voice.clarity, piano.clarity) > 0 == rain.clarity
    assert piano.slow > voice.slow
    sounds = [
        generate(model, 1.0, sampling=Sampling(label, steps=2))
        for label in ("speech_male", "piano")
    ]
    assert [sound.channels for sound in sounds] == [1, 2]
