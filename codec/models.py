"""The models that ship inside the package, by name."""

from __future__ import annotations

from pathlib import Path

from codec.errors import CheckpointError

WEIGHTS_DIR = Path(__file__).parent / "weights"
DEFAULT_MODEL = "small"


def shipped_models() -> dict[str, Path]:
    """Name -> checkpoint path."""
    return {path.stem: path for path in sorted(WEIGHTS_DIR.glob("*.safetensors"))}


def find_checkpoint(name_or_path: str | Path) -> Path:
    """The checkpoint of a shipped model's name, or a path as given.

    Raises:
        CheckpointError: neither; the message lists the shipped names.
    """
    shipped = shipped_models()
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    path = Path(name_or_path)
    if path.is_file():
        return path
    raise CheckpointError(
        f"no model '{name_or_path}': expected the path of a checkpoint (.safetensors) "
        f"or a shipped name: {', '.join(shipped) or 'none is installed'}"
    )
