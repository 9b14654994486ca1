"""What the README and docs/COMMANDS.md say must be so: every block is run."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import soundfile
from reading import REPOSITORY, blocks, run, shell_lines, understood

from diffusion.cli.program import build_app

PAGE = REPOSITORY / "README.md"
README = PAGE.read_text(encoding="utf-8")
COMMANDS = (REPOSITORY / "docs" / "COMMANDS.md").read_text(encoding="utf-8")
SHELL = shell_lines(PAGE)
NOT_RUN = {
    "pip install": "by .ci/run",
    "make check": "which runs this test",
    "lacuna studio": "which serves a page until it is stopped: tests/diffusion/studio",
}
"""Commands of which only the options are checked here, and where they are run."""

SMALLER = {"train codec small": "train codec tiny_map"}
"""What is trained in place of a model that would take long."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that a reader has: every name that the README reads from, with seconds of audio."""
    folder = tmp_path_factory.mktemp("reader")
    waveform, sample_rate = soundfile.read(REPOSITORY / "codec" / "examples" / "plucked.ogg")
    soundfile.write(folder / "song.wav", waveform[: 4 * sample_rate, 0], sample_rate)
    for name in ("music/a.wav", "music/b.wav", "valid/a.wav"):
        (folder / name).parent.mkdir(exist_ok=True)
        soundfile.write(folder / name, waveform[:sample_rate, 0], sample_rate)
    return folder


@pytest.mark.parametrize("block", blocks(PAGE, "python"))
def test_the_python_examples_run(block: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    exec(block, names)
    x = names.get("x", names["waveform"])
    assert names["y"].shape == x.shape  # type: ignore[attr-defined]


@pytest.mark.parametrize("words", SHELL, ids=shlex.join)
def test_every_line_of_shell_is_understood(words: list[str]) -> None:
    assert understood(words)


@pytest.mark.parametrize(
    "words", [words for words in SHELL if " ".join(words[:2]) not in NOT_RUN], ids=shlex.join
)
def test_every_line_of_shell_runs(
    words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order in which a reader types it, each with the files of those before it."""
    monkeypatch.chdir(folder)
    if words[:2] == ["lacuna", "evaluate"]:
        for package in ("pesq", "pystoi", "speechmos", "zimtohrli"):
            pytest.importorskip(package)
        if shutil.which("opusenc") is None:
            pytest.skip("opusenc is not installed")
    line = shlex.join(words)
    for large, small in SMALLER.items():
        line = line.replace(large, small)
    run(shlex.split(line), monkeypatch)
    for name in re.findall(r"\S+\.(?:wav|lac|safetensors|png)\b", line):
        assert list(folder.glob(name.replace(".", "*."))), f"{name} is not there"


@pytest.mark.parametrize("page", [README, COMMANDS], ids=["README", "COMMANDS"])
def test_every_command_it_names_exists(page: str) -> None:
    app = build_app()
    assert set(re.findall(r"\blacuna ([a-z]+)", page)) <= set(app)
    assert set(re.findall(r"\blacuna train ([a-z]+)", page)) <= set(app["train"])


def test_every_command_is_named() -> None:
    app = build_app()
    for name in app:
        assert f"lacuna {name}" in COMMANDS or name.startswith("-")
    for name in app["train"]:
        assert f"lacuna train {name}" in COMMANDS or name.startswith("-")


def test_every_file_it_points_to_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    for target in links + re.findall(r"docs/\w+\.md", README + COMMANDS):
        assert (REPOSITORY / target).exists(), target


def test_it_is_one_page() -> None:
    lines = README.splitlines()
    assert len(lines) < 110
    assert max(map(len, lines)) <= 100
