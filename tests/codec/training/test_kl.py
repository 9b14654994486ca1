"""The KL term: its value, its weight over time, free bits, and what the logs say of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from codec.network.bottleneck import Posterior
from codec.network.config import ModelConfig, load_model_config
from codec.training import kl
from codec.training.codec_task import CodecTask
from codec.training.config import KLConfig


def test_closed_form_equals_that_of_torch() -> None:
    torch.manual_seed(0)
    posterior = Posterior(2 * torch.randn(3, 4, 5), torch.randn(3, 4, 5))
    q = torch.distributions.Normal(posterior.mean, posterior.sigma)
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))

    torch.testing.assert_close(posterior.kl(), expected)
    torch.testing.assert_close(kl.kl_per_channel(posterior), expected.mean(dim=(0, 2)))


@pytest.mark.parametrize(
    ("mode", "weights"),
    [
        ("linear", {0: 0.0, 25: 0.25, 50: 0.5, 100: 1.0, 1000: 1.0}),
        ("cyclical", {0: 0.0, 25: 0.5, 50: 1.0, 99: 1.0, 100: 0.0, 125: 0.5, 1050: 1.0}),
    ],
)
def test_annealed_weight(mode: str, weights: dict[int, float], tiny_model: ModelConfig) -> None:
    config = KLConfig(mode=mode, weight=0.3, anneal_steps=100)  # type: ignore[arg-type]
    annealed = kl.KLWeight(config, tiny_model)
    for step, share in weights.items():
        annealed.observe(torch.tensor(5.0))  # a measured KL moves only the controlled weight
        assert annealed.at(step) == pytest.approx(0.3 * share), step


@pytest.mark.parametrize("weight", [1e-5, 10.0])
def test_controller_reaches_the_target(weight: float, tiny_model: ModelConfig) -> None:
    """A simulated codec, whose KL falls with the weight and follows it with some delay."""
    controller = kl.KLWeight(KLConfig(mode="target", weight=weight, target_kbps=2.0), tiny_model)
    measured = 0.0
    rates = []
    for step in range(3000):
        settled = 0.2 * float(controller.at(step)) ** -0.5
        measured += 0.05 * (settled - measured)
        controller.observe(torch.tensor(measured))
        rates.append(kl.kl_to_kbps(measured, tiny_model))
    assert rates[-500:] == pytest.approx([2.0] * 500, rel=0.02)


@pytest.mark.parametrize(
    ("share", "weight", "expected"),
    [
        (1.5, 1.0, math.exp(0.01)),  # half as much again as wanted: half of 2 %
        (0.0, 1.0, math.exp(-0.02)),
        (100.0, 1.0, math.exp(0.02)),  # however far off it is
        (100.0, 1000.0, 1000.0),
        (0.0, 1e-8, 1e-8),
    ],
)
def test_a_step_moves_the_weight_by_at_most_two_percent_and_within_its_range(
    share: float, weight: float, expected: float, tiny_model: ModelConfig
) -> None:
    controller = kl.KLWeight(KLConfig(mode="target", weight=weight, target_kbps=7.0), tiny_model)
    controller.observe(torch.tensor(share * controller.target))
    assert float(controller.at(1)) == pytest.approx(expected, rel=1e-5)


def test_accumulated_passes_move_the_weight_once(tiny_model: ModelConfig) -> None:
    config = KLConfig(mode="target")
    whole = kl.KLWeight(config, tiny_model)
    parts = kl.KLWeight(config, tiny_model, accumulate=2)
    target = whole.target

    parts.observe(torch.tensor(1.1 * target))
    assert parts.at(0) == config.weight  # the step's second pass is weighted as its first
    parts.observe(torch.tensor(1.3 * target))
    whole.observe(torch.tensor(1.2 * target))

    assert whole.at(1) > config.weight
    assert parts.at(1) == pytest.approx(whole.at(1))


def test_controller_continues_from_its_state(tiny_model: ModelConfig) -> None:
    first, second = (kl.KLWeight(KLConfig(mode="target"), tiny_model) for _ in range(2))
    first.observe(torch.tensor(3.0))
    second.load_state(first.state())
    assert second.at(1) == first.at(1) != KLConfig().weight


def test_free_bits_stop_the_pressure_on_channels_below() -> None:
    per_channel = torch.tensor([0.05, 0.2, 0.5], requires_grad=True)
    loss = kl.kl_loss(per_channel, per_channel.detach(), free_nats=0.1)
    loss.backward()

    assert loss.item() == pytest.approx((0.1 + 0.2 + 0.5) / 3)
    assert per_channel.grad is not None
    torch.testing.assert_close(per_channel.grad, torch.tensor([0.0, 1 / 3, 1 / 3]))


def test_free_bits_decide_by_the_mean_over_all_processes() -> None:
    here = torch.tensor([0.05, 0.2], requires_grad=True)
    kl.kl_loss(here, torch.tensor([0.15, 0.08]), free_nats=0.1).backward()
    assert here.grad is not None
    torch.testing.assert_close(here.grad, torch.tensor([0.5, 0.0]))


def test_active_channels_and_collapse() -> None:
    dead, alive = 0.5 * kl.ACTIVE_NATS, 2 * kl.ACTIVE_NATS
    assert kl.active_channels(torch.tensor([dead, alive, alive, dead, dead])) == 2
    assert kl.collapsed(torch.tensor([dead, alive, dead, dead]))
    assert not kl.collapsed(torch.tensor([dead, alive, alive, dead]))


def test_validation_warns_of_collapse(make_task: Callable[..., CodecTask]) -> None:
    task = make_task()
    layer = task.model.encoder.project
    torch.nn.init.zeros_(layer.weight)  # q(z|x) = N(0, 1) for every sound
    torch.nn.init.zeros_(layer.bias)
    with torch.inference_mode(), pytest.warns(UserWarning, match="collapse: only 0 of 4"):
        values = task.validate(task.model)
    assert values["kbps"] == pytest.approx(0.0, abs=1e-6)


def test_rate_in_kbps() -> None:
    small = load_model_config("small_64x")  # 64x: 44100 / 64 latent values per second
    one_bit = kl.NATS_PER_BIT
    assert kl.kl_to_kbps(one_bit, small) == pytest.approx(0.689, abs=5e-4)
    assert kl.kbps_to_kl(kl.kl_to_kbps(0.7, small), small) == pytest.approx(0.7)
