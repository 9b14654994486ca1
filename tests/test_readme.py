"""What the README and docs/COMMANDS.md say must be so."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import cyclopts
import pytest
import soundfile

from diffusion.cli.program import build_app

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMMANDS = (REPOSITORY / "docs" / "COMMANDS.md").read_text(encoding="utf-8")
SHELL = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
QUICK = ("compress", "decompress", "info", "verify", "vary", "inpaint")
"""Commands that are run as they stand there; of the others only the options are checked."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """song.wav and a folder of music, in the working folder."""
    waveform, sample_rate = soundfile.read(REPOSITORY / "codec" / "examples" / "plucked.ogg")
    soundfile.write(tmp_path / "song.wav", waveform[: 4 * sample_rate, 0], sample_rate)
    (tmp_path / "music").mkdir()
    shutil.copy(tmp_path / "song.wav", tmp_path / "music")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_the_python_examples_run(block: str) -> None:
    names: dict[str, object] = {}
    exec(block, names)
    x = names.get("x", names["waveform"])
    assert names["y"].shape == x.shape  # type: ignore[attr-defined]


def test_what_is_quick_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order in which a reader types it."""
    done = set()
    for words in SHELL:
        if words[:1] == ["lacuna"] and words[1] in QUICK and "--model" not in words:
            with monkeypatch.context() as patch:
                patch.setattr(sys, "argv", words)
                build_app()(words[1:])
            done.add(words[1])
    assert done == set(QUICK)
    assert {"song.lac", "song_again.wav", "small", "part.wav", "like_it.wav", "mended.wav"} <= {
        path.name for path in folder.iterdir()
    }


@pytest.mark.parametrize("words", SHELL, ids=" ".join)
def test_every_line_of_shell_is_understood(words: list[str]) -> None:
    if words[0] == "torchrun":
        words = ["lacuna", *words[words.index("-m") + 2 :]]
    if words[0] == "lacuna":
        command, _, _ = build_app().parse_args(words[1:])  # a CycloptsError if not
        assert command.__name__.removeprefix("train_") in words
    elif words[0] == "python":  # a script in tools/, whose options are those of its main
        script = runpy.run_path(str(REPOSITORY / words[1]))
        cyclopts.App(default_command=script["main"]).parse_args(words[2:])
    else:
        assert words[:2] == ["pip", "install"]


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
