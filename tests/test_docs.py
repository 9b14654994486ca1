"""What is written: lines of at most 100 characters, and no path to a file that is not there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
SUFFIXES = {".md", ".py", ".toml", ".txt", ".yaml"}
TRACKED = [
    REPOSITORY / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
]
TEXTS = [
    path
    for path in TRACKED
    if path.exists()
    and (path.suffix in SUFFIXES or path.name in ("Makefile", "run"))
    and REPOSITORY / "tests" / "data" not in path.parents
]
PATH = re.compile(
    r"(?<![\w/.-])((?:codec|configs|diffusion|docs|examples|tests|tools)/[\w/.-]*\.[a-z]+)\b"
)


def relative(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("path", [path for path in TEXTS if path.suffix != ".py"], ids=relative)
def test_lines_have_at_most_100_characters(path: Path) -> None:
    """Tables aside, which cannot be broken; Python is Ruff's."""
    lines = path.read_text(encoding="utf-8").splitlines()
    long = [
        n
        for n, line in enumerate(lines, 1)
        if len(line) > 100 and not line.lstrip().startswith("|")
    ]
    assert not long, f"lines {long}"


@pytest.mark.parametrize("path", [path for path in TEXTS if path.suffix == ".py"], ids=relative)
def test_docstrings_begin_with_what_they_name(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r'^\s*"""Of .*', text, re.MULTILINE) == []


@pytest.mark.parametrize("path", TEXTS, ids=relative)
def test_every_path_it_names_is_there(path: Path) -> None:
    """From the repository's root; what a command writes (``--out``) need not be there."""
    text = re.sub(r"--out\s+\S+", "", path.read_text(encoding="utf-8"))
    missing = [name for name in PATH.findall(text) if not (REPOSITORY / name).exists()]
    assert not missing
