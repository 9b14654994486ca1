"""The models that ship inside the package, by name, by latent_id and by bit rate."""

from __future__ import annotations

import json
from pathlib import Path

from codec.errors import CheckpointError

WEIGHTS_DIR = Path(__file__).parent / "weights"
EARLIER_DIR = WEIGHTS_DIR / "earlier"
"""Models that newer ones have replaced: files made with them must still open."""
DEFAULT_MODEL = "small"


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
    """The shipped checkpoint, of today or of an earlier version, with this ``latent_id``."""
    paths = [*shipped_models().values(), *sorted(EARLIER_DIR.glob("*.safetensors"))]
    return next((path for path in paths if _metadata(path).get("latent_id") == latent_id), None)


def model_for_rate(kbps_per_channel: float) -> str:
    """The shipped model for a rate: of those that can go so low, the one that can go highest.

    More latents, each coarsely quantised, come nearer to the original than fewer in fine steps, at
    every rate that both reach (docs/EVALUATION.md). Below all ranges it is the model that can go
    lowest.
    """
    ranges = {
        name: json.loads(_metadata(path)["useful"]) for name, path in shipped_models().items()
    }
    reaching = [name for name in ranges if ranges[name]["low_kbps"] <= kbps_per_channel]
    if reaching:
        return max(reaching, key=lambda name: ranges[name]["high_kbps"])
    return min(ranges, key=lambda name: ranges[name]["low_kbps"], default=DEFAULT_MODEL)


def _metadata(path: Path) -> dict[str, str]:
    """What a checkpoint says of itself, without reading its weights."""
    from safetensors import SafetensorError, safe_open  # not needed for `lacuna --help`

    try:
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"'{path}' cannot be read: {error}; install the package again"
        ) from None
