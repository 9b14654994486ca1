"""Denoising what a ``.lac`` file says of its latents: the diffusion stage inside `decompress`.

A symbol says in which cell of the quantiser a latent lies. From the dequantised latent x, noised to
twice the time at which noise is as large as the errors of the quantiser, the sampler goes to the
latents that the network finds likely, given the dequantised ones, the step, and all other frames:

    x_t = (1 - t) x + t n,  t = 2 s / (1 + s), at most 1  -> steps of the sampler -> latents

with s the root mean square of the quantiser's errors (``flow.quantisation_level``). In one step
that is about their mean under what the file says. Every estimate on the way is clamped to its cell.
docs/DENOISING.md has what it brings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.entropy.quantise import step_multiple
from codec.lac.denoising import QuantisedBlock
from codec.model.latent_codec import LatentCodec
from codec.model.precision import float32_by_default
from codec.network import keyed_noise
from diffusion.model import checkpoint, flow
from diffusion.model.checkpoint import DiffusionCheckpoint, check_codec
from diffusion.model.conditioning import Conditioning
from diffusion.model.samplers import dpmpp_2m, guided, time_grid
from diffusion.model.shipped import find_checkpoint, find_latent_id

KEYS = 1 << 32
"""Noise of a channel is drawn as that of this channel and further: not the decoder's own."""


def beginning(implied: float) -> float:
    """The time to begin at, from that which the quantiser's step implies (docs/DENOISING.md)."""
    return min(2 * implied, 1.0)


def denoiser_for(codec: LatentCodec, weights: str | Path | None = None) -> LatentDenoiser | None:
    """A ``codec.lac.denoising.DenoiserFactory``: ``weights``, or the shipped model of the latents.

    Raises:
        CheckpointError: there are no such weights, or they are of another codec's latents.
    """
    path = find_latent_id(codec.latent_id) if weights is None else find_checkpoint(weights)
    return None if path is None else LatentDenoiser(checkpoint.load(path), codec)


class LatentDenoiser:
    """A diffusion model as a denoiser of files (``codec.lac.denoising.Denoiser``).

    A block goes through the network in windows of the length that it was trained with, each alone.
    Streams that are more than the network models jointly are denoised one by one.

    Raises:
        CheckpointError: the model was trained on another codec's latents.
    """

    def __init__(
        self,
        loaded: DiffusionCheckpoint,
        codec: LatentCodec,
        *,
        start: Callable[[float], float] = beginning,
        conditioned: bool = True,
        seed: int = 0,
    ) -> None:
        """The keywords are for measurements.

        Args:
            start: the time to begin at, from that of the quantiser's step. From 1 one step gives
                the mean of the latents under what the file says, as a regression would.
            conditioned: tell the network what the file says; else it only sees x_t, and the cells
                do the rest.
            seed: of the noise.
        """
        check_codec(loaded, codec)
        self._config = loaded.config
        self._transformer = loaded.transformer.to(codec.device).eval()
        self._device = codec.device
        self._start, self._conditioned = start, conditioned
        self._keys = KEYS * (1 + seed)
        self._mid_side = codec.config.stereo == "mid_side"

    def __call__(self, block: QuantisedBlock, steps: int) -> NDArray[np.float32]:
        """Latents (streams, latent_dim, frames), which depend on the block alone."""
        streams, _, frames = block.latents.shape
        together = streams <= self._config.coded_channels
        groups = [list(range(streams))] if together else [[stream] for stream in range(streams)]
        latents = np.empty(block.latents.shape, np.float32)
        for rows in groups:
            for first in range(0, frames, self._config.window_frames):
                part = slice(first, first + self._config.window_frames)
                latents[rows, :, part] = self._window(block, rows, part, steps)
        if self._mid_side and streams == 2:
            # What is likely of side is quieter than it is: width would be lost (docs/DENOISING.md).
            latents[1] = block.latents[1]
        return latents

    @torch.no_grad()
    @float32_by_default()
    def _window(
        self, block: QuantisedBlock, rows: Sequence[int], part: slice, steps: int
    ) -> NDArray[np.float32]:
        low, high, dequantised = (
            torch.from_numpy(values[rows, :, part])
            for values in (block.low, block.high, block.latents)
        )
        level = flow.quantisation_level(torch.from_numpy(block.steps[rows]))
        t = self._start(float(flow.time_of(level)))
        # Not from a random place in the cell: that ends in less likely latents (docs/DENOISING.md).
        x_t = (1 - t) * dequantised + t * self._noise(block, rows, part)

        conditioning = Conditioning.none(1, self._config, low.shape[2])
        conditioning.present[:, len(rows) :] = 0
        if self._conditioned:
            conditioning.dequantised[0, : len(rows)] = dequantised
            conditioning.log_step[:] = math.log2(step_multiple(block.step_index))
            conditioning.quantised[:] = 1
        estimate = guided(self._transformer, conditioning.to(self._device), guidance=1.0)
        x, least, most = (self._padded(values) for values in (x_t, low, high))

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            return estimate(x, t).clamp(least, most)

        return dpmpp_2m(denoise, x, time_grid(steps, t))[0, : len(rows)].cpu().numpy()

    def _padded(self, values: Tensor) -> Tensor:
        """(streams, latent_dim, frames) as a batch of one, with zeros in absent channels."""
        missing = self._config.coded_channels - len(values)
        return torch.nn.functional.pad(values, (0, 0, 0, 0, 0, missing))[None].to(self._device)

    def _noise(self, block: QuantisedBlock, rows: Sequence[int], part: slice) -> Tensor:
        """Unit Gaussian numbers of the window's places, (rows, latent_dim, frames)."""
        _, latent_dim, frames = block.latents[rows, :, part].shape
        keys = [self._keys + block.channels[row] for row in rows]
        first = block.first_frame + part.start
        return keyed_noise.normal(first, frames, keys, latent_dim).transpose(1, 2)
