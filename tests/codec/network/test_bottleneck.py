"""The posterior of the VAE: samples are spread around the mean as sigma says."""

from __future__ import annotations

import torch

from codec.network.bottleneck import Posterior


def test_a_sample_is_the_mean_and_sigma_times_the_noise() -> None:
    """Kingma and Welling 2014, eq. 10, by hand, with both gradients."""
    mean = torch.tensor([[[1.0, -2.0]]], requires_grad=True)
    logvar = torch.tensor([[[0.0, 2.0]]], requires_grad=True)
    noise = torch.tensor([[[3.0, -1.0]]])
    sample = Posterior(mean, logvar).sample(noise)
    torch.testing.assert_close(sample, torch.tensor([[[4.0, -2.0 - torch.e]]]))
    sample.sum().backward()
    torch.testing.assert_close(mean.grad, torch.ones(1, 1, 2))
    torch.testing.assert_close(logvar.grad, torch.tensor([[[1.5, -torch.e / 2]]]))


def test_samples_have_the_posterior_s_mean_and_deviation() -> None:
    sigma = torch.tensor([0.1, 1.0, 3.0])[None, :, None].expand(1, 3, 20_000)
    posterior = Posterior(torch.full_like(sigma, 5.0), 2 * sigma.log())
    noise = torch.randn(sigma.shape, generator=torch.Generator().manual_seed(0))
    sample = posterior.sample(noise)
    torch.testing.assert_close(sample.std(dim=2), sigma[..., 0], rtol=0.02, atol=0)
    assert ((sample.mean(dim=2) - 5.0).abs() < 4 * sigma[..., 0] / 20_000**0.5).all()


def test_a_scale_in_front_of_a_softplus_as_in_stable_audio() -> None:
    scale = torch.tensor([-40.0, -1.0, 0.0, 30.0])
    posterior = Posterior.from_softplus(torch.stack([torch.zeros(4), scale])[None])
    expected = torch.log1p(scale.double().exp()) + 1e-4
    torch.testing.assert_close(posterior.sigma[0, 0].double(), expected, rtol=1e-5, atol=0)
    # 30 stays 30: no limit as for log-variances, which would change what the model means
