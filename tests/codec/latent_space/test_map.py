"""Maps of folders, and what a linear probe reads: known answers, and mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from codec_helpers import Lacuna
from PIL import Image

from codec.errors import LacunaError
from codec.latent_space import plane
from codec.latent_space.plane import by_principal_components, by_umap
from codec.latent_space.probe import probe

RNG = np.random.default_rng(0)
LABELS = ["a"] * 20 + ["b"] * 20


def test_a_probe_reads_what_is_there_and_no_more() -> None:
    pytest.importorskip("sklearn", reason="needs the extra 'measures'")
    known = RNG.standard_normal((40, 10))
    known[:20, 3] += 4
    noise = RNG.standard_normal((40, 10))
    result = probe({"known": known, "noise": noise}, LABELS)
    assert (result.files, result.labels, result.chance) == (40, 2, 0.5)
    assert result.accuracy["known"] > 0.9
    assert result.accuracy["noise"] < 0.75


def test_a_label_of_one_file_is_left_out() -> None:
    pytest.importorskip("sklearn", reason="needs the extra 'measures'")
    labels = [*LABELS, "c", None]
    assert probe({"x": RNG.standard_normal((42, 3))}, labels).files == 40
    with pytest.raises(LacunaError, match="1 labels with 2 files or more, expected at least 2"):
        probe({"x": RNG.standard_normal((3, 3))}, ["a", "a", "b"])


def test_principal_components_are_where_most_varies() -> None:
    """Two factors behind ten dimensions, one of which never changes."""
    factors = RNG.standard_normal((50, 2))
    vectors = factors @ RNG.standard_normal((2, 10)) + 0.01 * RNG.standard_normal((50, 10))
    vectors[:, 4] = 7.0
    points, share = by_principal_components(vectors)
    assert points.shape == (50, 2)
    assert share > 0.99


def test_umap_where_it_is_installed() -> None:
    pytest.importorskip("umap", reason="needs umap-learn")
    vectors = RNG.standard_normal((12, 5))
    vectors[:6] += 20
    points = by_umap(vectors)
    assert points.shape == (12, 2)
    assert np.isfinite(points).all()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tones and noise, three files each, in folders whose names are markup to others."""
    time = np.arange(8000) / 16000
    for number in range(3):
        for label in ("$x^", "noise"):
            (tmp_path / "in" / label).mkdir(parents=True, exist_ok=True)
            tone = 0.3 * np.sin(2 * np.pi * (300 + 50 * number) * time)
            sound = tone if label == "$x^" else 0.1 * RNG.standard_normal(8000)
            soundfile.write(tmp_path / "in" / label / f"{number}.wav", sound, 16000)
    return tmp_path / "in"


def test_the_command_draws_and_reads(
    lacuna: Lacuna,
    tiny_path: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plane, "has_umap", lambda: False)  # its first use compiles for long
    monkeypatch.setattr("codec.latent_space.folder.has_umap", lambda: False)
    out = tmp_path / "map.png"
    arguments = ("map", folder, "--out", out, "--model", tiny_path)
    result = lacuna(*arguments)
    assert result.code == 0, result.stderr
    assert Image.open(out).size[0] > 500
    pytest.importorskip("sklearn", reason="needs the extra 'measures'")
    text = result.stdout.decode()
    assert "6 files of 2 labels" in text
    assert "pooled latents" in text
    assert "mel statistics" in text
    assert " 50%  chance" in text
    assert "already exists" in lacuna.fails(*arguments)
    monkeypatch.setattr("codec.cli.look.importlib.util.find_spec", lambda name: None)
    result = lacuna(*arguments, "--force")
    assert result.code == 0
    assert 'no probe: it needs scikit-learn; pip install ".[measures]"' in result.stderr


def test_mistakes(lacuna: Lacuna, tiny_path: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.png"
    options = ("--model", tiny_path, "--out", out)
    (tmp_path / "empty").mkdir()
    assert "no audio file" in lacuna.fails("map", tmp_path / "empty", *options)
    assert "is not a folder" in lacuna.fails("map", tmp_path / "nowhere", *options)
    assert ".png" in lacuna.fails("map", folder, "--out", tmp_path / "map.jpg")
    for path in list((folder / "noise").iterdir())[1:]:
        path.unlink()
    for path in (folder / "$x^").iterdir():
        path.unlink()
    assert "has 1 usable audio files, expected 3" in lacuna.fails("map", folder, *options)
    assert not out.exists()
