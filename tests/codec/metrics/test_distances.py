"""Distances between signals, against cases whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from codec.metrics.distances import si_sdr

SAMPLE_RATE = 16000


def noise(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, SAMPLE_RATE, generator=torch.Generator().manual_seed(seed))


def test_si_sdr_of_orthogonal_noise_is_the_ratio_of_energies_whatever_the_gain():
    t = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    target = torch.sin(2 * math.pi * 100 * t)[None]
    error = 0.1 * torch.sin(2 * math.pi * 200 * t)[None]
    assert si_sdr(target + error, target).item() == pytest.approx(20.0, abs=0.01)
    assert si_sdr(3 * (target + error), target).item() == pytest.approx(20.0, abs=0.01)


def test_si_sdr_is_finite_for_silence_and_for_equal_signals():
    for estimate, target in ((torch.zeros(1, 100), torch.zeros(1, 100)), (noise(), noise())):
        assert torch.isfinite(si_sdr(estimate, target)).all()
