"""The models that ship inside the package, by name and by id."""

from __future__ import annotations

from pathlib import Path

from codec.errors import CheckpointError
from codec.files import unicode_path

WEIGHTS_DIR = Path(__file__).parents[1] / "weights"
DEFAULT_MODEL = "small"
"""What files are made with, unless another is given."""


def shipped_models() -> dict[str, Path]:
    """Name -> checkpoint path."""
    return {path.stem: path for path in sorted(WEIGHTS_DIR.glob("*.safetensors"))}


def find_checkpoint(name_or_path: str | Path) -> Path:
    """The checkpoint of a shipped model's name, or a path as given.

    Raises:
        CheckpointError: neither; the message lists the shipped names.
    """
    return find_among(shipped_models(), name_or_path, "model")


def find_among(shipped: dict[str, Path], name_or_path: str | Path, kind: str) -> Path:
    """``find_checkpoint`` for any kind of model, by the names of those that ship."""
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    path = Path(name_or_path)
    if path.is_file():
        return path
    raise CheckpointError(
        f"no {kind} '{name_or_path}': expected the path of a checkpoint (.safetensors) "
        f"or a shipped name: {', '.join(shipped) or 'none is installed'}"
    )


def find_latent_id(latent_id: str) -> Path | None:
    """The shipped checkpoint with this ``latent_id``, which made such latents."""
    return _find_id("latent_id", latent_id)


def find_coding_id(coding_id: str) -> Path | None:
    """The shipped checkpoint with this ``coding_id``, which made such files."""
    return _find_id("coding_id", coding_id)


def _find_id(name: str, value: str) -> Path | None:
    paths = shipped_models().values()
    return next((path for path in paths if metadata_of(path).get(name) == value), None)


def metadata_of(path: Path) -> dict[str, str]:
    """What a checkpoint says of itself, without reading its weights."""
    from safetensors import SafetensorError, safe_open  # not needed for `lacuna --help`

    try:
        with unicode_path(path) as named, safe_open(named, framework="np") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"'{path}' cannot be read: {error}; install the package again"
        ) from None
