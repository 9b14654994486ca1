"""Rectified flow: what the network predicts, and at which times it is trained.

Data x and Gaussian noise n are mixed on a straight path, x_t = (1 - t) x + t n, from data at t = 0
to noise at t = 1. The network predicts the velocity n - x (Liu et al. 2022, "Flow straight and
fast", equation 1), from which an estimate of x follows; samplers work with that alone.

Shapes: x, noise, x_t and velocity are (batch, ...), t is (batch,) with values from 0 to 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

LOGIT_MEAN, LOGIT_DEVIATION = 0.6, 1.3
"""The times of training. They are logit-normal after Esser et al. 2024, "Scaling rectified flow
transformers", section 3.1, and moved towards noise as they do for large images (section 5.3.2): a
window has thousands of values that hang together, and what a label says of them is decided at t
above 0.9, which the plain distribution hardly ever visits."""

NEAR_DEVIATION = 1.0
"""Deviation of log(t / (1 - t)), in natural units, around what a quantiser's step implies."""


def noised(x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t."""
    t = _beside(t, x)
    return (1 - t) * x + t * noise


def velocity(x: Tensor, noise: Tensor) -> Tensor:
    """What the network is trained to predict, by mean squared error."""
    return noise - x


def denoised(velocity: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """The estimate of x."""
    return x_t - _beside(t, x_t) * velocity


def training_times(uniform: Tensor) -> Tensor:
    """Times to train at, from as many uniform numbers in (0, 1)."""
    return torch.sigmoid(LOGIT_MEAN + LOGIT_DEVIATION * torch.special.ndtri(uniform))


def quantisation_level(steps: Tensor) -> Tensor:
    """How large the errors of rounding to multiples of ``steps`` are, as one number.

    Args:
        steps: (..., coded_channels, latent_dim), in standard units.

    Returns:
        (...,): the root of the mean of step^2 / 12, which no channel exceeds by more than it
        varies itself: an error beyond 1 says that the channel holds nothing.
    """
    return (steps.square() / 12).clamp(max=1).mean(dim=(-2, -1)).sqrt()


def time_of(level: Tensor) -> Tensor:
    """The time at which noise is to the data as ``level`` is to 1: t / (1 - t) = level."""
    return level / (1 + level)


def times_near(level: Tensor, uniform: Tensor) -> Tensor:
    """Times to train denoising at: log-normal around ``time_of(level)``, as far as samplers go."""
    return time_of(level * torch.exp(NEAR_DEVIATION * torch.special.ndtri(uniform)))


def _beside(t: Tensor, x: Tensor) -> Tensor:
    """(batch,) as (batch, 1, ...), with as many dimensions as ``x``."""
    return t.reshape(-1, *[1] * (x.ndim - 1))
