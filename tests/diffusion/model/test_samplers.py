"""Samplers against data whose denoiser and whose exact solution are known in closed form.

In one dimension the solution of the sampler's equation keeps the order of the points, so it maps
the noise's quantiles to the data's: every single sample can be checked, not only the moments.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from codec.errors import ConfigError
from diffusion.model import flow
from diffusion.model.conditioning import Conditioning
from diffusion.model.samplers import (
    GUIDED_BELOW,
    SAMPLERS,
    Denoise,
    Sampler,
    euler,
    guided,
    time_grid,
)
from diffusion.model.transformer import Transformer

NOISE = torch.special.ndtri((torch.arange(1000, dtype=torch.float64) + 0.5) / 1000)[:, None]


def even(steps: int, start: float = 1.0) -> Tensor:
    """Times for what is to be shown of the samplers themselves."""
    return torch.linspace(start, 0, steps + 1, dtype=torch.float64)


each_sampler = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())


class Mixture:
    """Gaussians with the given weights, means and deviations; x is (batch, 1)."""

    def __init__(self, weights: list[float], means: list[float], deviations: list[float]) -> None:
        self.weights = torch.tensor(weights, dtype=torch.float64)
        self.means = torch.tensor(means, dtype=torch.float64)
        self.deviations = torch.tensor(deviations, dtype=torch.float64)

    def denoiser(self) -> Denoise:
        """The exact mean of x given x_t."""

        def denoise(x_t: Tensor, t: Tensor) -> Tensor:
            alpha, sigma = 1 - t[:, None], t[:, None]
            variance = (alpha * self.deviations) ** 2 + sigma**2
            distance = x_t - alpha * self.means
            log_density = self.weights.log() - variance.log() / 2 - distance**2 / (2 * variance)
            means = self.means + alpha * self.deviations**2 / variance * distance
            return (log_density.softmax(1) * means).sum(1, keepdim=True)

        return denoise

    def solution(self, noise: Tensor) -> Tensor:
        """The data's quantiles at the noise's ranks, by bisection."""
        rank = torch.special.ndtr(noise)
        low, high = torch.full_like(noise, -20), torch.full_like(noise, 20)
        for _ in range(60):
            middle = (low + high) / 2
            below = self.weights * torch.special.ndtr((middle - self.means) / self.deviations)
            is_below = below.sum(1, keepdim=True) < rank
            low, high = torch.where(is_below, middle, low), torch.where(is_below, high, middle)
        return low

    def error(self, sampler: Sampler, steps: int) -> float:
        samples = sampler(self.denoiser(), NOISE, even(steps))
        return (samples - self.solution(NOISE)).square().mean().sqrt().item()


GAUSSIAN = Mixture([1.0], [0.5], [0.3])
TWO = Mixture([0.3, 0.7], [-1.5, 1.0], [0.4, 0.6])
each_data = pytest.mark.parametrize("data", [GAUSSIAN, TWO], ids=["gaussian", "two"])


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("midpoint", 2), ("dpmpp_2m", 2)])
def test_order_of_convergence(name: str, order: int):
    errors = [TWO.error(SAMPLERS[name], steps) for steps in (8, 16, 32)]
    assert math.log2(errors[0] / errors[2]) / 2 == pytest.approx(order, abs=0.2)
    assert errors[0] > errors[1] > errors[2]


@each_data
def test_higher_orders_beat_euler_at_equal_steps(data: Mixture):
    for steps in (4, 8, 16, 32):
        errors = {name: data.error(sampler, steps) for name, sampler in SAMPLERS.items()}
        assert errors["midpoint"] < errors["euler"], errors
        assert errors["dpmpp_2m"] < errors["euler"], errors


@pytest.mark.parametrize(("name", "steps"), [("dpmpp_2m", 12), ("midpoint", 8)])
def test_no_direction_of_the_data_loses_its_spread(name: str, steps: int):
    """Gaussians of eigenvalues from 0.1, of details, to 1000, of what a whole window has in common:
    its level, which 8 even steps in t left at a fifth of its deviation.
    """
    eigenvalues = torch.logspace(-1, 3, 20, dtype=torch.float64)

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = 1 - t[:, None], t[:, None]
        return alpha * eigenvalues / (alpha**2 * eigenvalues + sigma**2) * x_t

    samples = SAMPLERS[name](denoise, torch.ones(1, 20, dtype=torch.float64), time_grid(steps))
    torch.testing.assert_close(
        samples[0] / eigenvalues.sqrt(), torch.ones_like(samples[0]), atol=0.05, rtol=0
    )


@pytest.mark.parametrize("start", [0.05, 0.5, 0.95, 0.999999, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 8, 100])
def test_times_fall_from_the_start_to_zero(steps: int, start: float):
    times = time_grid(steps, start)
    assert times.shape == (steps + 1,)
    assert times.dtype == torch.float64
    assert times[0].item() == pytest.approx(start, abs=1e-12)
    assert times[-1] == 0
    assert (times.diff() < 0).all()


@each_sampler
@each_data
def test_moments(data: Mixture, sampler: Sampler):
    samples = sampler(data.denoiser(), NOISE, even(100))
    exact = data.solution(NOISE)
    assert samples.mean().item() == pytest.approx(exact.mean().item(), abs=0.01)
    assert samples.std().item() == pytest.approx(exact.std().item(), rel=0.03)
    assert (samples < 0).sum().item() == pytest.approx((exact < 0).sum().item(), abs=5)


@each_sampler
def test_a_start_on_the_way(sampler: Sampler):
    """From x_t at t = 0.6, as it lies on the exact path of a Gaussian."""
    t = torch.tensor([0.6], dtype=torch.float64)
    alpha, sigma = 1 - t, t
    x_t = alpha * 0.5 + ((alpha * 0.3) ** 2 + sigma**2).sqrt() * NOISE
    samples = sampler(GAUSSIAN.denoiser(), x_t, even(50, start=0.6))
    torch.testing.assert_close(samples, 0.5 + 0.3 * NOISE, atol=0.02, rtol=0.02)


@each_sampler
@pytest.mark.parametrize("steps", [1, 2, 3, 100])
def test_a_certain_denoiser_is_followed_exactly(sampler: Sampler, steps: int):
    x = torch.randn(2, 3, 4)
    seen = []
    y = sampler(
        lambda x_t, t: x,
        torch.randn(2, 3, 4),
        time_grid(steps),
        lambda done, total: seen.append((done, total)),
    )
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, x)
    assert seen == [(i + 1, steps) for i in range(steps)]


@each_sampler
def test_evaluations(sampler: Sampler):
    """Never at t = 0; what the network is given is noised as its time says."""
    x, noise, times = torch.randn(2, 3), torch.randn(2, 3), []

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        assert t.shape == (2,)
        torch.testing.assert_close(x_t, flow.noised(x, noise, t))
        times.append(t[0].item())
        return x

    sampler(denoise, noise, time_grid(8))
    assert times[0] == 1
    assert times == sorted(times, reverse=True)
    assert times[-1] > 0
    assert len(times) == (16 if sampler is SAMPLERS["midpoint"] else 8)


@pytest.mark.parametrize("steps", [0, -1, 101])
def test_too_many_or_too_few_steps(steps: int):
    with pytest.raises(ConfigError, match=f"{steps} sampling steps, expected 1 to 100"):
        time_grid(steps)


@pytest.mark.parametrize("start", [0.0, 1.1])
def test_a_start_outside_the_path(start: float):
    with pytest.raises(ConfigError, match="expected above 0 and at most 1"):
        time_grid(8, start)


def calls_of(model: Transformer) -> list[int]:
    """Batch sizes, filled as the model is called."""
    sizes: list[int] = []
    model.register_forward_pre_hook(lambda _, arguments: sizes.append(len(arguments[0])))
    return sizes


def test_guidance_exaggerates_what_the_label_changes_and_keeps_the_size(
    tiny_transformer: Transformer, tiny_conditioning: Conditioning
):
    x_t, t = torch.randn_like(tiny_conditioning.known), torch.tensor([0.3, 0.6, GUIDED_BELOW])
    sizes = calls_of(tiny_transformer)

    def estimate(conditioning: Conditioning, guidance: float) -> Tensor:
        return guided(tiny_transformer, conditioning, guidance)(x_t, t)

    with_label = estimate(tiny_conditioning, 1.0)
    without = estimate(tiny_conditioning.unconditional(), 1.0)
    assert (with_label - without).abs().max() > 1e-3
    assert sizes == [3, 3]
    wanted = 1 - tiny_conditioning.mask[:, None, None, :]

    def size(estimate: Tensor) -> Tensor:
        return (estimate * wanted).square().sum((1, 2, 3), keepdim=True).sqrt()

    for guidance in (2.5, 0.0, 20.0):
        exaggerated = without + guidance * (with_label - without)
        rescaled = exaggerated * size(with_label) / size(exaggerated)
        expected = wanted * rescaled + (1 - wanted) * tiny_conditioning.known
        made = estimate(tiny_conditioning, guidance)
        torch.testing.assert_close(made, expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(size(made), size(with_label), atol=1e-4, rtol=1e-4)
    assert sizes[2:] == [6, 6, 6]


def test_where_level_is_decided_nothing_is_exaggerated(
    tiny_transformer: Transformer, tiny_conditioning: Conditioning
):
    x_t, t = torch.randn_like(tiny_conditioning.known), torch.full((3,), GUIDED_BELOW + 0.01)
    sizes = calls_of(tiny_transformer)
    guided_far, as_it_is = (guided(tiny_transformer, tiny_conditioning, g)(x_t, t) for g in (5, 1))
    assert torch.equal(guided_far, as_it_is)
    assert sizes == [3, 3]


def test_labels_are_mixed_by_their_estimates(
    tiny_transformer: Transformer, tiny_conditioning: Conditioning
):
    x_t, t = torch.randn_like(tiny_conditioning.known), torch.tensor([0.3, 0.6, GUIDED_BELOW])
    sizes = calls_of(tiny_transformer)

    def estimate(*mixture: tuple[int, float]) -> Tensor:
        return guided(tiny_transformer, tiny_conditioning, 1.0, mixture)(x_t, t)

    first, third = estimate((1, 1.0)), estimate((3, 1.0))
    assert (first - third).abs().max() > 1e-3
    mixed = estimate((1, 0.25), (3, 0.75))
    torch.testing.assert_close(mixed, 0.25 * first + 0.75 * third, atol=1e-5, rtol=1e-4)
    guided(tiny_transformer, tiny_conditioning, 3.0, ((1, 0.5), (3, 0.5)))(x_t, t)
    assert sizes == [3, 3, 6, 9]


@torch.no_grad()
def test_a_pooled_mean_is_what_is_made(
    tiny_transformer: Transformer, tiny_conditioning: Conditioning
):
    pooled = torch.randn(tiny_conditioning.known.shape[1:3])
    denoise = guided(tiny_transformer, tiny_conditioning, 2.0, pooled=pooled)
    x = euler(denoise, torch.randn_like(tiny_conditioning.known), time_grid(5))
    torch.testing.assert_close(x[0, :, :, 5:].mean(2), pooled, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(x[1].mean(2), pooled, atol=1e-4, rtol=1e-4)
    mask = tiny_conditioning.mask[:, None, None, :]
    torch.testing.assert_close(x * mask, tiny_conditioning.known * mask, atol=1e-5, rtol=1e-5)
    assert x[2, 1].abs().max() < 1e-5  # absent


def test_nothing_to_guide_by_costs_no_second_pass(
    tiny_transformer: Transformer, tiny_conditioning: Conditioning
):
    sizes = calls_of(tiny_transformer)
    x_t = torch.randn_like(tiny_conditioning.known)
    bare = tiny_conditioning.unconditional()
    guided(tiny_transformer, bare, 4.0)(x_t, torch.ones(3))
    assert sizes == [3]


@each_sampler
@torch.no_grad()
def test_sampling_ends_in_what_is_known_and_leaves_absent_channels_empty(
    sampler: Sampler,
    tiny_transformer: Transformer,
    tiny_conditioning: Conditioning,
):
    denoise = guided(tiny_transformer, tiny_conditioning, 2.0)
    x = sampler(denoise, torch.randn_like(tiny_conditioning.known), time_grid(5))
    mask = tiny_conditioning.mask[:, None, None, :]
    torch.testing.assert_close(x * mask, tiny_conditioning.known * mask, atol=1e-5, rtol=1e-5)
    assert x[2, 1].abs().max() < 1e-5
    assert x[2, 0].abs().min() > 0


@torch.no_grad()
def test_what_is_known_guides_the_rest(
    tiny_transformer: Transformer, tiny_conditioning: Conditioning
):
    noise = torch.randn_like(tiny_conditioning.known)

    def sample(**changes: Any) -> Tensor:
        conditioning = replace(tiny_conditioning, **changes)
        denoise = guided(tiny_transformer, conditioning, 1.0)
        return euler(denoise, noise, time_grid(4))

    difference = sample() - sample(
        known=tiny_conditioning.known + tiny_conditioning.mask[:, None, None]
    )
    assert difference[0, :, :, 5:].abs().max() > 1e-3
    assert difference[1:].abs().max() == 0
