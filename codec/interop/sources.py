"""Where a model of another program lies: a folder, a config file, or a name on the hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codec.errors import CheckpointError
from codec.interop.hub import NAME, hub_file
from codec.text import printable

LAYOUTS = {
    "config.json": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
    "vae/config.json": (  # of a whole pipeline
        "vae/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.bin",
    ),
    "model_config.json": ("model.safetensors", "model.ckpt"),
}
"""Configs that are looked for, in this order, and the weights beside them."""

CONFIG_BYTES = 1 << 24
"""No config is larger."""


@dataclass(frozen=True)
class Source:
    """A config, parsed, and the file of its weights."""

    config: dict[str, Any]
    config_path: Path
    weights_path: Path


def find_source(source: str, weights: Path | None = None) -> Source:
    """What ``lacuna convert`` is to read.

    Args:
        source: a folder in one of the two layouts, a config file, or owner/name on the hub.
        weights: the checkpoint, where it does not lie beside the config under its usual name.

    Raises:
        CheckpointError: there is nothing of the kind, and the message says what was looked for.
    """
    path = Path(source)
    if path.is_dir():
        return _from_names(lambda name: _if_file(path / name), printable(source), weights)
    if path.is_file():
        if path.suffix.lower() != ".json":
            raise CheckpointError(
                f"'{printable(source)}' is no JSON config; give the folder or the config of the "
                f"model, and weights that lie elsewhere with --weights"
            )
        beside = {Path(config).name: names for config, names in LAYOUTS.items()}
        names = beside.get(path.name, ())
        weights_path = weights or _first(_if_file(path.parent / Path(name).name) for name in names)
        if weights_path is None:
            raise CheckpointError(
                f"there are no weights beside '{printable(source)}'; name them with --weights"
            )
        return Source(_read_json(path), path, weights_path)
    if NAME.fullmatch(source) and not source.endswith((".json", ".safetensors", ".ckpt")):
        return _from_names(lambda name: hub_file(source, name), printable(source), weights)
    raise CheckpointError(f"'{printable(source)}' not found; check the path")


def _from_names(get: Callable[[str], Path | None], source: str, weights: Path | None) -> Source:
    for config, names in LAYOUTS.items():
        if (config_path := get(config)) is None:
            continue
        weights_path = weights or _first(get(name) for name in names)
        if weights_path is None:
            raise CheckpointError(
                f"'{source}' has {config} and neither {' nor '.join(names)}; name the weights "
                f"with --weights"
            )
        return Source(_read_json(config_path), config_path, weights_path)
    raise CheckpointError(
        f"'{source}' has none of {', '.join(LAYOUTS)}; expected a folder as diffusers or "
        f"stable-audio-tools writes it, or give the config file itself and --weights"
    )


def _first(paths: Any) -> Path | None:
    return next((path for path in paths if path is not None), None)


def _if_file(path: Path) -> Path | None:
    return path if path.is_file() else None


def _read_json(path: Path) -> dict[str, Any]:
    name = printable(path)
    try:
        if path.stat().st_size > CONFIG_BYTES:
            raise CheckpointError(f"'{name}' is too large for a config; is it another file?")
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"'{name}' is no JSON config: {printable(str(error))}") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"'{name}' holds no JSON object; is it another file?")
    return values
