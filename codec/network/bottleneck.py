"""The bottleneck of the VAE: a diagonal Gaussian for every latent value."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_LOGVAR, MAX_LOGVAR = -14.0, 4.0


@dataclass(frozen=True)
class Posterior:
    """q(z|x) = N(mean, exp(logvar)), both (batch, latent_dim, frames)."""

    mean: Tensor
    logvar: Tensor

    @classmethod
    def from_parameters(cls, parameters: Tensor) -> Posterior:
        """Split an encoder's (batch, 2 * latent_dim, frames) into mean and log-variance."""
        mean, logvar = parameters.float().chunk(2, dim=1)
        return cls(mean, logvar.clamp(MIN_LOGVAR, MAX_LOGVAR))

    @classmethod
    def from_softplus(cls, parameters: Tensor) -> Posterior:
        """The same where the second half is a scale, sigma = softplus(scale) + 1e-4.

        So it is in Stable Audio's autoencoder (``vae_sample`` of stable-audio-tools).
        """
        mean, scale = parameters.float().chunk(2, dim=1)
        return cls(mean, 2 * torch.log(F.softplus(scale) + 1e-4))

    @property
    def sigma(self) -> Tensor:
        return torch.exp(0.5 * self.logvar)

    def sample(self, noise: Tensor) -> Tensor:
        """Reparameterised sample, mean + sigma * noise (Kingma and Welling 2014, eq. 10).

        The caller supplies the noise, so that training can key it by sample and repeat it.
        """
        return self.mean + self.sigma * noise

    def kl(self) -> Tensor:
        """KL(q(z|x) || N(0, 1)) of each value, in nats (Kingma and Welling 2014, app. B)."""
        return 0.5 * (self.mean**2 + self.logvar.exp() - 1.0 - self.logvar)
