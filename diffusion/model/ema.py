"""Moving averages of the weights, each as long as a fixed share of the training so far.

An exponential average has one length, too long for the first steps and too short for the last. The
power-function average of Karras et al. 2024, "Analyzing and improving the training dynamics of
diffusion models" (EDM2), section 3.1, grows with the training: its weighting is t^gamma, and its
width ``sigma_rel`` is a share of all steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from codec.errors import CheckpointError

SIGMA_REL = (0.05, 0.10)


def gamma_of(sigma_rel: float) -> float:
    """The exponent of the weighting t^gamma whose relative standard deviation is ``sigma_rel``.

    Solves sigma_rel^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)), from the moments of t^gamma
    (EDM2, appendix C).
    """
    assert 0 < sigma_rel < 0.28, sigma_rel  # gamma falls to 0 at 12^-0.5
    inverse = sigma_rel**-2
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


class PowerEMA:
    """Averages of a module's parameters, one for each ``sigma_rel``.

    >>> ema = PowerEMA(model)
    >>> ema.update(model)    # after every optimiser step
    >>> other.load_state_dict(ema.average(0.05))

    Averages are float32 and lie where the parameters lay when the object was made. Buffers are
    left alone.
    """

    def __init__(self, module: nn.Module, sigma_rel: Sequence[float] = SIGMA_REL) -> None:
        self.step = 0
        self._gammas = {width: gamma_of(width) for width in sigma_rel}
        self._averages = {
            width: {
                name: parameter.detach().to(torch.float32, copy=True)
                for name, parameter in module.named_parameters()
            }
            for width in sigma_rel
        }

    @property
    def sigma_rel(self) -> tuple[float, ...]:
        return tuple(self._gammas)

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the parameters after one more step; the first call copies them.

        beta_t = (1 - 1 / t)^(gamma + 1) (EDM2, section 3.1).
        """
        self.step += 1
        current = [parameter.float() for parameter in module.parameters()]
        for width, gamma in self._gammas.items():
            beta = (1 - 1 / self.step) ** (gamma + 1)
            torch._foreach_lerp_(list(self._averages[width].values()), current, 1 - beta)

    def average(self, sigma_rel: float) -> dict[str, Tensor]:
        """Name -> averaged parameter; the tensors change with the next ``update``."""
        return self._averages[sigma_rel]

    def state_dict(self) -> dict[str, Tensor]:
        """All of it as tensors, to be saved and resumed from."""
        tensors = {"step": torch.tensor(self.step)}
        for width, average in self._averages.items():
            tensors |= {f"{width}.{name}": value for name, value in average.items()}
        return tensors

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Take over what ``state_dict`` gave.

        Raises:
            CheckpointError: other widths, or another network.
        """
        expected = {key: value.shape for key, value in self.state_dict().items()}
        actual = {key: value.shape for key, value in tensors.items()}
        if expected != actual:
            other = sorted(key for key in expected | actual if expected.get(key) != actual.get(key))
            raise CheckpointError(
                f"{len(other)} tensors of the moving averages are missing, unknown or of another "
                f"shape, the first is '{other[0]}'; resume with the config the run began with"
            )
        self.step = int(tensors["step"])
        for width, average in self._averages.items():
            for name, value in average.items():
                value.copy_(tensors[f"{width}.{name}"])
