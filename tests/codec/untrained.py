"""Tiny untrained codecs of every kind of network."""

from __future__ import annotations

import numpy as np
import torch

from codec.api import Codec
from codec.entropy.static_tables import EntropyTables
from codec.model.checkpoint import Checkpoint, rules_for
from codec.model.latent_codec import LatentCodec
from codec.model.statistics import LatentStatistics
from codec.model.useful_range import UsefulRange
from codec.network.autoencoder import Autoencoder
from codec.network.config import ModelConfig, OobleckConfig, SpectralConfig, SpectralMapConfig

NETWORKS = {
    "spectral": SpectralConfig(
        n_fft=256,
        stft_hop=64,
        phase_bins=32,
        widths=(16, 16),
        encoder_depths=(1, 1),
        decoder_depths=(1, 1),
        kernel_size=5,
    ),
    "pqmf": OobleckConfig(width=8, width_multiples=(1, 2), strides=(4, 4), pqmf_bands=16),
    "map": SpectralMapConfig(width=16, depth=1, renderer_width=8, renderer_depth=1),
}


def untrained(kind: str, channels: int = 1) -> LatentCodec:
    """A codec of eight latents; its statistics are made up."""
    torch.manual_seed(0)
    config = ModelConfig(
        name=kind, sample_rate=16000, channels=channels, latent_dim=8, network=NETWORKS[kind]
    )
    sigma = torch.full((8,), 0.2)
    statistics = LatentStatistics(torch.linspace(-1, 1, 8), torch.linspace(0.5, 2, 8), sigma)
    latents = np.random.default_rng(0).standard_normal((8, 500)).astype(np.float32)
    tables = EntropyTables.fit(latents, sigma.numpy())
    loaded = Checkpoint(config, Autoencoder(config).eval(), statistics, tables, None, {})
    return LatentCodec(loaded).eval().requires_grad_(False)


def layered_codec() -> Codec:
    """A spectral map whose files have a waveform layer, at 44.1 kHz; calibrated to noise."""
    torch.manual_seed(0)
    config = ModelConfig(
        name="layered", sample_rate=44100, channels=1, latent_dim=8, network=NETWORKS["map"]
    )
    sigma = torch.full((8,), 0.2)
    latents = np.random.default_rng(0).standard_normal((8, 500)).astype(np.float32)
    tables = EntropyTables.fit(latents, sigma.numpy(), rules_for(config))
    statistics = LatentStatistics(torch.zeros(8), torch.ones(8), sigma)
    useful = UsefulRange(192, 480, 0.1, 0.6)
    network = Autoencoder(config).eval()
    loaded = Checkpoint(config, network, statistics, tables, useful, {})
    return Codec(loaded).eval().requires_grad_(False)
