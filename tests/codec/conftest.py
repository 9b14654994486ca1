"""Fixtures for tests of the codec: a tiny untrained one, and an in-process command."""

from __future__ import annotations

from pathlib import Path

import pytest
from codec_helpers import BLOCK, Lacuna, music
from tiny_checkpoint import tiny_checkpoint

from codec.api import Codec, load
from codec.model import checkpoint


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    checkpoint.save(tiny_checkpoint(), path)
    return path


@pytest.fixture(scope="session")
def tiny_codec(tiny_path: Path) -> Codec:
    return load(tiny_path)


@pytest.fixture(scope="session")
def tiny_stereo_codec(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    """A network that takes two channels at once."""
    path = tmp_path_factory.mktemp("models") / "tiny_stereo.safetensors"
    checkpoint.save(tiny_checkpoint(channels=2), path)
    return load(path)


@pytest.fixture
def lacuna(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture) -> Lacuna:
    return Lacuna(monkeypatch, capsysbinary)


@pytest.fixture
def lac(tmp_path: Path, tiny_codec: Codec) -> Path:
    """Three and a half blocks of 16 kHz mono."""
    path = tmp_path / "in.lac"
    path.write_bytes(tiny_codec.compress(music(3.5 * BLOCK / 16000, 16000, 1), 16000))
    return path
