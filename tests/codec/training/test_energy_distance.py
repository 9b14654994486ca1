"""The energy distance: honest noise is best, where a plain distance would have none."""

import pytest
import torch

from codec.training.energy_distance import LogSpectra, distance, energy_distance


@pytest.fixture(scope="module")
def spectra() -> LogSpectra:
    return LogSpectra(44100, torch.device("cpu"))


def noise(level: float, seed: int) -> torch.Tensor:
    return level * torch.randn(1, 44100, generator=torch.Generator().manual_seed(seed))


def test_noise_at_its_level_is_best(spectra: LogSpectra) -> None:
    recording = spectra(noise(0.1, 0))
    at = {
        level: float(energy_distance(recording, *(spectra(noise(level, s)) for s in (1, 2))))
        for level in (0.07, 0.1, 0.14)
    }
    assert at[0.1] < at[0.07]
    assert at[0.1] < at[0.14]


def test_two_equal_draws_are_not_honest(spectra: LogSpectra) -> None:
    """A decoder that repeats one texture pays for it."""
    recording, first, second = (spectra(noise(0.1, seed)) for seed in (0, 1, 2))
    assert energy_distance(recording, first, first) > energy_distance(recording, first, second)


def test_a_missing_partial_costs(spectra: LogSpectra) -> None:
    time = torch.arange(44100) / 44100
    tone = 0.05 * torch.sin(2 * torch.pi * 3000 * time)[None]
    recording = spectra(tone + noise(0.01, 0))
    there = [spectra(tone + noise(0.01, seed)) for seed in (1, 2)]
    missing = [spectra(noise(0.01, seed)) for seed in (1, 2)]
    assert energy_distance(recording, *there) < energy_distance(recording, *missing)


def test_the_same_is_at_no_distance(spectra: LogSpectra) -> None:
    x = spectra(noise(0.1, 0))
    assert distance(x, x) == pytest.approx(0, abs=0.02)
