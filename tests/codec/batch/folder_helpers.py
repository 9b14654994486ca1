"""Names for files in a folder, and what is reported of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codec_helpers import Result

GOOD = ["a.wav", "deep/er/b c [1].flac", "ünï/日本.ogg"]


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def lacs(names: list[str]) -> set[str]:
    return {str(Path(name).with_suffix(".lac").as_posix()) for name in names}


def json_lines(result: Result) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The objects of the files, by the name of the source, and the summary."""
    objects = [json.loads(line) for line in result.stdout.splitlines()]
    assert [list(o) == ["summary"] for o in objects] == [False] * (len(objects) - 1) + [True]
    return {Path(o["source"]).name: o for o in objects[:-1]}, objects[-1]["summary"]
