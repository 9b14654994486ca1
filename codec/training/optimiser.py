"""AdamW that skips a gradient that is not finite, without waiting for the device to know it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from codec.errors import LacunaError


def adamw(
    parameters: Iterable[nn.Parameter],
    rate: float,
    betas: tuple[float, float],
    weight_decay: float = 0.01,
) -> torch.optim.AdamW:
    """The fused implementation: one kernel for all weights, on CPUs too."""
    return torch.optim.AdamW(
        parameters, lr=rate, betas=betas, weight_decay=weight_decay, fused=True
    )


def skip_unless(finite: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """The next step of a fused ``optimizer`` changes nothing unless ``finite``, a bool, is True.

    What a gradient scaler does; it is decided where the gradient is.
    """
    optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]


class BadSteps:
    """How many steps in a row have had a gradient that is not finite, counted on the device."""

    def __init__(self, count: int, limit: int, device: torch.device) -> None:
        """Begin at ``count``; at ``limit`` the counting ends, whatever comes after."""
        self._count = torch.tensor(count, device=device)
        self._limit = limit

    def observe(self, finite: Tensor) -> None:
        forgiven = finite & (self._count < self._limit)
        self._count = torch.where(forgiven, torch.zeros_like(self._count), self._count + 1)

    def check(self, whose: str, end: str, folder: Path) -> int:
        """Wait for the device, and tell.

        Raises:
            LacunaError: the limit is reached.
        """
        count = int(self._count)
        if count >= self._limit:
            raise LacunaError(
                f"{whose} was not finite for {self._limit} steps in a row, {end}; lower the "
                f"learning rate and start again from the last checkpoint in '{folder}'"
            )
        return count


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser with names such as ``3.exp_avg``."""
    states = optimizer.state_dict()["state"]
    return {f"{index}.{k}": v for index, values in states.items() for k, v in values.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of :func:`optimizer_tensors`."""
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        states.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})
