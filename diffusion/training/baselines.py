"""What a loss means: the losses of predictors that know next to nothing about the data.

A network's loss lies between that of predicting zero and one that nobody knows. The best linear
predictor knows the mean and covariance of the data and nothing else: it is the exact denoiser of
Gaussian data, and the least a network should beat.

Let x_t = alpha x + sigma n with unit Gaussian noise, and let the target be a x + b n. In a basis in
which the data's covariance is diagonal, with variances lambda, the minimum mean squared error
estimate (Wiener's) of each component of x - mu is w (x_t - alpha mu), where

    w = alpha lambda / (alpha^2 lambda + sigma^2).

An error of the estimate of x makes the estimate of n wrong by -alpha / sigma of it, and the
prediction by a - b alpha / sigma. So on data whose components have the variance s, which is lambda
only if they are those that the predictor was fitted to, the loss is the mean over components of

    (a - b alpha / sigma)^2 ((1 - alpha w)^2 s + sigma^2 w^2),

which for s = lambda is (a sigma - b alpha)^2 lambda / (alpha^2 lambda + sigma^2). No noise has to
be drawn, and only second moments count, whether the data are Gaussian or not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.training.windows import Windows

BLOCK_FRAMES = 64
"""Length of the blocks in which the predictor that looks at time works: 3 s at 21.5 Hz."""


class GaussianPredictor:
    """The best predictor of data that are stationary and Gaussian.

    With blocks of one frame it knows the covariance over all channels of a frame and takes frames
    for independent. With longer blocks it knows as much in every frequency of a cosine transform
    over time, and takes frequencies for independent: its basis is fixed, so its loss is exact,
    and at least as large as that of the full covariance over the block.
    """

    def __init__(self, blocks: Tensor) -> None:
        """Fit to ``blocks`` (items, channels, frames), with the channels of all coded channels."""
        blocks = blocks.double()
        self._mean = blocks.mean(dim=(0, 2))
        self._cosines = cosine_basis(blocks.shape[2])
        values = self._transformed(blocks)
        covariance = values @ values.mT / values.shape[2]
        self.variances, self._basis = torch.linalg.eigh(covariance)
        self.variances = self.variances.clamp(min=0)
        """(frames, channels)"""

    def _transformed(self, blocks: Tensor) -> Tensor:
        """(items, channels, frames) -> (frequencies, channels, items)."""
        centred = blocks.double() - self._mean[:, None]
        return torch.einsum("kt,ict->kci", self._cosines, centred)

    def loss(self, blocks: Tensor, t: float) -> float:
        """Its expected squared error of the velocity on ``blocks``, per value.

        Args:
            blocks: (items, channels, frames) as for the fit; other data than the fit's will do.
            t: 0 < t < 1.
        """
        alpha, sigma = 1 - t, t
        components = self._basis.mT @ self._transformed(blocks)
        power = components.square().mean(dim=2)
        gain = alpha * self.variances / (alpha**2 * self.variances + sigma**2)
        error = (1 - alpha * gain).square() * power + sigma**2 * gain.square()
        return float(error.mean() / t**2)  # the velocity is (x_t - x) / t


def cosine_basis(frames: int) -> Tensor:
    """The orthonormal cosine transform (DCT-II), (frequencies, frames), float64."""
    k = torch.arange(frames, dtype=torch.float64)[:, None]
    basis = torch.cos(math.pi / frames * k * (torch.arange(frames) + 0.5)) * math.sqrt(2 / frames)
    basis[0] /= math.sqrt(2)
    return basis


@dataclass(frozen=True)
class _Part:
    """Validation windows with one number of channels, and what predicts them."""

    share: float
    frames: Tensor
    predictors: dict[str, tuple[GaussianPredictor, Tensor]]
    """Name -> predictor and the blocks that it is judged by."""


class Baselines:
    """Losses of the predictors on validation windows: fitted to training windows, once."""

    def __init__(self, training: Windows, validation: Windows) -> None:
        self._parts = []
        for count in range(1, validation.x.shape[1] + 1):
            members = _channels(validation) == count
            if not members.any():
                continue
            # One channel of a stereo recording teaches what a mono one is like.
            similar = _channels(training) >= count
            reference, chosen = (training, similar) if similar.any() else (validation, members)
            predictors: dict[str, tuple[GaussianPredictor, Tensor]] = {}
            for name, frames in (("gaussian_frame", 1), ("gaussian", BLOCK_FRAMES)):
                frames = min(frames, validation.x.shape[3])
                fit, test = (
                    _blocks(windows, which, count, frames)
                    for windows, which in ((reference, chosen), (validation, members))
                )
                if not len(fit) or not len(test):  # clips are too short to look at time
                    predictors[name] = predictors["gaussian_frame"]
                else:
                    predictors[name] = GaussianPredictor(fit), test
            share = float(members.float().mean())
            self._parts.append(_Part(share, _blocks(validation, members, count, 1), predictors))

    def losses(self, t: float) -> dict[str, float]:
        """``zero``, ``gaussian_frame`` and ``gaussian``, which looks at time as well."""
        total = dict.fromkeys(("zero", "gaussian_frame", "gaussian"), 0.0)
        for part in self._parts:
            power = float(part.frames.double().square().mean())
            total["zero"] += part.share * (power + 1)
            for name, (predictor, blocks) in part.predictors.items():
                total[name] += part.share * predictor.loss(blocks, t)
        return total


def _channels(windows: Windows) -> Tensor:
    """How many coded channels each window has: (batch,)."""
    return windows.real[:, :, 0, 0].sum(dim=1)


def _blocks(windows: Windows, chosen: Tensor, count: int, frames: int) -> Tensor:
    """The whole blocks of ``frames`` in the chosen windows: (blocks, count * latent_dim, frames).

    Padding is at the end of a window; a block with any of it is left out.
    """
    x = windows.x[chosen][:, :count].flatten(1, 2)
    real = windows.real[chosen][:, 0, 0]
    whole = x.shape[2] // frames * frames
    x = x[:, :, :whole].unflatten(2, (-1, frames)).transpose(1, 2).flatten(0, 1)
    return x[real[:, :whole].unflatten(1, (-1, frames)).amin(dim=2).flatten() > 0]
