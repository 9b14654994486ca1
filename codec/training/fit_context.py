"""Fitting a context model to the latents of training audio.

A float network with the inputs of the integer one (codec/entropy/context_network.py) is trained to
give the quantised latents a high probability under a logistic density, at random steps, and is
then rounded. The density's shape is counted at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from codec.entropy.context_model import ContextModel
from codec.entropy.context_network import HIDDEN, MAX_ACTIVATION, ONE, WEIGHT_ONE, network_inputs
from codec.entropy.context_rows import (
    LEAST_SCALE,
    SCALES,
    SCALES_PER_OCTAVE,
    SHAPE_BITS,
    SHAPE_CELLS,
    SHAPE_PER_SCALE,
    SHAPE_RANGE,
)
from codec.entropy.quantise import quantise
from codec.entropy.static_tables import EntropyTables
from codec.model.blocks import FRAMES_PER_BLOCK

Latents = NDArray[np.float32]
"""(streams, latent_dim, frames) in standard units."""

LEARNING_RATE = 3e-3
BATCH_STREAMS = 4
"""Blocks of one stream, or half as many of two, in an optimiser step."""

LARGEST_WEIGHT = 0.999 * 2**15 / WEIGHT_ONE
PRIOR = 0.02
"""Share of the plain logistic in the counted shape: it fills the tails."""


class _Network(nn.Module):
    """The network of ``ContextModel`` in floats; one for each latent channel."""

    def __init__(self, latent_dim: int, inputs: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            [
                torch.randn(latent_dim, inputs, HIDDEN) * 0.5 / math.sqrt(inputs),
                torch.randn(latent_dim, HIDDEN, HIDDEN) / math.sqrt(HIDDEN),
                torch.zeros(latent_dim, HIDDEN, 2),
            ]
        )
        self.biases = nn.ParameterList([torch.zeros(latent_dim, n) for n in (HIDDEN, HIDDEN, 2)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(latent_dim, n, inputs) -> mean and log2 of the scale, (latent_dim, n)."""
        for weight, bias in zip(self.weights[:2], self.biases[:2], strict=True):
            x = torch.clamp(torch.baddbmm(bias[:, None], x, weight), 0, MAX_ACTIVATION / ONE)
        mean, scale = torch.baddbmm(self.biases[2][:, None], x, self.weights[2]).unbind(-1)
        return mean, scale

    def arrays(self) -> dict[str, NDArray[np.integer]]:
        """Rounded to the integers of ``ContextModel``, all but the shape."""
        arrays: dict[str, NDArray[np.integer]] = {}
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True), 1):
            scaled = weight.detach().clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT).cpu() * WEIGHT_ONE
            arrays[f"weight{i}"] = scaled.round().numpy().astype(np.int16)
            arrays[f"bias{i}"] = (
                (bias.detach().cpu().double() * WEIGHT_ONE * ONE).round().numpy().astype(np.int32)
            )
        return arrays


