"""What the README says must be so."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from diffusion.cli.program import build_app

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    shutil.copy(REPOSITORY / "tests" / "data" / "dog.ogg", tmp_path / "song.wav")
    monkeypatch.chdir(tmp_path)  # libsndfile looks at the content, not at the suffix
    names: dict[str, object] = {}
    exec(block, names)
    assert names["y"].shape == names["x"].shape  # type: ignore[attr-defined]


def test_every_command_it_names_exists():
    known = {name for name in build_app() if not name.startswith("-")}
    named = set(re.findall(r"\blacuna ([a-z]+)", README))
    assert named <= known
    assert known <= named, "a command that the README does not name"


def test_every_file_it_points_to_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r"docs/\w+\.md", README):
        assert (REPOSITORY / target).exists(), target
