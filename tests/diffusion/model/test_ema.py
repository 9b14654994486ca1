"""The moving averages: their width, and that a restarted run goes on with the same ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from codec.errors import CheckpointError
from diffusion.model.ema import PowerEMA, gamma_of


def walk(module: nn.Module) -> None:
    """One step of a training that goes nowhere."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn_like(parameter)


@pytest.mark.parametrize(("sigma_rel", "gamma"), [(0.05, 16.97), (0.10, 6.94)])
def test_gamma(sigma_rel: float, gamma: float):
    assert gamma_of(sigma_rel) == pytest.approx(gamma, abs=0.01)  # as the paper gives them


def test_the_width_is_a_share_of_the_training():
    """An average over t and t^2 shows the mean and the deviation of the weighting."""
    module = nn.Linear(1, 2, bias=False)
    ema = PowerEMA(module)
    steps = 2000
    for step in range(1, steps + 1):
        t = step / steps
        module.weight.data[:] = torch.tensor([[t], [t * t]])
        ema.update(module)
    for sigma_rel in (0.05, 0.10):
        mean, mean_square = ema.average(sigma_rel)["weight"].double().flatten()
        assert (mean_square - mean**2).sqrt().item() == pytest.approx(sigma_rel, rel=0.01)
        gamma = gamma_of(sigma_rel)
        assert mean.item() == pytest.approx((gamma + 1) / (gamma + 2), abs=0.001)


def test_the_start_is_forgotten_at_once():
    module = nn.Linear(3, 2)
    ema = PowerEMA(module)
    walk(module)
    ema.update(module)
    for sigma_rel in ema.sigma_rel:
        for name, parameter in module.named_parameters():
            assert torch.equal(ema.average(sigma_rel)[name], parameter)


def test_the_averages_differ_and_do_not_share_memory():
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    ema = PowerEMA(module)
    for _ in range(20):
        walk(module)
        ema.update(module)
    first, second = (ema.average(s)["weight"] for s in ema.sigma_rel)
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, module.weight)


def test_resuming_repeats_the_averages(tmp_path: Path):
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    ema = PowerEMA(module)
    resumed = PowerEMA(nn.Linear(3, 2))
    for step in range(10):
        walk(module)
        ema.update(module)
        if step == 4:
            save_file(ema.state_dict(), tmp_path / "ema.safetensors")
            resumed.load_state_dict(load_file(tmp_path / "ema.safetensors"))
        elif step > 4:
            resumed.update(module)
    state = resumed.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in ema.state_dict().items())


@pytest.mark.parametrize(
    ("module", "sigma_rel", "first"),
    [
        (nn.Linear(3, 4), (0.05, 0.10), "0.05.bias"),
        (nn.Linear(3, 2, bias=False), (0.05, 0.10), "0.05.bias"),
        (nn.Linear(3, 2), (0.05, 0.20), "0.1.bias"),
    ],
)
def test_the_averages_of_another_run_are_refused(
    module: nn.Module, sigma_rel: tuple[float, ...], first: str
):
    state = PowerEMA(module, sigma_rel).state_dict()
    ema = PowerEMA(nn.Linear(3, 2))
    before = {key: value.clone() for key, value in ema.state_dict().items()}
    with pytest.raises(CheckpointError, match=f"the first is '{first}'"):
        ema.load_state_dict(state)
    assert all(torch.equal(value, before[key]) for key, value in ema.state_dict().items())
