"""A recording for the commands."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from codec_helpers import music


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """One second of 44.1 kHz stereo, with tags."""
    path = tmp_path / "in.flac"
    with soundfile.SoundFile(path, "w", 44100, 2, format="FLAC") as file:
        file.title = "A chord"
        file.write(music(1.0, 44100, 2).T)
    return path
