"""The MDCT that likelihoods are of is orthonormal, and in order of frequency."""

from __future__ import annotations

import math

import pytest
import torch

from codec.network.mdct import MDCT

HOP, RATE = 512, 16000


@pytest.mark.parametrize("frames", [2, 7])
def test_it_keeps_the_energy(frames: int) -> None:
    """Away from the edges, half a hop of which has no other window."""
    half = HOP // 2
    waveform = torch.randn(2, frames * HOP, generator=torch.Generator().manual_seed(0))
    waveform[:, :half] = waveform[:, -half:] = 0
    coefficients = MDCT(HOP)(waveform)
    assert coefficients.shape == (2, frames, HOP)
    energies = coefficients.square().sum(dim=(1, 2))
    torch.testing.assert_close(energies, waveform.square().sum(dim=1), rtol=1e-5, atol=0)


def test_coefficients_of_noise_have_its_rms() -> None:
    noise = 0.1 * torch.randn(1, 50 * HOP, generator=torch.Generator().manual_seed(0))
    assert MDCT(HOP)(noise).std() == pytest.approx(0.1, rel=0.02)


def test_a_sine_is_in_the_coefficients_of_its_frequency() -> None:
    sine = torch.sin(2 * math.pi * 2000.0 * torch.arange(20 * HOP) / RATE)[None]
    energy = MDCT(HOP)(sine)[:, 2:-2].square().sum(dim=(0, 1))
    middle = round(2000.0 * 2 * HOP / RATE)
    assert energy[middle - 4 : middle + 4].sum() > 0.99 * energy.sum()
