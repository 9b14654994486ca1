"""The command `lacuna export`, and the JavaScript example that decodes what it writes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from codec_helpers import Lacuna, music
from safetensors.torch import load_file, save_file

from codec.api import Codec
from codec.export.write import export
from codec.model.latent_codec import LatentCodec

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
    assert np.abs(decoded - expected).max() < 1e-4


def test_javascript_draws_what_a_spectral_map_makes_up(
    map_codec: LatentCodec, map_graphs: Path, tmp_path: Path, node_modules: Path
) -> None:
    """Mid and side, other noise each time: as long and as loud as PyTorch makes it."""
    z = torch.randn(2, 8, 20, generator=torch.Generator().manual_seed(0))
    facts = {"latent_id": map_codec.latent_id, "model": "map", "samples": "40000"}
    save_file({"latents": z}, tmp_path / "in.safetensors", {**facts, "sample_rate": "16000"})
    command = ["node", EXAMPLE, map_graphs, tmp_path / "in.safetensors"]
    environment = {**os.environ, "NODE_PATH": str(node_modules)}
    runs = []
    for name in ("first.wav", "second.wav"):
        subprocess.run([*command, tmp_path / name], check=True, env=environment, timeout=60)
        runs.append(soundfile.read(tmp_path / name, always_2d=True)[0])
    assert runs[0].shape == (40000, 2)
    assert not np.allclose(*runs, atol=0.01)
    for channel, expected in zip(runs[0].T, map_codec.decode(z[None], 40000)[0], strict=True):
        assert channel.std() == pytest.approx(float(expected.std()), rel=0.05)


def test_javascript_refuses_latents_of_another_model(
    map_codec: LatentCodec, map_graphs: Path, tmp_path: Path, node_modules: Path
) -> None:
    facts = {"latent_id": "0", "model": "other", "samples": "1", "sample_rate": "16000"}
    save_file({"latents": torch.zeros(1, 8, 1)}, tmp_path / "in.safetensors", facts)
    command = ["node", EXAMPLE, map_graphs, tmp_path / "in.safetensors", tmp_path / "o.wav"]
    environment = {**os.environ, "NODE_PATH": str(node_modules)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr.strip() == "made with the model other"
    assert not (tmp_path / "o.wav").exists()
