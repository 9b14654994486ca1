"""models: what ships with the package, the diffusion models and their labels included."""

from __future__ import annotations

import json
from typing import Any

from codec.cli import models as codec_models
from codec.cli.options import AsJson


def models(*, as_json: AsJson = False) -> None:
    """List the models that ship with this package, and the labels they know.

    Example: lacuna models
    """
    from codec.progress import working

    with working("reading the models"):
        rows = diffusion_rows()
    if as_json:
        print(json.dumps(codec_models.codec_rows() + rows))
        return
    codec_models.models()
    for row in rows:
        print(
            f"{row['name']} (diffusion): makes and edits latents of '{row['codec']}', latent_id "
            f"{row['latent_id']}\n  labels: {', '.join(row['labels'])}\n  {row['path']}"
        )


def diffusion_rows() -> list[dict[str, Any]]:
    """What `models` tells of each shipped diffusion model."""
    from diffusion.model.checkpoint import load as load_checkpoint
    from diffusion.model.shipped import shipped_models

    rows: list[dict[str, Any]] = []
    for name, path in shipped_models().items():
        loaded = load_checkpoint(path)
        rows.append(
            {
                "name": name,
                "kind": "diffusion",
                "labels": list(loaded.labels),
                "codec": loaded.codec,
                "latent_id": loaded.latent_id,
                "path": str(path),
            }
        )
    return rows
