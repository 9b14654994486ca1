"""A decoder for one's own sounds: the short command, what it leaves, and files that stay valid."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import codec
from codec.cli.program import main
from codec.cli.train import Training
from codec.model import shipped
from codec.training.decoder_task import DecoderTask

Lacuna = Callable[..., tuple[int, str]]


@pytest.fixture
def lacuna(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Lacuna:
    """``lacuna(*arguments)`` in ``tmp_path`` -> exit code, what was printed on standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(DecoderTask, "preview", lambda *arguments: None)

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["lacuna", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return run


@pytest.fixture
def piano(audio_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "music" / "piano"
    shutil.copytree(audio_folder, folder)
    return folder


@pytest.fixture
def mine(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny codec that ships, by this name."""
    folder = tmp_path / "weights"
    folder.mkdir()
    shutil.copy(start, folder / "mine.safetensors")
    monkeypatch.setattr(shipped, "WEIGHTS_DIR", folder)


TUNE = ("train", "codec", "tiny", "--init", "mine", "--decoder-only", "--device", "cpu")


def test_files_stay_valid_both_ways(lacuna: Lacuna, piano: Path, mine: None) -> None:
    code, printed = lacuna(*TUNE, "--data", piano, "--minutes", 0.02)
    assert code == 0, printed
    out = Path("runs/tiny-piano")
    assert f"{out / 'best.safetensors'} (best score); more minutes train it on" in printed
    tuned, before = (codec.load(name) for name in (out / "model.safetensors", "mine"))
    assert tuned.latent_id == before.latent_id
    assert tuned.coding_id == before.coding_id

    sound = 0.1 * np.random.default_rng(0).standard_normal((1, 20_000)).astype(np.float32)
    z = before.encode(sound[None])
    assert np.array_equal(z, tuned.encode(sound[None]))
    blobs = [model.compress(sound, 16_000) for model in (before, tuned)]
    assert blobs[0] == blobs[1]
    heard = [model.decompress(blobs[0])[0] for model in (before, tuned)]
    assert not np.array_equal(*heard)
    assert np.array_equal(codec.decompress(blobs[1])[0], heard[0])  # what ships opens it by its id


def test_the_same_command_goes_on_and_another_is_refused(
    lacuna: Lacuna, piano: Path, mine: None, tmp_path: Path
) -> None:
    assert lacuna(*TUNE, "--data", piano, "--steps", 1)[0] == 0
    best = Path("runs/tiny-piano/best.safetensors").read_bytes()
    code, printed = lacuna(*TUNE, "--data", piano, "--steps", 1)
    assert code == 0
    assert "finished at step 1" in printed

    other = tmp_path / "other" / "piano"
    shutil.copytree(piano, other)
    code, printed = lacuna(*TUNE, "--data", other, "--steps", 1)
    assert code == 1
    assert f"--data was {piano}, now {other}. Give the same to go on with it, or" in printed
    code, printed = lacuna(*TUNE, "--data", piano, "--seed", 3)
    assert code == 1
    assert "training.seed was 0, now 3" in printed
    assert Path("runs/tiny-piano/best.safetensors").read_bytes() == best


def test_more_minutes_go_on(lacuna: Lacuna, piano: Path, mine: None) -> None:
    """``--minutes`` counts what was trained before, as a killed run needs it."""
    for minutes, trained in ((0.001, True), (0.001, False), (0.2, True)):  # 12 steps at most
        before = steps(Path("runs/tiny-piano"))
        code, printed = lacuna(*TUNE, "--data", piano, "--minutes", minutes)
        assert code == 0, printed
        assert "finished at step" in printed
        assert (steps(Path("runs/tiny-piano")) > before) == trained


def steps(run: Path) -> int:
    return max((int(path.name.split("-")[1]) for path in run.glob("state/step-*")), default=0)


@pytest.mark.parametrize(
    ("given", "minutes", "schedule_minutes"),
    [
        ({"minutes": 20.0}, None, 20.0),
        ({"minutes": 20.0, "steps": 100}, 20.0, None),
        ({"minutes": 20.0, "schedule_minutes": 60.0}, 20.0, 60.0),
        ({"schedule_minutes": 60.0}, None, 60.0),
        ({}, None, None),
    ],
)
def test_the_schedule_ends_with_the_minutes_unless_another_is_given(
    given: dict[str, float], minutes: float | None, schedule_minutes: float | None
) -> None:
    arguments = Training(**given).arguments()  # type: ignore[arg-type]
    assert arguments["minutes"] == minutes
    assert arguments["schedule_minutes"] == schedule_minutes


@pytest.mark.parametrize("option", ["--minutes", "--schedule-minutes"])
def test_no_minutes_are_no_schedule(lacuna: Lacuna, piano: Path, mine: None, option: str) -> None:
    code, printed = lacuna(*TUNE, "--data", piano, option, 0)
    assert code == 2
    assert "Must be > 0" in printed
    assert not Path("runs").exists()
