"""A run's folder: one process at a time, the settings it was started with, and early errors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from codec.errors import ConfigError, LacunaError
from codec.training import run as run_module
from codec.training import session
from codec.training.claim import claimed

Train = Callable[..., Any]


@pytest.fixture
def no_audio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at the audio is a failure."""

    def read(*arguments: object) -> None:
        raise AssertionError("audio was read before the mistake was told")

    monkeypatch.setattr(run_module, "_audio", read)


def test_folder_in_use_names_the_other_process(tmp_path: Path) -> None:
    accelerator = Accelerator(cpu=True)
    with claimed(tmp_path, {}, accelerator):
        with (
            pytest.raises(LacunaError, match=r"another run trains in .*: process \d+ on .*--out"),
            claimed(tmp_path, {}, accelerator),
        ):
            pass
        assert (tmp_path / "run.owner").exists()  # still that of the first
    with claimed(tmp_path, {}, accelerator):
        pass


def test_two_runs_at_once(train: Train, tmp_path: Path, no_audio: None) -> None:
    """One of them trains, the other is told who does."""
    with (
        claimed(tmp_path, {}, Accelerator(cpu=True)),
        pytest.raises(LacunaError, match="another run trains in"),
    ):
        train(tmp_path)
    assert threading.active_count() < 50


def test_resumed_with_other_settings(train: Train, tmp_path: Path) -> None:
    train(tmp_path, overrides={"steps": 1, "seed": 1})
    expected = r"training\.seed was 1, now 2; training\.kl\.target_kbps was 3\.5, now 9\.0"
    with pytest.raises(LacunaError, match=expected):
        train(tmp_path, settings=["training.kl.target_kbps=9.0"], overrides={"seed": 2})
    with pytest.raises(LacunaError, match=r"model\.name was tiny, now mine"):
        train(tmp_path, settings=['model.name="mine"'], overrides={"seed": 1})
    # How far it goes and what is written on the way may change.
    overrides = {"steps": 2, "seed": 1, "log_every": 2, "validate_every": 1, "checkpoint_every": 1}
    assert train(tmp_path, overrides=overrides).step == 2


def test_resumed_with_another_start(train: Train, tmp_path: Path) -> None:
    train(tmp_path / "start", overrides={"steps": 1})
    train(tmp_path / "run", overrides={"steps": 1})
    with pytest.raises(LacunaError, match=r"--init was None, now .*model\.safetensors"):
        train(tmp_path / "run", init=str(tmp_path / "start" / "model.safetensors"))


def test_mistakes_are_told_before_audio_is_read(
    train: Train, tmp_path: Path, no_audio: None
) -> None:
    with pytest.raises(LacunaError, match="nosuch"):
        train(tmp_path / "run", init="nosuch")
    with pytest.raises(ConfigError):
        train(tmp_path / "run", settings=["model.latent_dim=0"])
    (tmp_path / "file").write_text("no folder")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(LacunaError, match=r"--out .* cannot be written.*give another folder"):
            train(out)


def test_settings_that_were_not_known_then_are_not_compared(tmp_path: Path) -> None:
    accelerator = Accelerator(cpu=True)
    with claimed(tmp_path, {"training": {"seed": 1}}, accelerator):
        pass
    with claimed(tmp_path, {"training": {"seed": 1, "newer": 2}}, accelerator):
        pass
    with (
        pytest.raises(LacunaError, match=r"training\.seed was 1, now 2"),
        claimed(tmp_path, {"training": {"seed": 2, "newer": 2}}, accelerator),
    ):
        pass


def test_damaged_settings_are_named(train: Train, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(LacunaError, match=r"settings\.json' is damaged"):
        train(tmp_path)


def test_fine_tuning_scores_its_start_and_says_what_it_makes(
    train: Train, tmp_path: Path, read_log: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "start", overrides={"steps": 1})
    ruin = {"learning_rate": 10.0, "warmup_steps": 0, "ema_decay": 0.0}
    start = str(tmp_path / "start" / "model.safetensors")
    train(tmp_path / "fine", init=start, overrides={"steps": 1, "optimizer": ruin})
    first, last = read_log(tmp_path / "fine", "valid")
    assert first["step"] == 0
    assert first["score"] < last["score"]
    assert "makes another codec" in capsys.readouterr().err


# -- processes ---------------------------------------------------------------------------------


def told(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> list[str]:
    """What a run says of its processes, started by a launcher with this command line."""
    lines: list[str] = []

    class Launcher:
        def cmdline(self) -> list[str]:
            return command

    class Here:
        def parent(self) -> Launcher:
            return Launcher()

    monkeypatch.setattr(session.psutil, "Process", Here)
    monkeypatch.setattr(session, "say", lambda accelerator, message: lines.append(message))
    session.report_processes(Accelerator(cpu=True))
    return lines


def test_fewer_processes_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, ["bash"]) == ["1 process on cpu"]
    assert told(monkeypatch, ["accelerate", "launch", "--num_processes", "1"]) == [
        "1 process on cpu"
    ]
    for option in (["--num_processes", "2"], ["--num-processes=2"]):
        count, warning = told(monkeypatch, ["accelerate", "launch", *option, "-m", "codec"])
        assert count == "1 process on cpu"
        assert "warning: 2 processes were asked for, 1 trains" in warning
        assert "torchrun" in warning
