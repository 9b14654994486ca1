"""Both objectives: their ends, and that all they say about a prediction agrees."""

from __future__ import annotations

import math

import pytest
import torch

from diffusion.model.objectives import Objective, RectifiedFlow, VDiffusion, objective_of

OBJECTIVES = [RectifiedFlow(), VDiffusion()]
both = pytest.mark.parametrize("objective", OBJECTIVES, ids=["rectified_flow", "v"])

torch.manual_seed(0)
X, N = torch.randn(2, 5, 2, 3, 4, dtype=torch.float64)
T = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0], dtype=torch.float64)


def test_names():
    assert isinstance(objective_of("rectified_flow"), RectifiedFlow)
    assert isinstance(objective_of("v"), VDiffusion)


@both
def test_from_data_to_noise(objective: Objective):
    x_t = objective.noised(X, N, T)
    assert torch.equal(x_t[0], X[0])
    assert torch.equal(x_t[-1], N[-1])
    assert objective.alpha(T)[-1] == objective.sigma(T)[0] == 0
    assert (objective.alpha(T).diff() < 0).all()
    assert (objective.sigma(T).diff() > 0).all()


@both
def test_the_target_gives_back_the_data(objective: Objective):
    x_t, target = objective.noised(X, N, T), objective.target(X, N, T)
    torch.testing.assert_close(objective.denoised(target, x_t, T), X)


@both
def test_the_target_is_the_derivative_in_time(objective: Objective):
    """Up to the scale of time: v is one with respect to an angle of pi t / 2."""
    t = T.clamp(0.01, 0.99)
    slope = (objective.noised(X, N, t + 1e-5) - objective.noised(X, N, t - 1e-5)) / 2e-5
    scale = math.pi / 2 if isinstance(objective, VDiffusion) else 1.0
    torch.testing.assert_close(scale * objective.target(X, N, t), slope, atol=1e-6, rtol=1e-6)


def test_definitions():
    torch.testing.assert_close(RectifiedFlow().target(X, N, T), N - X)
    v = VDiffusion()
    torch.testing.assert_close(v.alpha(T) ** 2 + v.sigma(T) ** 2, torch.ones_like(T))
    torch.testing.assert_close(v.target(X, N, T)[2], (N - X)[2] / 2**0.5)


def test_times_of_rectified_flow_are_logit_normal():
    uniform = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    t = RectifiedFlow().sample_t(uniform)
    assert 0 < t.min() < t.max() < 1
    logit = (torch.logit(t) - RectifiedFlow.LOGIT_MEAN) / RectifiedFlow.LOGIT_DEVIATION
    assert abs(logit.mean()) < 1e-6
    assert abs(logit.std() - 1) < 1e-3
    assert abs(logit.pow(4).mean() - 3) < 0.02  # the kurtosis of a Gaussian


def test_times_of_v_are_uniform():
    uniform = torch.rand(100)
    assert torch.equal(VDiffusion().sample_t(uniform), uniform)
