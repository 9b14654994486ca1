"""The command `lacuna export`, and the JavaScript example that decodes what it writes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from codec_helpers import Lacuna, music
from safetensors.torch import load_file
from untrained import untrained

from codec.api import Codec
from codec.export import write
from codec.export.write import export

pytest.importorskip("onnxruntime", reason="needs the extra 'export'")
pytest.importorskip("onnxscript", reason="needs the extra 'export'")

EXAMPLE = Path(__file__).parents[3] / "examples" / "decode_latents.js"


def test_a_table_and_the_files(lacuna: Lacuna, tiny_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "graphs"
    out.mkdir()
    (out / "decoder.onnx").write_text("old")
    (out / "mine.txt").write_text("kept")
    message = lacuna.fails("export", tiny_path, "--out", out)
    assert "has decoder.onnx already" in message
    assert "--force" in message
    result = lacuna("export", tiny_path, "--out", out, "--force")
    assert result.code == 0, result.stderr
    assert b"| decoder |" in result.stdout
    files = {"encoder.onnx", "encoder.pt2", "decoder.onnx", "decoder.pt2", "model.json"}
    assert {path.name for path in out.iterdir()} == files | {"mine.txt"}
    assert (out / "decoder.onnx").stat().st_size > 1000
    assert (out / "mine.txt").read_text() == "kept"


def test_mistakes(lacuna: Lacuna, tiny_path: Path, tmp_path: Path) -> None:
    assert "nobody" in lacuna.fails("export", "nobody", "--out", tmp_path / "a")
    (tmp_path / "file").write_text("")
    message = lacuna.fails("export", tiny_path, "--out", tmp_path / "file")
    assert "is not a folder" in message
    assert not (tmp_path / "a").exists()


def test_a_missing_package_is_told_first(
    lacuna: Lacuna, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "codec.cli.extra.importlib.util.find_spec", lambda name: None if name == "onnx" else name
    )
    message = lacuna.fails("export", tiny_path, "--out", tmp_path)
    assert "export needs onnx" in message
    assert 'pip install ".[export]"' in message


def test_what_a_spectral_map_cannot_is_told(
    lacuna: Lacuna, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codec.cli.options.Compute.load", lambda self, name: untrained("map"))
    exported = write.Exported(["map.onnx"], [write.Parity("map", 0, 10, 1, 1)])
    monkeypatch.setattr(write, "export", lambda *arguments, **options: exported)
    result = lacuna("export", "map", "--out", tmp_path)
    assert result.code == 0
    assert "no graph of its decoder: it follows partials" in result.stderr


@pytest.fixture(scope="session")
def node_modules(request: pytest.FixtureRequest) -> Path:
    """A folder with onnxruntime-node, installed once and kept in pytest's cache."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("needs node and npm")
    assert request.config.cache is not None
    folder = request.config.cache.mkdir("onnxruntime-node")
    if not (folder / "node_modules" / "onnxruntime-node").exists():
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
        command += ["--prefix", str(folder), "onnxruntime-node@1"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=120)
        except (subprocess.SubprocessError, OSError) as error:
            pytest.skip(f"onnxruntime-node cannot be installed: {error}")
    return folder / "node_modules"


def test_javascript_decodes_latents(
    lacuna: Lacuna, tiny_codec: Codec, tiny_path: Path, tmp_path: Path, node_modules: Path
) -> None:
    """With a stereo sound, which is coded as mid and side."""
    soundfile.write(tmp_path / "in.wav", music(0.5, 16000, 2).T, 16000, subtype="FLOAT")
    latents = tmp_path / "in.safetensors"
    assert lacuna("encode", tmp_path / "in.wav", latents, "--model", tiny_path).code == 0
    export(tiny_codec, tmp_path / "graphs")
    command = ["node", EXAMPLE, tmp_path / "graphs", latents, tmp_path / "out.wav"]
    environment = {**os.environ, "NODE_PATH": str(node_modules)}
    subprocess.run(command, check=True, env=environment, timeout=60)
    decoded, sample_rate = soundfile.read(tmp_path / "out.wav", always_2d=True)
    expected = tiny_codec.decode(load_file(latents)["latents"][None], length=8000)[0].numpy().T
    assert sample_rate == 16000
    assert decoded.shape == expected.shape
    assert np.abs(decoded - np.clip(expected, -1, 1)).max() < 2e-4
