"""The predictors that a loss is compared with, on synthetic Gaussian data."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from diffusion.model import flow
from diffusion.model.conditioning import Conditioning
from diffusion.model.config import load_diffusion_config
from diffusion.training.baselines import Baselines, GaussianPredictor, cosine_basis
from diffusion.training.windows import Windows

TIMES = (0.1, 0.5, 0.9)


def gaussian(items: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """(items, 3, 1) from N(mean, covariance), and these."""
    generator = torch.Generator().manual_seed(seed)
    factor = torch.tensor([[1.5, 0, 0], [0.8, 0.5, 0], [-0.3, 0.4, 0.2]], dtype=torch.float64)
    mean = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    drawn = torch.randn(items, 3, generator=generator, dtype=torch.float64) @ factor.T + mean
    return drawn[:, :, None], mean, factor @ factor.T


@pytest.mark.parametrize("t", TIMES)
def test_loss_is_that_of_the_exact_denoiser(t: float) -> None:
    """Beside a Monte-Carlo estimate with the posterior mean from the textbook formula."""
    x, mean, covariance = gaussian(200_000, seed=0)
    x = x[:, :, 0]
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    times = torch.full((len(x),), t, dtype=x.dtype)
    alpha, sigma = 1 - t, t
    x_t = flow.noised(x, noise, times)
    noisy = alpha**2 * covariance + sigma**2 * torch.eye(3, dtype=x.dtype)
    gain = alpha * covariance @ torch.linalg.inv(noisy)
    denoised = mean + (x_t - alpha * mean) @ gain.T
    prediction = flow.velocity(denoised, (x_t - alpha * denoised) / sigma)
    expected = float((prediction - flow.velocity(x, noise)).square().mean())

    fitted = GaussianPredictor(gaussian(200_000, seed=2)[0])
    found = fitted.loss(gaussian(200_000, seed=3)[0], t)
    assert found == pytest.approx(expected, rel=0.01)


def test_data_that_are_not_those_of_the_fit() -> None:
    """The loss is that of the wrong predictor, not of the best one."""
    t = 0.5
    wide, narrow = torch.randn(2, 50_000, 1, 1, generator=torch.Generator().manual_seed(0))
    found = GaussianPredictor(2 * wide).loss(narrow, t)
    gain = 0.5 * 4 / (0.25 * 4 + 0.25)
    # v is wrong by (x - estimate) / t.
    expected = ((1 - 0.5 * gain) ** 2 + 0.25 * gain**2) / t**2
    assert found == pytest.approx(expected, rel=0.02)
    assert found > GaussianPredictor(narrow).loss(narrow, t) * 1.05


def test_cosine_basis_is_orthonormal() -> None:
    basis = cosine_basis(12)
    torch.testing.assert_close(basis @ basis.T, torch.eye(12, dtype=torch.float64))


def slow(items: int, seed: int, frames: int = 64, rho: float = 0.95) -> Tensor:
    """(items, 2, frames): first-order autoregressions of unit variance."""
    noise = torch.randn(items, 2, frames, generator=torch.Generator().manual_seed(seed))
    x = noise.clone()
    for i in range(1, frames):
        x[..., i] = rho * x[..., i - 1] + math.sqrt(1 - rho**2) * noise[..., i]
    return x


@pytest.mark.parametrize("t", TIMES)
def test_looking_at_time_comes_near_the_full_covariance(t: float) -> None:
    x = slow(4000, seed=0)
    found = GaussianPredictor(x).loss(slow(4000, seed=1), t)
    distances = (torch.arange(64)[:, None] - torch.arange(64)).abs().double()
    power = torch.linalg.eigvalsh(0.95**distances)
    best = float((power / ((1 - t) ** 2 * power + t**2)).mean())
    frame = GaussianPredictor(x.transpose(1, 2).flatten(0, 1)[:, :, None])
    alone = frame.loss(slow(4000, seed=1).transpose(1, 2).flatten(0, 1)[:, :, None], t)
    assert best * 0.99 < found < 1.05 * best
    assert found < 0.9 * alone


def windows(x: Tensor, real: Tensor) -> Windows:
    items, frames = len(x), x.shape[3]
    config = load_diffusion_config("diffusion_tiny")
    nothing = Conditioning.none(items, config, frames)
    return Windows(x * real, torch.zeros_like(x), real, torch.zeros(items), nothing)


def test_zero_predictor() -> None:
    """Beside the mean square of the target where there is data, padding and mono included."""
    generator = torch.Generator().manual_seed(0)
    x = 1.5 * torch.randn(2000, 2, 4, 32, generator=generator) + 0.5
    real = torch.ones(2000, 2, 1, 32)
    real[:500, 1] = 0
    real[200:900, :, :, 25:] = 0
    noise = torch.randn(x.shape, generator=generator)
    found = Baselines(windows(x, real), windows(x, real))
    for t in TIMES:
        target = flow.velocity(x, noise).square() * real
        each = target.sum(dim=(1, 2, 3)) / (4 * real.sum(dim=(1, 2, 3)))
        assert found.losses(t)["zero"] == pytest.approx(float(each.mean()), rel=0.01)


def test_order_on_data_that_are_smooth_in_time() -> None:
    # Of variance 4: with 1, a single frame says nothing of the velocity at t = 0.5.
    x = 2 * slow(3000, seed=4, frames=32).unflatten(0, (-1, 4)).transpose(1, 2)
    real = torch.ones(len(x), 2, 1, 32)
    losses = Baselines(windows(x[:500], real[:500]), windows(x[500:], real[500:]))
    for t in TIMES:
        found = losses.losses(t)
        assert found["gaussian"] < found["gaussian_frame"] < found["zero"]


def test_clips_shorter_than_a_block_and_channels_never_trained_on() -> None:
    x = torch.randn(40, 2, 4, 32, generator=torch.Generator().manual_seed(0))
    short, mono = torch.ones(40, 2, 1, 32), torch.ones(40, 2, 1, 32)
    short[..., 10:] = 0
    mono[:, 1] = 0
    for real in (short, mono):
        found = Baselines(windows(x, real), windows(x, short)).losses(0.5)
        assert all(math.isfinite(value) for value in found.values())
        assert found["gaussian_frame"] < found["zero"]
