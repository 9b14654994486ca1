"""models: what ships with the package."""

from __future__ import annotations

import json
from typing import Any

from codec.cli.options import AsJson


def models(*, as_json: AsJson = False) -> None:
    """List the models that ship with this package.

    Example: lacuna models
    """
    from codec.progress import working

    with working("reading the models"):
        rows = codec_rows()
    if as_json:
        print(json.dumps(rows))
        return
    if not rows:
        print("no model is installed; pass a checkpoint's path with --model")
    for row in rows:
        low, high = row["kbps_per_channel"]
        more = " by its latents, to 32 and more with the waveform layer"
        more = more if row["waveform_layer"] else ""
        print(
            f"{row['name']}: {row['sample_rate']} Hz, {row['compression']:g}x, "
            f"{row['latent_dim']} latents at {row['frame_rate']} Hz, "
            f"{low} to {high} kbps per channel{more}, latent_id {row['latent_id']}, "
            f"coding_id {row['coding_id']}\n  {row['path']}"
        )


def codec_rows() -> list[dict[str, Any]]:
    """What `models` tells of each shipped codec."""
    from codec.model.checkpoint import load as load_checkpoint
    from codec.model.shipped import shipped_models
    from codec.network.config import SpectralMapConfig

    rows: list[dict[str, Any]] = []
    for name, path in shipped_models().items():
        loaded = load_checkpoint(path)
        config, (_, useful) = loaded.config, loaded.fitted()
        rows.append(
            {
                "name": name,
                "kind": "codec",
                "sample_rate": config.sample_rate,
                "compression": config.compression,
                "latent_dim": config.latent_dim,
                "frame_rate": round(config.frame_rate, 2),
                "kbps_per_channel": [
                    round(useful.low_kbps, 2),
                    round(useful.high_kbps, 2),
                ],
                "waveform_layer": isinstance(config.network, SpectralMapConfig),
                "latent_id": loaded.latent_id,
                "coding_id": loaded.coding_id,
                "path": str(path),
            }
        )
    return rows
