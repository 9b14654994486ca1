"""trim and verify as commands, of files that have a waveform layer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from codec_helpers import Lacuna, music
from untrained import layered_codec

from codec.cli.options import EXIT_DAMAGED
from codec.lac.reader import LacReader

RATE, SECONDS = 44100, 6


@pytest.fixture(scope="module")
def blob() -> bytes:
    sound: np.ndarray = music(SECONDS, RATE, 1)
    return layered_codec().compress(sound, RATE, kbps=24)


@pytest.fixture
def lac(blob: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "song.lac"
    path.write_bytes(blob)
    return path


def test_trim(lacuna: Lacuna, lac: Path, blob: bytes, tmp_path: Path) -> None:
    less = tmp_path / "less.lac"
    result = lacuna("trim", lac, less, "--kbps", 12)
    assert result.code == 0
    assert "with a coarser waveform layer" in result.stderr
    assert less.stat().st_size < min(len(blob), 12 * 1000 / 8 * SECONDS)
    assert LacReader(less.read_bytes()).header.layered
    assert lacuna("verify", less).code == 0
    result = lacuna("trim", lac, less, "--kbps", 12)
    assert result.code == 1
    assert "--force" in result.stderr
    result = lacuna("trim", lac, lac, "--kbps", 12, "--force")
    assert result.code == 1
    assert lac.read_bytes() == blob


@pytest.mark.parametrize(
    ("rate", "message"), [(0.01, "less than the file takes without"), (0, "not a bit rate")]
)
def test_a_rate_that_is_none_or_too_low_leaves_nothing(
    lacuna: Lacuna, lac: Path, tmp_path: Path, rate: float, message: str
) -> None:
    result = lacuna("trim", lac, tmp_path / "less.lac", "--kbps", rate)
    assert result.code == 1
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == [lac]


def test_verify_names_a_damaged_layer(lacuna: Lacuna, lac: Path, blob: bytes) -> None:
    span = LacReader(blob)._map.blocks[0].layer
    assert span is not None
    broken = bytearray(blob)
    broken[span.payload + 3] ^= 1
    lac.write_bytes(broken)
    result = lacuna("verify", lac, "--json")
    assert result.code == EXIT_DAMAGED
    facts = json.loads(result.stdout)
    assert (facts["ok"], facts["damaged_blocks"], facts["damaged_layers"]) == (False, [], [0])
    result = lacuna("trim", lac, lac.with_name("less.lac"), "--kbps", 12)
    assert result.code != 0
    assert "only a whole one can be trimmed" in result.stderr
