"""Latents as files hold them: what the network learns to denoise.

The codec's own coder quantises and dequantises them, by its rules (codec/entropy/quantise.py), at
steps from the finest to the coarsest that ``--kbps`` chooses from, in equal ratios.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from codec.entropy.quantise import step_multiple
from codec.entropy.static_tables import EntropyTables
from codec.errors import ConfigError
from codec.model.latent_codec import LatentCodec
from diffusion.model import flow
from diffusion.model.conditioning import Conditioning


@dataclass(frozen=True)
class Quantised:
    """One window, dequantised."""

    latents: Tensor
    """(coded channels of the clip, latent_dim, its frames)"""
    log_step: float
    level: Tensor
    """(): see ``flow.quantisation_level``."""

    def tell(self, conditioning: Conditioning, item: int) -> None:
        """Write it into an item of a batch."""
        coded, _, frames = self.latents.shape
        conditioning.dequantised[item, :coded, :, :frames] = self.latents
        conditioning.log_step[item] = self.log_step
        conditioning.quantised[item] = 1


class Quantiser:
    """A codec's quantiser at random steps.

    Raises:
        CheckpointError: the codec was not calibrated.
        ConfigError: its files hold tokens.
    """

    def __init__(self, codec: LatentCodec) -> None:
        if not isinstance(codec.tables, EntropyTables):
            raise ConfigError(
                f"files of the codec '{codec.config.name}' hold tokens, which are not denoised; "
                f"give --set training.windows.denoise_share=0"
            )
        self._tables, self._coder, self._useful = codec.tables, codec.coder, codec.useful

    def draw(self, latents: Tensor, rng: np.random.Generator) -> Quantised:
        """``latents`` (coded channels, latent_dim, frames) at a random useful step."""
        useful = self._useful
        index = int(rng.integers(useful.finest_step, useful.coarsest_step + 1))
        symbols = self._coder.quantise(latents.numpy(), index)
        return Quantised(
            torch.from_numpy(self._coder.dequantise(symbols, index)),
            math.log2(step_multiple(index)),
            flow.quantisation_level(
                torch.from_numpy(self._tables.stream_steps(index, len(latents))).float()
            ),
        )
