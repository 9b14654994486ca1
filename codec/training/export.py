"""From trained networks to a checkpoint: the latents' statistics, tables and useful steps."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
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
from codec.entropy.token_tables import TokenTables
from codec.metrics.mel import mel_distance
from codec.model.checkpoint import Checkpoint, rules_for
from codec.model.statistics import LatentStatistics, Standardizer
from codec.model.useful_range import UsefulRange, measure_range
from codec.network.autoencoder import Autoencoder
from codec.network.map_likelihood import MapLikelihood, powers
from codec.network.map_waveform import MapWaveformDecoder
from codec.network.spectral_map import MapEncoder
from codec.training.config import NoiseConfig
from codec.training.data import AudioSource

ITEMS = 192
LISTENED_ITEMS = 16
"""Few, since a run waits for every export: 3 s at most on a core."""

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
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Checkpoint:
    """Measure the latents of training crops; ``noise`` has the range of steps to expect.

    ``progress(done, total)`` is called as crops have been encoded.
    """
    means, sigmas = [], []
    for done, waveform in _crops(source, device):
        posterior = autoencoder.posterior(waveform)
        means.append(posterior.mean.transpose(0, 1).flatten(1).cpu())
        sigmas.append(posterior.sigma.transpose(0, 1).flatten(1).cpu())
        progress(done, ITEMS)
    mean_values, sigma_values = torch.cat(means, 1), torch.cat(sigmas, 1)
    mean, std = mean_values.mean(1), mean_values.std(1).clamp(min=1e-4)
    # A collapsed channel has next to no deviation of its own; the coarsest step suits it.
    sigma = sigma_values.mean(1) / std
    sigma = sigma.clamp(max=MAX_STEP_UNITS / UNITS)
    statistics = LatentStatistics(mean, std, sigma)
    standardised = Standardizer(statistics)(mean_values).numpy()
    tables = EntropyTables.fit(standardised, sigma.numpy(), rules_for(autoencoder.config))

    coarsest = nearest_step(noise.steps[1])
    finest = _finest_useful_step(autoencoder, source, device, statistics, tables, coarsest)
    frame_rate = autoencoder.config.frame_rate
    blocks = [standardised[None].astype(np.float32)]
    useful: UsefulRange = measure_range(blocks, tables, frame_rate, finest, coarsest)
    return Checkpoint(autoencoder.config, autoencoder, statistics, tables, useful, provenance)


def fit_tokens(
    autoencoder: Autoencoder, source: AudioSource, device: torch.device, provenance: dict[str, Any]
) -> Checkpoint:
    """Count the tokens of training crops, and measure what they stand for."""
    config = autoencoder.config
    assert config.tokens is not None, config
    latents, tokens = [], []
    for _, waveform in _crops(source, device):
        quantised = autoencoder.quantise(waveform)
        latents.append(quantised.latents.transpose(0, 1).flatten(1).cpu())
        tokens.append(quantised.tokens.transpose(0, 1).flatten(1).cpu())
    values, counted = torch.cat(latents, 1), torch.cat(tokens, 1).numpy()
    mean, std = values.mean(1), values.std(1).clamp(min=1e-4)
    # No posterior, hence no deviation of one; nothing reads it.
    statistics = LatentStatistics(mean, std, torch.ones_like(std))
    tables = TokenTables.fit(counted, config.tokens.size)
    coarsest = config.tokens.books - 1
    useful = measure_range([counted[None]], tables, config.frame_rate, 0, coarsest)
    return Checkpoint(config, autoencoder, statistics, tables, useful, provenance)


def _crops(source: AudioSource, device: torch.device) -> Iterator[tuple[int, Tensor]]:
    """The crops that are measured, batch by batch, and how many they are with those before."""
    source = source.without_rare()
    for done in range(BATCH, ITEMS + 1, BATCH):
        first = FIRST_INDEX + done - BATCH
        yield done, source.batch(range(first, first + BATCH)).waveform.to(device)


def _finest_useful_step(
    autoencoder: Autoencoder,
    source: AudioSource,
    device: torch.device,
    statistics: LatentStatistics,
    tables: EntropyTables,
    coarsest: int,
) -> int:
    """The coarsest step that is as near to crops as no quantisation at all.

    Found by bisection: coarser steps are further away.
    """
    standardizer = Standardizer(statistics).to(device)
    indices = range(FIRST_INDEX, FIRST_INDEX + LISTENED_ITEMS)
    waveform = source.batch(indices).waveform.to(device)
    latents = standardizer(autoencoder.posterior(waveform).mean)

    def distance(z: Tensor) -> float:
        return float(_distance(autoencoder, standardizer.inverse(z), waveform))

    def through(step: int) -> Tensor:
        at = tables.at(step)
        symbols = quantise(latents.cpu().numpy(), at.step)
        return torch.from_numpy(dequantise(symbols, at.centroids)).to(device)

    target = distance(latents) * (1 + BOUGHT)
    half_octaves = np.arange(0, np.log2(max(1.0, step_multiple(coarsest))) + 0.01, 0.5)
    candidates = [nearest_step(step_multiple(coarsest) / 2**octave) for octave in half_octaves]
    first = bisect_left(candidates[:-1], True, key=lambda step: distance(through(step)) <= target)
    return candidates[first]


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
