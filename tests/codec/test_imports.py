"""What may import what: the runtime stays free of training packages, and of the later rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from codec_helpers import write_wav

REPOSITORY = Path(__file__).parents[2]
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
    assert not loaded & {*TRAINING_PACKAGES, "matplotlib", "diffusion"}


def test_the_public_names_are_there():
    import codec

    for name in codec.__all__:
        assert getattr(codec, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        codec.nonesuch  # noqa: B018


def imports_of(path: Path) -> set[str]:
    """Dotted names that a file imports anywhere, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources(*folders: str) -> list[Path]:
    files = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    assert files
    return files


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports_of(path)}


def test_codec_does_not_import_diffusion_and_nothing_imports_tools():
    for path in sources("codec"):
        assert not roots(path) & {"diffusion", "tests"}, path
    for path in sources("codec", "diffusion", "tests"):
        assert "tools" not in roots(path), path


def test_only_training_imports_training_packages():
    for path in sources("codec"):
        if "training" not in path.parts:
            assert not roots(path) & TRAINING_PACKAGES, path
