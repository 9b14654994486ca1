"""What is loaded when: little by ``import codec``, and no training package by the runtime.

Which room may import which is checked by ``lint-imports`` (pyproject.toml).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from codec_helpers import write_wav

TRAINING_PACKAGES = {"torchaudio", "auraloss", "accelerate", "tensorboard", "scipy", "librosa"}


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running ``code``."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split())


def test_import_codec_is_light():
    loaded = modules_after("import codec; codec.LacunaError")
    assert not loaded & {*TRAINING_PACKAGES, "torch", "numpy", "matplotlib", "diffusion"}


def test_what_loads_a_codec_is_light_beyond_torch():
    """Some 0.2 s, if none of these comes with it."""
    loaded = modules_after("from codec import load, compress, Codec")
    heavy = {"matplotlib", "rich", "cyclopts", "onnx", "onnxruntime", "sklearn", "pandas"}
    network = {"huggingface_hub", "diffusers", "transformers", "requests", "diffusion"}
    assert not loaded & {*TRAINING_PACKAGES, *heavy, *network}


def test_compress_and_decompress_import_no_training_package(tmp_path: Path, tiny_path: Path):
    source = write_wav(tmp_path / "in.wav")
    commands = [
        ["compress", str(source), str(tmp_path / "a.lac"), "-m", str(tiny_path)],
        ["decompress", str(tmp_path / "a.lac"), str(tmp_path / "a.wav"), "-m", str(tiny_path)],
    ]
    loaded = modules_after(
        "import sys\n"
        "from codec.cli.program import main\n"
        f"for arguments in {commands!r}:\n"
        "    sys.argv = ['lacuna', *arguments]\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as exit_:\n"
        "        assert not exit_.code\n"
    )
    assert (tmp_path / "a.wav").exists()
    assert "torch" in loaded
    assert not loaded & {*TRAINING_PACKAGES, "matplotlib"}


def test_the_public_names_are_there():
    import codec

    for name in codec.__all__:
        assert getattr(codec, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        codec.nonesuch  # noqa: B018
