"""What the network predicts: rectified flow or v, behind one interface.

Both mix data x and Gaussian noise n to x_t = alpha(t) x + sigma(t) n, with t = 0 for data and
t = 1 for noise. Whatever the network predicts, an estimate of x follows from it, and samplers
work with that alone.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol

import torch
from torch import Tensor


class Objective(Protocol):
    """Shapes: x, noise, x_t and predictions are (batch, ...), t is (batch,) with values 0 to 1."""

    def alpha(self, t: Tensor) -> Tensor:
        """The data's share at times ``t``, of any shape: 1 at t = 0, 0 at t = 1."""
        ...

    def sigma(self, t: Tensor) -> Tensor:
        """The noise's share at times ``t``, of any shape: 0 at t = 0, 1 at t = 1."""
        ...

    def noised(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t."""
        ...

    def target(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network is trained to predict, by mean squared error."""
        ...

    def denoised(self, prediction: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The estimate of x."""
        ...

    def sample_t(self, uniform: Tensor) -> Tensor:
        """Times to train at, from as many uniform numbers in (0, 1)."""
        ...


class RectifiedFlow:
    """Straight paths x_t = (1 - t) x + t n; the prediction is the velocity n - x.

    Liu et al. 2022, "Flow straight and fast"; times are logit-normal after Esser et al. 2024,
    "Scaling rectified flow transformers", section 3.1, and moved towards noise as they do for large
    images (section 5.3.2): a window has thousands of values that hang together, and what a label
    says of them is decided at t above 0.9, which the plain distribution hardly ever visits.
    """

    LOGIT_MEAN, LOGIT_DEVIATION = 0.6, 1.3

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def noised(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        t = _beside(t, x)
        return (1 - t) * x + t * noise

    def target(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return noise - x

    def denoised(self, prediction: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        return x_t - _beside(t, x_t) * prediction

    def sample_t(self, uniform: Tensor) -> Tensor:
        return torch.sigmoid(self.LOGIT_MEAN + self.LOGIT_DEVIATION * torch.special.ndtri(uniform))


class VDiffusion:
    """v-prediction with the cosine schedule: alpha = cos(pi t / 2), sigma = sin(pi t / 2).

    Salimans & Ho 2022, "Progressive distillation for fast sampling of diffusion models", appendix
    D: v = alpha n - sigma x, the derivative of x_t with respect to the angle pi t / 2. Times are
    uniform.
    """

    def alpha(self, t: Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * (1 - t))  # exactly 0 at t = 1, as cos(pi / 2) is not

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * t)

    def noised(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        t = _beside(t, x)
        return self.alpha(t) * x + self.sigma(t) * noise

    def target(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        t = _beside(t, x)
        return self.alpha(t) * noise - self.sigma(t) * x

    def denoised(self, prediction: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        t = _beside(t, x_t)
        return self.alpha(t) * x_t - self.sigma(t) * prediction

    def sample_t(self, uniform: Tensor) -> Tensor:
        return uniform


def objective_of(name: Literal["rectified_flow", "v"]) -> Objective:
    """The objective that a config names."""
    return RectifiedFlow() if name == "rectified_flow" else VDiffusion()


def _beside(t: Tensor, x: Tensor) -> Tensor:
    """(batch,) as (batch, 1, ...), with as many dimensions as ``x``."""
    return t.reshape(-1, *[1] * (x.ndim - 1))
