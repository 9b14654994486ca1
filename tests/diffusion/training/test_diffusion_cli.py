"""``lacuna latents`` and ``lacuna train diffusion`` as a person types them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path

import pytest

from diffusion.cli.program import build_app, main
from diffusion.latents.sets import LatentSet

Lacuna = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lacuna(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lacuna:
    """``lacuna(*arguments)`` -> exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lacuna", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


def test_latents_then_training(
    lacuna: Lacuna, audio_folder: Path, codec_path: Path, tmp_path: Path, no_preview: None
) -> None:
    manifest = tmp_path / "manifest.csv"
    rows = [f"{path},{'bell' if n % 2 else ''}" for n, path in enumerate(audio_folder.iterdir())]
    manifest.write_text("\n".join(["path,class", *rows[:5]]) + "\n")
    shards = tmp_path / "[latents]"  # markup to the progress bar
    common = ["--codec", codec_path, "--device", "cpu"]
    command = ["latents", audio_folder, "--out", shards, "--manifest", manifest, *common]
    code, _, printed = lacuna(*command)
    assert code == 0
    assert "5 clips" in printed
    assert "labels: bell" in printed
    assert [clip.label for clip in LatentSet.open(shards).clips].count("") == 3

    run = tmp_path / "run"
    command = ["train", "diffusion", "diffusion_tiny", "--latents", shards, "--out", run, *common]
    code, _, printed = lacuna(*command, "--steps", 1, "--set", "training.batch_size=2")
    assert code == 0
    assert "4 clips, 0.00 h, 1 labels; validating on 1 clips" in printed
    assert f"finished at step 1 after 0.0 minutes: {run / 'model.safetensors'}" in printed


def test_manifest_without_labels(
    lacuna: Lacuna, audio_folder: Path, codec_path: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,title\na.wav,x\n")
    command = ["latents", audio_folder, "--out", tmp_path / "out", "--manifest", manifest]
    code, _, printed = lacuna(*command, "--codec", codec_path, "--device", "cpu")
    assert code == 1
    assert "no 'class' column" in printed


def test_mistakes_are_one_line(lacuna: Lacuna, latents_folder: Path, tmp_path: Path) -> None:
    """The shipped codec is not the one that these latents are of."""
    command = ["train", "diffusion", "diffusion_tiny", "--out", tmp_path / "run"]
    code, _, printed = lacuna(*command, "--latents", latents_folder, "--device", "cpu")
    assert code == 1
    assert "'tiny', latent_id" in printed
    assert "'small', latent_id" in printed
    assert len(printed.splitlines()) == 1
    code, _, printed = lacuna(*command)
    assert code == 1
    assert "give either --latents" in printed


@pytest.mark.parametrize("command", [["latents"], ["train", "diffusion"]], ids=" ".join)
def test_help_shows_an_example(lacuna: Lacuna, command: list[str]) -> None:
    code, printed, _ = lacuna(*command, "--help")
    assert code == 0
    assert f"Example: lacuna {' '.join(command)}" in " ".join(printed.split())


def test_codec_keeps_its_own_commands() -> None:
    from codec.cli.program import build_app as build_codec_app

    for own, base, new in (
        (build_app(), build_codec_app(), "latents"),
        (build_app()["train"], build_codec_app()["train"], "diffusion"),
    ):
        assert set(base) < set(own)
        assert new in own
        assert new not in base
        for name in base:
            command = base[name].default_command
            assert command is None or not command.__module__.startswith("diffusion")


def test_import_is_light() -> None:
    """So that --help is quick."""
    heavy = "{'torch', 'numpy', 'soundfile', 'accelerate', 'matplotlib'}"
    code = (
        "import sys, diffusion.cli.program\n"
        f"assert not {heavy} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_training_package_gives_the_remedy(
    lacuna: Lacuna, audio_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NotInstalled(MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name.split(".")[0] == "accelerate":
                raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    for name in list(sys.modules):
        if name.startswith(("accelerate", "codec.training.", "diffusion.training.")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NotInstalled(), *sys.meta_path])
    code, _, printed = lacuna("latents", audio_folder, "--out", tmp_path / "out")
    assert code == 1
    assert "training needs the package 'accelerate': pip install" in printed
