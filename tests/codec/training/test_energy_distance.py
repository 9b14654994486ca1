"""The energy distance: honest noise is best, where a plain distance would have none."""

import pytest
import torch

from codec.training.config import AdversarialConfig
from codec.training.energy_distance import EnergyLoss, LogSpectra, distance


@pytest.fixture(scope="module")
def loss() -> EnergyLoss:
    return EnergyLoss(44100, torch.device("cpu"), AdversarialConfig())


def noise(level: float, seed: int) -> torch.Tensor:
    return level * torch.randn(1, 1, 44100, generator=torch.Generator().manual_seed(seed))


def judged(loss: EnergyLoss, recording: torch.Tensor, *draws: torch.Tensor) -> float:
    return float(loss(torch.cat(draws, dim=1), recording, 0).loss)


def test_noise_at_its_level_is_best(loss: EnergyLoss) -> None:
    at = {
        level: judged(loss, noise(0.1, 0), noise(level, 1), noise(level, 2))
        for level in (0.07, 0.1, 0.14)
    }
    assert at[0.1] < at[0.07]
    assert at[0.1] < at[0.14]


def test_two_equal_draws_are_not_honest(loss: EnergyLoss) -> None:
    """A decoder that repeats one texture pays for it."""
    recording, first, second = (noise(0.1, seed) for seed in (0, 1, 2))
    assert judged(loss, recording, first, first) > judged(loss, recording, first, second)


def test_a_missing_partial_costs(loss: EnergyLoss) -> None:
    time = torch.arange(44100) / 44100
    tone = 0.05 * torch.sin(2 * torch.pi * 3000 * time)[None, None]
    recording = tone + noise(0.01, 0)
    there = judged(loss, recording, tone + noise(0.01, 1), tone + noise(0.01, 2))
    assert there < judged(loss, recording, noise(0.01, 1), noise(0.01, 2))


def test_the_same_is_at_no_distance() -> None:
    x = LogSpectra(44100, torch.device("cpu"))(noise(0.1, 0)[0])
    assert distance(x, x) == pytest.approx(0, abs=0.02)


def test_too_quiet_on_average_costs_even_where_logarithms_agree(loss: EnergyLoss) -> None:
    """A recording of bursts, and a decoder that spreads their typical level evenly."""
    bursts = noise(0.1, 0)
    bursts *= (torch.arange(44100) % 4410 < 441).float() * 10 + 0.1
    logs = loss(torch.cat([noise(0.02, 1), noise(0.02, 2)], dim=1), bursts, 0).logs
    assert float(logs["level_db"]) > 3
    logs = loss(torch.cat([bursts, bursts], dim=1), bursts, 0).logs
    assert float(logs["level_db"]) == pytest.approx(0, abs=1e-3)


def test_a_quiet_clean_tone_costs_most_of_its_error(loss: EnergyLoss) -> None:
    """One band of 32 is 12 dB wrong, with all of the power: 5.5 nats on the distance's 11."""
    time = torch.arange(44100, dtype=torch.float64) / 44100
    tone = (0.5 * torch.sin(2 * torch.pi * 3000 * time)).float()[None, None]
    right, wrong = (judged(loss, tone, gain * tone, gain * tone) for gain in (1.0, 0.25))
    assert wrong - right > 15


def test_discriminators_pull_at_the_first_draw() -> None:
    """The gradient is the energy distance's plus theirs, and the second draw gets none of it."""
    small = AdversarialConfig(
        weight=1.0, ramp_steps=0, stft_windows=(256,), stft_width=2, periods=(2,), period_width=2
    )
    torch.manual_seed(0)
    against = EnergyLoss(44100, torch.device("cpu"), small)
    recording, draws = torch.randn(1, 1, 16384), torch.randn(1, 2, 16384)
    gradients = []
    for judge in (EnergyLoss(44100, torch.device("cpu"), AdversarialConfig()), against):
        leaf = draws.clone().requires_grad_()
        result = judge(leaf, recording, 0)
        result.loss.backward()
        gradients.append(leaf.grad)
    change = gradients[1] - gradients[0]
    torch.testing.assert_close(
        change[:, :1], against.opponent.verdict(draws[:, :1], recording, 0).gradient
    )
    assert change[:, 1].abs().max() == 0
    assert result.opponent is not None
    assert result.opponent.requires_grad
