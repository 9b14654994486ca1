"""Bounds of the likelihood, against a model whose likelihood is known in closed form."""

import math

import pytest
import torch
from torch import Tensor

from codec.model.bounds import (
    evidence_lower_bound,
    importance_weighted_bound,
    mdct_log_likelihood,
    mdct_variances,
    orthonormal_mdct,
)
from codec.network.bottleneck import Posterior
from codec.network.config import FRAME
from codec.network.spectral_map import SpectralMap
from codec.network.views import Views, analyze

NOISE = 0.5
"""Variance of x given z in the linear Gaussian model x = z + noise, z ~ N(0, 1)."""


def log_likelihood(x: Tensor) -> object:
    def given(z: Tensor) -> Tensor:
        nats = math.log(2 * math.pi * NOISE) + (x - z).square() / NOISE
        return -0.5 * nats.flatten(1).sum(dim=1)

    return given


def exact(x: Tensor) -> Tensor:
    """x ~ N(0, 1 + NOISE)"""
    variance = 1 + NOISE
    nats = math.log(2 * math.pi * variance) + x.square() / variance
    return -0.5 * nats.flatten(1).sum(dim=1)


def posterior(x: Tensor, spread: float = 1.0) -> Posterior:
    """The exact one, z|x ~ N(x / (1 + NOISE), NOISE / (1 + NOISE)), or one that is off."""
    variance = torch.full_like(x, spread * NOISE / (1 + NOISE))
    return Posterior(x / (1 + NOISE), variance.log())


X = torch.linspace(-2, 2, 24).reshape(4, 2, 3)


@pytest.mark.parametrize("samples", [1, 8])
def test_with_the_exact_posterior_the_bound_is_the_likelihood(samples: int) -> None:
    generator = torch.Generator().manual_seed(0)
    bound = importance_weighted_bound(posterior(X), log_likelihood(X), samples, generator)
    assert torch.allclose(bound, exact(X), atol=1e-3)


def test_the_bound_rises_with_samples_and_stays_below() -> None:
    generator = torch.Generator().manual_seed(0)
    wide = posterior(X, spread=2.0)

    def mean(samples: int) -> float:
        bounds = [
            importance_weighted_bound(wide, log_likelihood(X), samples, generator).mean()
            for _ in range(300)
        ]
        return float(torch.stack(bounds).mean())

    one, eight, many = mean(1), mean(8), mean(64)
    assert one < eight < many < float(exact(X).mean()) + 0.02


def test_one_sample_is_the_evidence_lower_bound() -> None:
    """log p(x|z) less the KL divergence, on average over samples."""
    generator = torch.Generator().manual_seed(0)
    wide = posterior(X, spread=2.0)
    bounds = [importance_weighted_bound(wide, log_likelihood(X), 1, generator) for _ in range(4000)]
    variance = wide.logvar.exp()
    error = (X - wide.mean).square() + variance
    expected = -0.5 * (math.log(2 * math.pi * NOISE) + error / NOISE).flatten(1).sum(dim=1)
    elbo = expected - wide.kl().flatten(1).sum(dim=1)
    assert torch.allclose(torch.stack(bounds).mean(dim=0), elbo, atol=0.3)
    ours = evidence_lower_bound(wide, log_likelihood(X), 4000, generator)
    assert torch.allclose(ours, elbo, atol=0.1)


def map_of(views: Views) -> SpectralMap:
    return SpectralMap(
        long=views.long,
        medium=views.medium,
        short=views.short,
        wave_mean=views.wave,
        wave_logvar=views.wave[..., 0],
        long_offset=views.long_offset,
        medium_offset=views.medium_offset,
        long_spread=views.long,
        medium_spread=views.medium,
    )


def test_variances_are_those_of_the_transform() -> None:
    """White noise has its own variance in every coefficient, a tone its own place."""
    torch.manual_seed(0)
    noise = analyze(0.1 * torch.randn(1, 200 * FRAME))
    variances = mdct_variances(map_of(noise))
    assert variances.shape == (1, 200, FRAME)
    assert variances.mean() == pytest.approx(0.01, rel=0.05)
    time = torch.arange(8 * FRAME) / 44100
    tone = mdct_variances(map_of(analyze(0.1 * torch.sin(2 * torch.pi * 1000 * time)[None])))
    assert int(tone[0, 4].argmax()) == pytest.approx(1000 / 44100 * 2 * FRAME, abs=1)


def test_the_true_map_is_likelier_than_a_wrong_one() -> None:
    torch.manual_seed(0)
    quiet, loud = 0.01 * torch.randn(1, 8 * FRAME), torch.randn(1, 8 * FRAME)
    of_quiet, of_loud = (map_of(analyze(x)) for x in (quiet, loud))
    quiet, loud = orthonormal_mdct(quiet), orthonormal_mdct(loud)
    assert mdct_log_likelihood(quiet, of_quiet) > mdct_log_likelihood(quiet, of_loud)
    assert mdct_log_likelihood(loud, of_loud) > mdct_log_likelihood(loud, of_quiet)
