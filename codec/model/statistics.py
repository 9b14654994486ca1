"""The statistics of a codec's latents, and the standard units that they define."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from codec.network.bottleneck import Posterior


@dataclass(frozen=True)
class LatentStatistics:
    """Per latent channel, over the training data: each (latent_dim,).

    ``mean`` and ``std`` of the posterior mean in the network's units, and ``sigma``, the mean
    posterior standard deviation in units of ``std``: the yardstick of the quantiser's step.
    """

    mean: Tensor
    std: Tensor
    sigma: Tensor


class Standardizer(nn.Module):
    """Latents (..., latent_dim, frames) from the network's units to standard ones, and back.

    In standard units every latent channel has mean 0 and variance 1 over the training data.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, statistics: LatentStatistics) -> None:
        super().__init__()
        self.register_buffer("mean", statistics.mean[:, None].clone())
        self.register_buffer("std", statistics.std[:, None].clone())

    def forward(self, latents: Tensor) -> Tensor:
        return (latents - self.mean) / self.std

    def inverse(self, latents: Tensor) -> Tensor:
        return latents * self.std + self.mean

    def posterior(self, posterior: Posterior) -> Posterior:
        """The same posterior in standard units."""
        return Posterior(self(posterior.mean), posterior.logvar - 2 * self.std.log())
