"""How likely recordings are under a VAE: the evidence lower bound, and the tighter one.

    ELBO   E_q [ log p(x|z) + log p(z) - log q(z|x) ]                        (K = 1)
    IW-K   E_q [ log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x) ]

(Kingma and Welling 2014, "Auto-encoding variational Bayes", eq. 2; Burda, Grosse and Salakhutdinov
2016, "Importance weighted autoencoders", eq. 8.) The second rises with K towards log p(x). Both
are comparable between designs only under one observation model for all of them; here that is the
orthonormal MDCT of the waveform, each coefficient a Gaussian of mean zero whose variance the
latents say. So a design is good if it says where in time and frequency the sound is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from codec.errors import LacunaError
from codec.model.latent_codec import LatentCodec
from codec.network.bottleneck import Posterior
from codec.network.map_waveform import MapWaveformDecoder
from codec.network.mdct import MDCT
from codec.network.spectral_map import SpectralMap
from codec.network.views import FRAME, LONG_BINS, band_of_bin

LEAST_VARIANCE = 1e-9
"""Least variance of a coefficient, 90 dB below white noise of unit variance; added to all."""


def importance_weighted_bound(
    posterior: Posterior,
    log_likelihood: Callable[[Tensor], Tensor],
    samples: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """A lower bound of log p(x) in nats, for each item: (batch,).

    Args:
        posterior: q(z|x), mean and logvar (batch, latent_dim, frames).
        log_likelihood: log p(x|z) of latents (batch, latent_dim, frames), in nats: (batch,).
        samples: K; with 1 it is the evidence lower bound.
    """
    weights = []
    for _ in range(samples):
        noise = torch.randn(posterior.mean.shape, generator=generator).to(posterior.mean)
        z = posterior.sample(noise)
        prior = _log_normal(z, torch.zeros_like(z), torch.zeros_like(z))
        approximate = _log_normal(z, posterior.mean, posterior.logvar)
        weights.append(log_likelihood(z) + prior - approximate)
    return torch.stack(weights).logsumexp(dim=0) - math.log(samples)


def evidence_lower_bound(
    posterior: Posterior,
    log_likelihood: Callable[[Tensor], Tensor],
    samples: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The evidence lower bound in nats, for each item: (batch,).

    The KL divergence is exact, and the expectation of log p(x|z) a mean over ``samples`` draws; so
    it varies less than ``importance_weighted_bound`` with one sample, whose mean it has.

    Args:
        posterior, log_likelihood: as for ``importance_weighted_bound``.
    """
    likelihoods = []
    for _ in range(samples):
        noise = torch.randn(posterior.mean.shape, generator=generator).to(posterior.mean)
        likelihoods.append(log_likelihood(posterior.sample(noise)))
    return torch.stack(likelihoods).mean(dim=0) - posterior.kl().flatten(1).sum(dim=1)


@dataclass(frozen=True)
class Bounds:
    """Bounds of the likelihood of rows, in nats: each (n,)."""

    elbo: Tensor
    weighted: Tensor
    """The importance-weighted bound."""
    kl: Tensor


def bounds_of_rows(
    codec: LatentCodec, rows: Tensor, samples: int, generator: torch.Generator | None = None
) -> Bounds:
    """Both bounds of audio under a codec with a spectral map, in its orthonormal MDCT.

    Args:
        rows: (n, 1, time) as ``LatentCodec.to_rows`` gives them, time a multiple of FRAME.
        samples: K of the importance-weighted bound.

    Raises:
        LacunaError: the codec has no spectral map, and so no likelihood of spectra.
    """
    decoder = codec.autoencoder.decoder
    if not isinstance(decoder, MapWaveformDecoder):
        raise LacunaError(
            f"the model '{codec.config.name}' ({codec.config.network.kind}) has no likelihood of "
            f"spectra, expected a spectral_map; `lacuna score` says what takes its place"
        )
    posterior = codec.autoencoder.posterior(rows)
    coefficients = orthonormal_mdct(rows[:, 0])

    def likelihood(z: Tensor) -> Tensor:
        return mdct_log_likelihood(coefficients, decoder.expect(z))

    return Bounds(
        evidence_lower_bound(posterior, likelihood, 1, generator),
        importance_weighted_bound(posterior, likelihood, samples, generator),
        posterior.kl().flatten(1).sum(dim=1),
    )


def _log_normal(x: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """Log density of diagonal Gaussians, summed over all but the first dimension."""
    nats = math.log(2 * math.pi) + logvar + (x - mean).square() * (-logvar).exp()
    return -0.5 * nats.flatten(1).sum(dim=1)


@lru_cache(maxsize=4)
def _transform(device: torch.device) -> MDCT:
    with torch.inference_mode(False):  # kept for later calls, and those may train
        return MDCT(FRAME).to(device)


def orthonormal_mdct(waveform: Tensor) -> Tensor:
    """The observation: (batch, frames * FRAME) -> (batch, frames, FRAME)."""
    return _transform(waveform.device)(waveform)


def mdct_log_likelihood(coefficients: Tensor, expected: SpectralMap) -> Tensor:
    """log p(x|z) in nats of ``orthonormal_mdct`` (batch, frames, FRAME) under maps: (batch,)."""
    variance = mdct_variances(expected) + LEAST_VARIANCE
    nats = math.log(2 * math.pi) + variance.log() + coefficients.square() / variance
    return -0.5 * nats.flatten(1).sum(dim=1)


def mdct_variances(expected: SpectralMap) -> Tensor:
    """What a map says of the MDCT of hop FRAME: (batch, frames, FRAME).

    Its bins are those of the long view, as far up as that goes, and bands of the short one, whose
    power is averaged over the frame, above.
    """
    long = expected.long[:, :, 0].exp()
    bands = expected.short.exp().mean(dim=2)
    # Coefficient k lies between bins k and k + 1 of the long window; bin 1 is the first of a map.
    between = (long[..., :-1] + long[..., 1:]) / 2
    low = torch.cat([long[..., :1], between], dim=-1)
    band = band_of_bin(2 * FRAME)[LONG_BINS:FRAME]
    return torch.cat([low, bands[..., band.to(bands.device)]], dim=-1)
