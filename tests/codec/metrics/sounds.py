"""Sounds of 3 s at 44.1 kHz whose measures are known: (time,) each."""

from __future__ import annotations

import torch
from torch import Tensor

SAMPLES = 3 * 44_100


def chord(hertz: tuple[float, ...] = (220.0, 554.4, 1318.5, 3322.4)) -> Tensor:
    t = torch.arange(SAMPLES, dtype=torch.float64) / 44_100
    return sum(0.1 * torch.sin(2 * torch.pi * f * t + f) for f in hertz).float()


def noise(seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(SAMPLES, generator=torch.Generator().manual_seed(seed))


def bursts(hertz: float) -> Tensor:
    """Noise whose level swings fully ``hertz`` times a second."""
    t = torch.arange(SAMPLES) / 44_100
    return noise() * (1 + torch.cos(2 * torch.pi * hertz * t))
