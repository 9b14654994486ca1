"""A model with few latents starts one with more."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from codec.errors import CheckpointError
from codec.model import checkpoint
from codec.network.autoencoder import Autoencoder
from codec.training.codec_task import initial_weights


def test_fewer_latents_start_more(tiny_path: Path) -> None:
    """The old latents are what they were, and the decoder reads them as it did."""
    narrow = checkpoint.load(tiny_path).autoencoder
    config, dim = narrow.config, narrow.config.latent_dim
    wide = Autoencoder(config.model_copy(update={"latent_dim": dim + 3})).eval()
    initial_weights(wide, tiny_path)

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
