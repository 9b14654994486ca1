"""The weight of the KL term: fixed, annealed, or controlled to hold an information rate.

The KL of a latent value is the bits that value carries about the sound (Alemi et al. 2018,
"Fixing a Broken ELBO"), so a target for it sets the rate of the codec directly.
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor

from codec.network.bottleneck import Posterior
from codec.network.config import ModelConfig
from codec.training.config import KLConfig

N = TypeVar("N", float, Tensor)

NATS_PER_BIT = math.log(2.0)
ACTIVE_NATS = 0.05
"""A channel whose mean KL is below this carries nothing: the decoder ignores it."""

COLLAPSED_SHARE = 0.5
"""Fewer active channels than this share is reported as posterior collapse."""

_RESPONSE = 0.02
"""Largest relative change of the controlled weight per step, at 100 % error."""


def kl_to_kbps(nats_per_value: N, config: ModelConfig) -> N:
    """Information rate of one coded channel, from the mean KL of a latent value."""
    return nats_per_value / NATS_PER_BIT * config.latent_dim * config.frame_rate / 1000


def kbps_to_kl(kbps: float, config: ModelConfig) -> float:
    """Mean KL of a latent value (nats) at an information rate of one coded channel."""
    return kbps * 1000 * NATS_PER_BIT / (config.latent_dim * config.frame_rate)


def kl_per_channel(posterior: Posterior) -> Tensor:
    """Mean KL of each latent channel over batch and time, in nats: (latent_dim,)."""
    return posterior.kl().mean(dim=(0, 2))


def kl_loss(per_channel: Tensor, over_processes: Tensor, free_nats: float) -> Tensor:
    """Mean KL per value; a channel below ``free_nats`` is not pushed further down.

    Free bits as in Kingma et al. 2016, "Improved variational inference with inverse
    autoregressive flow", eq. 15. Which channels are below is read from ``over_processes``, the
    mean over all processes: else each process would decide from its part of the batch.
    """
    return torch.where(over_processes > free_nats, per_channel, free_nats).mean()


def active_channels(per_channel: Tensor) -> Tensor:
    """How many channels carry something, ()."""
    return (per_channel > ACTIVE_NATS).sum()


def collapsed(per_channel: Tensor) -> bool:
    return bool(active_channels(per_channel) < COLLAPSED_SHARE * len(per_channel))


class KLWeight:
    """The weight of the KL term at each step; holds state only for the controller."""

    def __init__(
        self,
        config: KLConfig,
        model: ModelConfig,
        accumulate: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        self.accumulate = accumulate
        self._observed: list[Tensor] = []
        self.target = kbps_to_kl(config.target_kbps, model)
        self._value = torch.tensor(config.weight, device=device)
        """The controlled weight, on the device, where it is measured and used."""

    def at(self, step: int) -> Tensor | float:
        """The weight for the given step.

        ``linear`` rises over the first ``anneal_steps``; ``cyclical`` rises over the first half
        of every period of ``anneal_steps`` and stays for the second (Fu et al. 2019, "Cyclical
        annealing schedule", with R = 0.5); ``target`` is what :meth:`observe` left.
        """
        config = self.config
        if config.mode == "linear":
            return config.weight * min(1.0, step / config.anneal_steps)
        if config.mode == "cyclical":
            position = (step % config.anneal_steps) / config.anneal_steps
            return config.weight * min(1.0, 2 * position)
        return self._value

    def observe(self, kl: Tensor) -> None:
        """Move the controlled weight by the measured KL per value (mean over all processes), ().

        Once per step: the ``accumulate`` forward passes of a step are weighted alike.
        """
        self._observed.append(kl.detach())
        if len(self._observed) < self.accumulate:
            return
        mean = torch.stack(self._observed).mean()
        self._observed.clear()
        if self.config.mode == "target":
            error = ((mean - self.target) / self.target).clamp(-1.0, 1.0)
            self._value = (self._value * (_RESPONSE * error).exp()).clamp(1e-8, 1e3)

    def state(self) -> dict[str, float]:
        return {"value": float(self._value)}

    def load_state(self, state: dict[str, float]) -> None:
        self._value = torch.full_like(self._value, state["value"])
        self._observed.clear()


def reduce_mean(value: Tensor) -> Tensor:
    """Mean over processes of a detached copy; unchanged outside a process group."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return value.detach()
    reduced = value.detach().clone()
    torch.distributed.all_reduce(reduced)
    return reduced / torch.distributed.get_world_size()
