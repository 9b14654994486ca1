"""``lacuna train codec`` as a person types it, above all with mistakes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path

import pytest

from codec.cli.program import main
from codec.settings import config_dir

Lacuna = Callable[..., tuple[int, str]]


@pytest.fixture
def lacuna(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lacuna:
    """``lacuna(*arguments)`` -> exit code and what was printed on standard error."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["lacuna", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return int(code or 0), capsys.readouterr().err

    return run


def train_arguments(config: object, data: Path, out: Path) -> list[object]:
    return ["train", "codec", config, "--data", data, "--out", out, "--device", "cpu"]


def test_trains(lacuna: Lacuna, audio_folder: Path, tmp_path: Path, no_preview: None) -> None:
    """With file and folder names that would be markup to the progress bar."""
    data = tmp_path / "[b]music"
    data.mkdir()
    for number, path in enumerate(sorted(audio_folder.iterdir())):
        shutil.copy(path, data / f"{number}[red].wav")
    out = tmp_path / "[run]"
    settings = ("--set", "training.steps=2", "--set", 'model.name="mine"')
    code, printed = lacuna(*train_arguments("tiny", data, out), *settings)
    assert code == 0
    assert "training 'mine' on 5 files" in printed
    assert f"finished at step 2 after 0.0 minutes: {out / 'model.safetensors'}" in printed


def test_unknown_config_lists_the_known(lacuna: Lacuna, audio_folder: Path, tmp_path: Path) -> None:
    code, printed = lacuna(*train_arguments("nosuch", audio_folder, tmp_path))
    assert code == 1
    assert printed.startswith("lacuna: error: no config 'nosuch'")
    assert "small, small_64x, stable_audio, tiny" in printed
    assert len(printed.splitlines()) == 1


def test_unknown_key_lists_the_known(lacuna: Lacuna, audio_folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text((config_dir() / "tiny.toml").read_text().replace("batch_size", "batchsize"))
    code, printed = lacuna(*train_arguments(config, audio_folder, tmp_path / "run"))
    assert code == 1
    assert "unknown key 'batchsize'" in printed
    assert "accumulate, adversarial, batch_size" in printed
    assert not (tmp_path / "run").exists()


def test_data_folders_that_cannot_be_used(lacuna: Lacuna, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    code, printed = lacuna(*train_arguments("tiny", empty, tmp_path / "run"))
    assert code == 1
    assert f"no audio file below '{empty}'" in printed
    code, printed = lacuna(*train_arguments("tiny", tmp_path / "nowhere", tmp_path / "run"))
    assert code == 1
    assert "nowhere' is not a folder" in printed


def test_folder_of_another_run(
    lacuna: Lacuna, audio_folder: Path, tmp_path: Path, no_preview: None
) -> None:
    config = tmp_path / "wider.toml"
    config.write_text((config_dir() / "tiny.toml").read_text().replace("[16, 16]", "[16, 24]"))
    out = tmp_path / "run"
    assert lacuna(*train_arguments("tiny", audio_folder, out), "--steps", 1)[0] == 0
    code, printed = lacuna(*train_arguments(config, audio_folder, out), "--steps", 2)
    assert code == 1
    assert "model.network.widths was [16, 16], now [16, 24]" in printed
    assert "another --out folder" in printed


def test_fp16_on_a_cpu(lacuna: Lacuna, audio_folder: Path, tmp_path: Path) -> None:
    arguments = train_arguments("tiny", audio_folder, tmp_path / "run")
    code, printed = lacuna(*arguments, "--mixed-precision", "fp16")
    assert code == 1
    assert "use 'bf16' or 'no'" in printed


def test_missing_checkpoint_to_start_from(
    lacuna: Lacuna, audio_folder: Path, tmp_path: Path
) -> None:
    arguments = train_arguments("tiny", audio_folder, tmp_path / "run")
    code, printed = lacuna(*arguments, "--init", "nosuch.safetensors")
    assert code == 1
    assert "no model 'nosuch.safetensors'" in printed


@pytest.mark.parametrize("package", ["accelerate", "auraloss", "tensorboard", "scipy"])
def test_missing_training_package_gives_the_remedy(
    package: str,
    lacuna: Lacuna,
    audio_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class NotInstalled(MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name.split(".")[0] == package:
                raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    for name in list(sys.modules):
        if name.startswith((package, "auraloss", "codec.training.", "torch.utils.tensorboard")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NotInstalled(), *sys.meta_path])
    code, printed = lacuna(*train_arguments("tiny", audio_folder, tmp_path / "run"))
    assert code == 1
    assert f"training needs the package '{package}'" in printed
    assert 'pip install ".[train]" in a checkout' in printed
