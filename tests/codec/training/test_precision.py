"""float32 or bfloat16: measured, kept, and without a trace in the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from codec.training import precision
from codec.training.codec_task import CodecTask
from codec.training.loop import Trainer


def test_bfloat16_must_be_worth_it() -> None:
    assert precision.faster({"no": 1.0, "bf16": 0.5}) == "bf16"
    assert precision.faster({"no": 1.0, "bf16": 0.95}) == "no"
    assert precision.faster({"no": 1.0, "bf16": 2.0}) == "no"


def test_measuring_changes_nothing(make_task: Callable[..., CodecTask]) -> None:
    task = make_task()
    weights = {key: value.clone() for key, value in task.model.state_dict().items()}
    state, random = task.state(), torch.get_rng_state()
    seconds = precision.step_seconds(task, 4, torch.device("cpu"))
    assert set(seconds) == {"no", "bf16"}
    assert all(value > 0 for value in seconds.values())
    assert task.state() == state
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in task.model.parameters())
    assert all(torch.equal(weights[key], value) for key, value in task.model.state_dict().items())


@pytest.mark.parametrize("better", ["no", "bf16"])
def test_the_faster_one_is_used_and_kept(
    better: str,
    make_trainer: Callable[..., Trainer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds = {"no": 1.0, "bf16": 1.0, better: 0.1}
    monkeypatch.setattr(precision, "step_seconds", lambda *arguments: seconds)
    trainer = make_trainer(tmp_path, mixed_precision="auto", steps=1)
    with trainer._autocast():
        assert torch.is_autocast_enabled("cpu") == (better == "bf16")
    name = {"no": "float32", "bf16": "bfloat16"}[better]
    assert f"training in {name}" in capsys.readouterr().err
    trainer.train()

    def measured_again(*arguments: object) -> None:
        raise AssertionError("a run that goes on measures nothing")

    monkeypatch.setattr(precision, "step_seconds", measured_again)
    again = make_trainer(tmp_path, mixed_precision="auto", steps=2)
    with again._autocast():
        assert torch.is_autocast_enabled("cpu") == (better == "bf16")
