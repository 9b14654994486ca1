"""Rectified flow: its ends, and that all it says about a prediction agrees."""

from __future__ import annotations

import torch

from diffusion.model import flow

torch.manual_seed(0)
X, N = torch.randn(2, 5, 2, 3, 4, dtype=torch.float64)
T = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0], dtype=torch.float64)


def test_from_data_to_noise():
    x_t = flow.noised(X, N, T)
    assert torch.equal(x_t[0], X[0])
    assert torch.equal(x_t[-1], N[-1])


def test_the_velocity_gives_back_the_data():
    x_t = flow.noised(X, N, T)
    torch.testing.assert_close(flow.denoised(flow.velocity(X, N), x_t, T), X)


def test_the_velocity_is_the_derivative_in_time():
    t = T.clamp(0.01, 0.99)
    slope = (flow.noised(X, N, t + 1e-5) - flow.noised(X, N, t - 1e-5)) / 2e-5
    torch.testing.assert_close(flow.velocity(X, N), slope, atol=1e-6, rtol=1e-6)


def test_the_time_of_a_quantiser_matches_its_noise():
    """At the time of a step noise is to data as rounding errors are."""
    steps = torch.tensor([[0.5, 0.5], [0.5, 0.5]], dtype=torch.float64)
    level = flow.quantisation_level(steps)
    assert abs(level - 0.5 / 12**0.5) < 1e-12
    t = flow.time_of(level)
    assert abs(t / (1 - t) - level) < 1e-12
    x = torch.randn(2, 2, 100_000, dtype=torch.float64)
    error = (x / 0.5).round() * 0.5 - x
    assert abs(error.std() / level - 1) < 0.01


def test_channels_that_say_nothing_count_as_noise_of_the_size_of_the_data():
    steps = torch.tensor([[1000.0, 1000.0]])
    assert flow.quantisation_level(steps) == 1
    assert flow.time_of(flow.quantisation_level(steps)) == 0.5


def test_every_item_of_a_batch_has_the_level_of_its_own_steps():
    steps = torch.tensor([[[0.6, 0.6], [0.6, 0.6]], [[0.0, 1.2], [1.2, 0.0]]])
    expected = torch.tensor([0.6, 1.2 / 2**0.5]) / 12**0.5
    torch.testing.assert_close(flow.quantisation_level(steps), expected)


def test_times_near_a_step():
    uniform = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    level = torch.tensor(0.3, dtype=torch.float64)
    t = flow.times_near(level, uniform)
    assert 0 < t[0] < t[-1] < 1
    assert (t.diff() > 0).all()  # quantiles of the times are those of the uniform numbers
    assert abs(t.median() - flow.time_of(level)) < 1e-3
    assert abs(torch.log(t / (1 - t)).std() - flow.NEAR_DEVIATION) < 1e-3


def test_times_are_logit_normal():
    uniform = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    t = flow.training_times(uniform)
    assert 0 < t[0] < t[-1] < 1
    assert (t.diff() > 0).all()
    logit = (torch.logit(t) - flow.LOGIT_MEAN) / flow.LOGIT_DEVIATION
    assert abs(logit.mean()) < 1e-6
    assert abs(logit.std() - 1) < 1e-3
    assert abs(logit.pow(4).mean() - 3) < 0.02  # the kurtosis of a Gaussian
