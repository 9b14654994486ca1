"""The diffusion models that ship inside the package, by name."""

from __future__ import annotations

from pathlib import Path

from codec.model.shipped import find_among, metadata_of

WEIGHTS_DIR = Path(__file__).parents[1] / "weights"
DEFAULT_MODEL = "small"


def shipped_models() -> dict[str, Path]:
    """Name -> checkpoint path."""
    return {path.stem: path for path in sorted(WEIGHTS_DIR.glob("*.safetensors"))}


def find_latent_id(latent_id: str) -> Path | None:
    """The first shipped checkpoint of latents with this id."""
    paths = shipped_models().values()
    return next((path for path in paths if metadata_of(path).get("latent_id") == latent_id), None)


def find_checkpoint(name_or_path: str | Path) -> Path:
    """The checkpoint of a shipped model's name, or a path as given.

    Raises:
        CheckpointError: neither; the message lists the shipped names.
    """
    return find_among(shipped_models(), name_or_path, "diffusion model")
