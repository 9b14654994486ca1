"""The weights inside the package: small enough, loadable, and with the latents of their config."""

from __future__ import annotations

import pytest
import torch

from codec import audio
from codec.api import Codec, load
from codec.demo import CLIP
from codec.model.shipped import DEFAULT_MODEL, shipped_models


@pytest.fixture(scope="module", params=sorted(shipped_models()))
def model(request: pytest.FixtureRequest) -> Codec:
    return load(request.param)


def test_shipped_files_are_small_and_hold_the_default():
    models = shipped_models()
    assert DEFAULT_MODEL in models
    for path in models.values():
        assert path.stat().st_size <= 30e6


def test_latents_are_standardised(model: Codec):
    waveform, sample_rate = audio.read(CLIP)
    assert sample_rate == model.sample_rate
    z = model.encode(torch.from_numpy(waveform)[None])
    assert z.abs().mean() < 2
    assert 0.2 < z.std() < 3


def test_stereo_is_coded_as_the_config_says(model: Codec):
    """Left and right, or mid and side: the first row is what a mono recording of it is coded as."""
    waveform, _ = audio.read(CLIP)
    x = torch.from_numpy(waveform[:, :65536])[None]
    z = model.encode(x)
    mid_side = model.config.stereo == "mid_side"
    first = x.mean(1, keepdim=True) if mid_side else x[:, :1]
    torch.testing.assert_close(z[:, :1], model.encode(first), rtol=1e-3, atol=1e-3)
    y = model.decode(z)
    decoded = y.mean(1, keepdim=True) if mid_side else y[:, :1]
    torch.testing.assert_close(decoded, model.decode(z[:, :1]), rtol=1e-3, atol=1e-3)
