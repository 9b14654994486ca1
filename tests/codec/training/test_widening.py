"""A model with few latents starts one with more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codec.errors import CheckpointError
from codec.model import checkpoint
from codec.network.autoencoder import Autoencoder
from codec.training.codec_task import initial_weights


@pytest.fixture(params=[False, True], ids=["no-levels", "exact-levels"])
def narrow_path(request: pytest.FixtureRequest, tiny_path: Path, tmp_path: Path) -> Path:
    if not request.param:
        return tiny_path
    loaded = checkpoint.load(tiny_path)
    levels = {"level_latents": 2, "level_bands": 5, "exact_levels": True, "fold": 2}
    network = loaded.config.network.model_copy(update=levels)
    config = loaded.config.model_copy(update={"network": network})
    path = tmp_path / "levels.safetensors"
    checkpoint.save(replace(loaded, config=config, autoencoder=Autoencoder(config)), path)
    return path


def test_fewer_latents_start_more(narrow_path: Path) -> None:
    """The old latents are what they were, and the decoder reads them as it did."""
    narrow = checkpoint.load(narrow_path).autoencoder
    config, dim = narrow.config, narrow.config.latent_dim
    wide = Autoencoder(config.model_copy(update={"latent_dim": dim + 3})).eval()
    initial_weights(wide, narrow_path)

    waveform = torch.randn(2, 1, 8 * config.hop_length)
    ours, theirs = wide.posterior(waveform), narrow.posterior(waveform)
    torch.testing.assert_close(ours.mean[:, :dim], theirs.mean)
    torch.testing.assert_close(ours.logvar[:, :dim], theirs.logvar)

    z = torch.zeros(2, dim + 3, 8)
    z[:, :dim] = theirs.mean
    torch.testing.assert_close(wide.decode(z), narrow.decode(theirs.mean))
    z[:, dim:] = 1
    assert not torch.allclose(wide.decode(z), narrow.decode(theirs.mean))


def test_another_network_is_refused_and_only_what_differs_is_named(tiny_path: Path) -> None:
    config = checkpoint.load(tiny_path).config
    network = config.network.model_copy(update={"kernel_size": 9})
    ours = Autoencoder(config.model_copy(update={"network": network}))
    with pytest.raises(CheckpointError) as caught:
        initial_weights(ours, tiny_path)
    assert "differs in network.kernel_size: 5 there, 9 in the config" in str(caught.value)
    assert "stft_hop" not in str(caught.value)
