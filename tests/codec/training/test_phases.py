"""One command through both phases, as the config says, and on again from wherever it stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from codec.errors import ConfigError
from codec.model import checkpoint
from codec.settings import config_dir
from codec.training.config import load_training_phases
from codec.training.decoder_task import DecoderTask
from codec.training.run import train_codec

Log = Callable[..., list[dict[str, Any]]]

SECOND = """
[training.decoder_only]
steps = 3
adversarial = {weight = 0.5, stft_windows = [256], stft_width = 2, periods = [3], period_width = 2}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    """tiny for two steps, and then its decoder for three, against discriminators."""
    path = tmp_path / "both.toml"
    text = (config_dir() / "tiny.toml").read_text()
    path.write_text(text.replace("steps = 12", "steps = 2") + SECOND)
    return str(path)


@pytest.fixture
def train(
    audio_folder: Path, no_preview: None, config: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    monkeypatch.setattr(DecoderTask, "preview", lambda *arguments: None)

    def run(out: Path, **arguments: Any) -> Any:
        return train_codec(config, audio_folder, out, cpu=True, **arguments)

    return run


def test_second_phase_differs_where_the_config_says(config: str) -> None:
    joint, alone = load_training_phases(config)
    assert alone is not None
    assert (joint.steps, alone.steps) == (2, 3)
    assert (joint.adversarial.weight, alone.adversarial.weight) == (0.0, 0.5)
    assert alone.loss == joint.loss
    assert load_training_phases("tiny")[1] is None


@pytest.mark.parametrize("line", ["seed = 7", "accumulate = 2", "no_such_key = 1"])
def test_what_a_run_has_once(config: str, line: str) -> None:
    Path(config).write_text(Path(config).read_text() + line)
    with pytest.raises(ConfigError, match=rf"decoder_only\].*{line.split()[0]}"):
        load_training_phases(config)


def test_both_phases_and_every_restart(train: Any, tmp_path: Path, read_log: Log) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    assert train(unbroken).step == 3
    for _ in range(5):  # a step each
        train(broken, minutes=0.0)
    state = train(broken)
    assert state.step == 3

    for phase, steps in (("", 2), ("decoder_only", 3)):
        lines = read_log(unbroken / phase)
        assert [line["step"] for line in lines] == list(range(1, steps + 1))
        assert read_log(broken / phase) == lines
    assert all("adversarial" in line for line in read_log(unbroken / "decoder_only"))
    first, last = (
        checkpoint.load(unbroken / name)
        for name in ("best.safetensors", "decoder_only/model.safetensors")
    )
    assert first.latent_id == last.latent_id
    assert last.provenance["decoder_only"]


def test_schedule_minutes_are_shared_out_as_the_steps_are(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codec.training import run as run_module

    budgets = []
    original = run_module.Budget

    def budget(minutes: float | None, schedule_minutes: float | None) -> Any:
        budgets.append(schedule_minutes)
        return original(minutes, schedule_minutes)

    monkeypatch.setattr(run_module, "Budget", budget)
    train(tmp_path / "run", schedule_minutes=1000.0)
    assert budgets == [400.0, 600.0]
    assert torch.is_grad_enabled()


def test_how_far_both_phases_go_may_change(train: Any, tmp_path: Path) -> None:
    train(tmp_path / "run", overrides={"steps": 1})
    assert train(tmp_path / "run", overrides={"steps": 2, "log_every": 2}).step == 2
