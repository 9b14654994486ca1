"""From trained networks to a checkpoint: the latents' statistics, tables and useful steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from codec.entropy.quantise import (
    MAX_STEP_UNITS,
    UNITS,
    dequantise,
    nearest_step,
    quantise,
    step_multiple,
)
from codec.entropy.static_tables import EntropyTables
from codec.metrics.mel import mel_distance
from codec.model.checkpoint import Checkpoint
from codec.model.statistics import LatentStatistics, Standardizer
from codec.model.useful_range import UsefulRange, measure_range
from codec.network.autoencoder import Autoencoder
from codec.network.map_waveform import MapWaveformDecoder
from codec.network.spectral_map import MapEncoder
from codec.training.config import NoiseConfig
from codec.training.data import AudioSource
from codec.training.likelihood import MapLikelihood, powers

ITEMS = 256
LISTENED_ITEMS = 48
BATCH = 16

FIRST_INDEX = 1 << 40
"""Far from the indices that training uses, so that every export measures the same crops."""

BOUGHT = 0.005
"""A finer step that lowers the mel distance by less than this share is not worth its bits."""


def fit_checkpoint(
    autoencoder: Autoencoder,
    source: AudioSource,
    device: torch.device,
    noise: NoiseConfig,
    provenance: dict[str, Any],
) -> Checkpoint:
    """Measure the latents of training crops; ``noise`` has the range of steps to expect."""
    means, sigmas = [], []
    for first in range(FIRST_INDEX, FIRST_INDEX + ITEMS, BATCH):
        batch = source.batch(range(first, first + BATCH))
        posterior = autoencoder.posterior(batch.waveform.to(device))
        means.append(posterior.mean.transpose(0, 1).flatten(1).cpu())
        sigmas.append(posterior.sigma.transpose(0, 1).flatten(1).cpu())
    mean_values, sigma_values = torch.cat(means, 1), torch.cat(sigmas, 1)
    mean, std = mean_values.mean(1), mean_values.std(1).clamp(min=1e-4)
    # A collapsed channel has next to no deviation of its own; the coarsest step suits it.
    sigma = sigma_values.mean(1) / std
    sigma[: autoencoder.config.level_latents] *= noise.level_steps
    sigma = sigma.clamp(max=MAX_STEP_UNITS / UNITS)
    statistics = LatentStatistics(mean, std, sigma)
    standardised = Standardizer(statistics)(mean_values).numpy()
    tables = EntropyTables.fit(standardised, sigma.numpy())

    coarsest = nearest_step(noise.steps[1])
    finest = _finest_useful_step(autoencoder, source, device, statistics, tables, coarsest)
    frame_rate = autoencoder.config.frame_rate
    blocks = [standardised[None].astype(np.float32)]
    useful: UsefulRange = measure_range(blocks, tables, frame_rate, finest, coarsest)
    return Checkpoint(autoencoder.config, autoencoder, statistics, tables, useful, provenance)


def _finest_useful_step(
    autoencoder: Autoencoder,
    source: AudioSource,
    device: torch.device,
    statistics: LatentStatistics,
    tables: EntropyTables,
    coarsest: int,
) -> int:
    """The coarsest step that is as near to crops as no quantisation at all."""
    standardizer = Standardizer(statistics).to(device)
    crops, latents = [], []
    for first in range(FIRST_INDEX, FIRST_INDEX + LISTENED_ITEMS, BATCH):
        waveform = source.batch(range(first, first + BATCH)).waveform.to(device)
        crops.append(waveform)
        latents.append(standardizer(autoencoder.posterior(waveform).mean))

    def distance(quantised: list[Tensor]) -> float:
        distances = [
            _distance(autoencoder, standardizer.inverse(z), waveform)
            for z, waveform in zip(quantised, crops, strict=True)
        ]
        return float(torch.stack(distances).mean())

    def through(step: int) -> list[Tensor]:
        at = tables.at(step)
        symbols = [quantise(z.cpu().numpy(), at.step) for z in latents]
        return [torch.from_numpy(dequantise(s, at.centroids)).to(device) for s in symbols]

    target = distance(latents) * (1 + BOUGHT)
    half_octaves = np.arange(0, np.log2(max(1.0, step_multiple(coarsest))) + 0.01, 0.5)
    candidates = [nearest_step(step_multiple(coarsest) / 2**octave) for octave in half_octaves]
    return next((step for step in candidates if distance(through(step)) <= target), candidates[-1])


def _distance(autoencoder: Autoencoder, latents: Tensor, waveform: Tensor) -> Tensor:
    """Mel distance of what is decoded; for a spectral map, whose renderer is yet to be trained, how
    unlikely the map makes the spectra."""
    sample_rate, decoder = autoencoder.config.sample_rate, autoencoder.decoder
    if isinstance(decoder, MapWaveformDecoder):
        terms = MapLikelihood(sample_rate, waveform.device).terms(
            MapEncoder.views(waveform), decoder.expect(latents)
        )
        return powers(terms)
    decoded = autoencoder.decode(latents)
    return mel_distance(decoded.flatten(0, 1), waveform.flatten(0, 1), sample_rate).mean()
