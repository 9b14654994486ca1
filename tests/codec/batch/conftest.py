"""A folder of recordings, and of what is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from codec_helpers import write_wav
from folder_helpers import GOOD


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three recordings, a text that pretends to be one, and what nobody wants compressed."""
    root = tmp_path / "in"
    for i, name in enumerate(GOOD, 1):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_wav(root / name, seconds=0.25 * i)
    (root / "deep" / "text.wav").write_text("This is a shopping list. " * 20)
    (root / "notes.txt").write_text("not audio, and does not say so")
    (root / "._a.wav").write_text("what a Mac leaves on other people's disks")
    (root / ".trash").mkdir()
    write_wav(root / ".trash" / "old.wav")
    return root