def fit_context_model(
    latents: list[Latents],
    tables: EntropyTables,
    steps: tuple[int, int],
    updates: int,
    device: torch.device,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ContextModel:
    """A context model for ``latents`` at the step indices from ``steps[0]`` to ``steps[1]``.

    ``progress(done, total)`` is called after each of the ``updates`` optimiser steps.

    Raises:
        ValueError: no latents.
    """
    blocks = [
        clip[..., first : first + FRAMES_PER_BLOCK]
        for clip in latents
        for first in range(0, clip.shape[-1], FRAMES_PER_BLOCK)
    ]
    if not blocks:
        raise ValueError("no latents to fit a context model to")
    sizes = np.array([block.shape[0] * block.shape[2] for block in blocks], dtype=np.float64)
    rng = np.random.default_rng(0)

    def by_channel(x: NDArray[np.floating]) -> NDArray[np.floating]:
        """(streams, latent_dim, frames) -> (latent_dim, streams * frames)"""
        return np.swapaxes(x, 0, 1).reshape(x.shape[1], -1)

    def draw() -> tuple[Tensor, ...]:
        """Inputs (latent_dim, n, inputs), values and steps (latent_dim, n)."""
        index = int(rng.integers(steps[0], steps[1] + 1))
        inputs, values, sizes_of, streams = [], [], [], 0
        while streams < BATCH_STREAMS:
            block = blocks[rng.choice(len(blocks), p=sizes / sizes.sum())]
            step = tables.stream_steps(index, len(block))
            symbols = quantise(block, step)
            features = np.concatenate(list(network_inputs(symbols, step)), 2)
            inputs.append(features.reshape(len(features), -1, features.shape[-1]) / ONE)
            values.append(by_channel(symbols * step[..., None]))
            sizes_of.append(by_channel(np.broadcast_to(step[..., None], symbols.shape)))
            streams += len(block)
        return tuple(
            torch.from_numpy(np.concatenate(x, 1)).float().to(device)
            for x in (inputs, values, sizes_of)
        )

    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(0)
        network = _Network(tables.latent_dim, draw()[0].shape[-1]).to(device)
        optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
        for update in range(updates):
            rate = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * update / updates))
            for group in optimizer.param_groups:
                group["lr"] = rate
            inputs, values, step = draw()
            loss = -logistic_log2(values, step, *network(inputs)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            progress(update + 1, updates)
    arrays = network.arrays()
    draft = ContextModel({**arrays, "shape": _histogram(np.zeros(0))}, tables)
    residuals = []
    for index in np.linspace(*steps, 5).round().astype(int).tolist():
        for choice in rng.choice(len(blocks), 40, p=sizes / sizes.sum()):
            block = blocks[choice]
            own = tables.stream_steps(index, len(block))
            prediction = draft.predict(quantise(block, own), index)
            scale = 2.0 ** (prediction.scale / SCALES_PER_OCTAVE + LEAST_SCALE)
            mean = prediction.nearest + (2 * prediction.phase - 15) / 32
            # Where the scale is held at its least value the density is all inside one cell.
            inner = (prediction.scale > 0) & (prediction.scale < SCALES - 1)
            residuals.append(((block / own[..., None] - mean) / scale)[inner])
    return ContextModel({**arrays, "shape": _histogram(np.concatenate(residuals))}, tables)


def logistic_log2(values: Tensor, step: Tensor, mean: Tensor, log2_scale: Tensor) -> Tensor:
    """log2 of a logistic density's mass in the cells around ``values``; all one shape."""
    most = (SCALES - 1) / SCALES_PER_OCTAVE + LEAST_SCALE
    over_step = (log2_scale - torch.log2(step)).clamp(LEAST_SCALE, most)
    scale = step * torch.exp2(over_step)
    # In the lower tail by symmetry, where differences of sigmoids keep their precision.
    distance = -(values - mean).abs()
    upper = torch.sigmoid((distance + step / 2) / scale)
    lower = torch.sigmoid((distance - step / 2) / scale)
    return torch.log2((upper - lower) * (1 - 2.0**-12) + 2.0**-22)


def _histogram(residuals: NDArray[np.floating]) -> NDArray[np.int32]:
    """The shape (SHAPE_CELLS,): residuals in scales, made symmetric, and a little logistic."""
    edges = np.arange(SHAPE_CELLS + 1) / SHAPE_PER_SCALE - SHAPE_RANGE
    logistic = np.diff(1 / (1 + np.exp(-edges)))
    density = logistic / logistic.sum()
    if residuals.size:
        counts, _ = np.histogram(np.clip(residuals, -SHAPE_RANGE, SHAPE_RANGE), edges)
        counts = counts + counts[::-1]
        density = PRIOR * density + (1 - PRIOR) * counts / counts.sum()
    free = (1 << SHAPE_BITS) - SHAPE_CELLS
    cumulative = np.rint(np.concatenate([[0], np.cumsum(density)]) / density.sum() * free)
    return (np.diff(cumulative) + 1).astype(np.int32)
