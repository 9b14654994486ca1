"""The models that ship inside the package, by name, by latent_id and by bit rate."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from codec.errors import CheckpointError, RateError

WEIGHTS_DIR = Path(__file__).parents[1] / "weights"
DEFAULT_MODEL = "small"

NEAREST_UP_TO = {"small": 1.5, "small_32x": 2.9}
"""kbps per channel up to which a model is nearer to the original than those with more latents;
measured on clips of held-out training files (docs/TRAINING_LOG.md)."""

T = TypeVar("T")


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
    """The shipped checkpoint with this ``latent_id``."""
    paths = shipped_models().values()
    return next((path for path in paths if _metadata(path).get("latent_id") == latent_id), None)


def models_for_rate(kbps_per_channel: float) -> list[str]:
    """The shipped models to try for a rate: the best for it, then those for lower rates.

    A model with fewer latents can say each of them more finely. Up to some rate that is the better
    bargain, above it more latents are (docs/TRAINING_LOG.md). Most audio never needs the others:
    sweeps of bare sines take four times the bits of music.
    """
    highest = {
        name: json.loads(_metadata(path)["useful"])["high_kbps"]
        for name, path in shipped_models().items()
    }
    names = sorted(highest, key=lambda name: highest[name])
    limits = [NEAREST_UP_TO.get(name, math.inf) for name in names]
    best = next((i for i, limit in enumerate(limits) if kbps_per_channel <= limit), -1)
    return names[: best + 1 or None][::-1] or [DEFAULT_MODEL]


def first_to_reach(names: list[str], attempt: Callable[[str], T]) -> T:
    """``attempt(name)`` with the first name for which it raises no RateError.

    Raises:
        RateError: what the last one raised.
    """
    for name in names[:-1]:
        with suppress(RateError):
            return attempt(name)
    return attempt(names[-1])


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
