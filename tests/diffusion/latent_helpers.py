"""A tiny untrained codec, for tests that need latents of some codec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from codec.entropy.static_tables import EntropyTables
from codec.model import checkpoint
from codec.model.checkpoint import Checkpoint
from codec.model.statistics import LatentStatistics
from codec.model.useful_range import UsefulRange
from codec.network.autoencoder import Autoencoder
from codec.network.config import ModelConfig


def write_codec(config: ModelConfig, path: Path, seed: int = 0) -> Path:
    """A checkpoint whose latents of tones in noise are about standardised."""
    torch.manual_seed(seed)
    autoencoder = Autoencoder(config).eval()
    time = torch.arange(64 * config.hop_length) / config.sample_rate
    tones = 0.3 * torch.sin(2 * torch.pi * torch.arange(200, 1400, 150)[:, None] * time)
    sounds = (tones + 0.03 * torch.randn_like(tones))[:, None].expand(-1, config.channels, -1)
    with torch.inference_mode():
        means = autoencoder.posterior(sounds).mean.transpose(0, 1).flatten(1)
    sigma = torch.full((config.latent_dim,), 0.2)
    statistics = LatentStatistics(means.mean(1), means.std(1), sigma)
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((config.latent_dim, 1000)).astype(np.float32)
    tables = EntropyTables.fit(drawn, sigma.numpy())
    useful = UsefulRange(10, 20, 1.0, 2.0)
    checkpoint.save(Checkpoint(config, autoencoder, statistics, tables, useful), path)
    return path
