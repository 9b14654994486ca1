"""Every script in examples/ runs as it stands, and does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import codec

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *arguments: object) -> str:
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def losses(output: str) -> list[float]:
    return [float(value) for value in re.findall(r"(?:loss|distance) ([\d.]+)", output)]


@pytest.mark.parametrize("name", ["train_on_latents.py", "diffusers_drop_in.py"])
def test_what_it_trains_learns(name: str) -> None:
    values = losses(run(name))
    assert values[-1] < 0.95 * values[0]


def test_classify() -> None:
    assert float(run("classify.py").split()[-1]) >= 0.8


def test_encode_folder(audio_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "latents"
    music = tmp_path / "music"
    music.mkdir()
    for path in list(audio_folder.iterdir())[:2]:
        (music / path.name).write_bytes(path.read_bytes())
    (music / "notes.txt").write_text("no audio")
    output = run("encode_folder.py", music, out)
    assert "left out" in output
    arrays = [np.load(path) for path in sorted(out.iterdir())]
    assert len(arrays) == 2
    assert all(z.shape[1:] == (64, 22) and np.isfinite(z).all() for z in arrays)


def test_fine_tune(tmp_path: Path) -> None:
    path = tmp_path / "tuned.safetensors"
    output = run("fine_tune.py", path)
    values = losses(output)
    assert values[-1] < values[0]
    assert codec.load(path).latent_id != codec.load().latent_id
    assert codec.load(path).latent_id in output


def test_all_of_them_are_tested() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{path.name}"' in text for path in EXAMPLES.glob("*.py"))
