"""A tiny untrained codec, made in milliseconds, for tests of everything around the network."""

from __future__ import annotations

import numpy as np
import torch

from codec.entropy.quantise import nearest_step
from codec.entropy.static_tables import EntropyTables
from codec.model.checkpoint import Checkpoint
from codec.model.statistics import LatentStatistics
from codec.model.useful_range import measure_range
from codec.network.autoencoder import Autoencoder
from codec.network.config import ModelConfig, OobleckConfig, SpectralConfig


def tiny_checkpoint(channels: int = 1, seed: int = 0) -> Checkpoint:
    """A spectral network of about 20,000 parameters at 16 kHz, hop 128, four latents."""
    torch.manual_seed(seed)
    network = SpectralConfig(
        n_fft=256,
        stft_hop=64,
        phase_bins=32,
        strides=(2,),
        widths=(16, 16),
        encoder_depths=(1, 1),
        decoder_depths=(1, 1),
        expansion=2,
        kernel_size=5,
    )
    config = ModelConfig(
        name="tiny", sample_rate=16000, channels=channels, latent_dim=4, network=network
    )
    autoencoder = Autoencoder(config).eval()
    with torch.inference_mode():
        noise = torch.randn(4, channels, 128 * 256)
        posterior = autoencoder.posterior(noise * torch.logspace(-3, 0, 4)[:, None, None])
    means = posterior.mean.transpose(0, 1).flatten(1)
    statistics = LatentStatistics(means.mean(1), means.std(1), torch.full((4,), 0.2))
    latents = ((means - means.mean(1, keepdim=True)) / means.std(1, keepdim=True)).numpy()
    tables = EntropyTables.fit(latents, np.full(4, 0.2, np.float32))
    useful = measure_range(
        [latents[None]], tables, config.frame_rate, nearest_step(1.5), nearest_step(16.0)
    )
    return Checkpoint(config, autoencoder, statistics, tables, useful, {"note": "untrained"})


def tiny_oobleck(channels: int = 2) -> Checkpoint:
    """What ``lacuna convert`` gives: Stable Audio's network, tiny, with nothing fitted to audio."""
    torch.manual_seed(0)
    network = OobleckConfig(
        width=8, width_multiples=(1, 2), strides=(4, 16), posterior_scale="softplus"
    )
    config = ModelConfig(
        name="tiny", sample_rate=16000, channels=channels, latent_dim=4, network=network
    )
    autoencoder = Autoencoder(config).eval().requires_grad_(False)
    return Checkpoint(
        config,
        autoencoder,
        LatentStatistics(torch.zeros(4), torch.ones(4), torch.ones(4)),
        tables=None,
        useful=None,
        provenance={"note": "converted"},
        weights_dtype=torch.float32,
    )
