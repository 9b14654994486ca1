"""How likely recordings are under a codec with a spectral map, in nats per second.

    python tools/bounds.py runs/base/best.safetensors --data music/dev

Prints the evidence lower bound and the importance-weighted bound (codec/model/bounds.py) under one
observation model for all designs, the orthonormal MDCT of hop 2048, and the KL divergence. Higher
is better for bounds. They are in nats over those of white noise of full scale, so that only
differences mean something.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts
import numpy as np
import torch
from cyclopts import Parameter
from cyclopts.validators import Number

from codec.api import load
from codec.model.bounds import bounds_of_rows
from codec.network.map_waveform import MapWaveformDecoder
from codec.training.config import DataConfig
from codec.training.data import open_source, split_files

BATCH = 8


def main(
    checkpoint: str,
    /,
    *,
    data: Path,
    samples: Annotated[int, Parameter(validator=Number(gte=1))] = 8,
    items: Annotated[int, Parameter(validator=Number(gte=8))] = 64,
    seconds: Annotated[float, Parameter(validator=Number(gt=0))] = 3.0,
) -> None:
    """Bounds over random crops of a folder.

    Args:
        checkpoint: a model's name, or a checkpoint's path.
        data: folder of audio.
        samples: K of the importance-weighted bound.
        items: crops.
        seconds: of each crop.
    """
    model = load(checkpoint)
    if not isinstance(model.autoencoder.decoder, MapWaveformDecoder):
        raise SystemExit(f"'{checkpoint}' has no spectral map: its likelihood is not known")
    paths = [path for part in split_files(data, None) for path in part]
    config = DataConfig(crop_seconds=seconds, gain_db=(0.0, 0.0))
    source = open_source(paths, model.config, config, seed=0, device=torch.device("cpu"))
    totals = []
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for first in range(0, items, BATCH):
            waveform = source.batch(range(first, first + BATCH)).waveform
            duration = waveform.shape[-1] / model.sample_rate
            bounds = bounds_of_rows(model, waveform, samples, generator)
            parts = torch.stack([bounds.elbo, bounds.weighted, bounds.kl])
            totals.append(parts.numpy() / duration)
    elbo, weighted, kl_rate = np.concatenate(totals, axis=1).mean(axis=1)
    print(f"ELBO {elbo:.0f}, IW-{samples} {weighted:.0f}, KL {kl_rate:.0f} nats per second")


if __name__ == "__main__":
    cyclopts.run(main)
