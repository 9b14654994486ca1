"""Whether the exported decoder of a spectral map decodes recordings as PyTorch does.

    lacuna export small --out graphs/
    python tools/export_parity.py graphs/ valid/

For every recording, the largest difference of a sample and how far the differences lie below the
waveform; both decoders get the draws of `codec.decode`. Needs onnxruntime (extra `export`).
"""

from __future__ import annotations

import json
from pathlib import Path

import cyclopts
import numpy as np
import onnxruntime
import torch

import codec
from codec.batch.folders import SUFFIXES, find_files
from codec.network.map_waveform import Place, Randomness


def main(graphs: Path, folder: Path, *, seconds: float = 15.0) -> None:
    """Compare.

    Args:
        graphs: what `lacuna export` wrote.
        folder: recordings.
        seconds: of each, from its start.
    """
    model = codec.load(json.loads((graphs / "model.json").read_text())["model"], device="cpu")
    session = onnxruntime.InferenceSession(graphs / "decoder.onnx")
    for path in find_files(folder, SUFFIXES, "recording"):
        waveform, sample_rate = codec.read(path)
        waveform = waveform[:, : round(seconds * sample_rate)]
        z = model.encode(codec.resample(waveform, sample_rate, model.sample_rate)[None])[0]
        place = Place(channels=range(len(z)))
        drawn = Randomness.of_place(place, len(z), z.shape[2])
        inputs = {"z": z, "births": drawn.births, "noise": drawn.noise[:, 0]}
        expected = model.synthesize(z, place).numpy()
        [decoded] = session.run(None, {name: x.numpy() for name, x in inputs.items()})
        error = decoded - expected
        below = 10 * np.log10(np.mean(expected**2) / np.mean(error**2))
        print(f"{path.relative_to(folder)}: {np.abs(error).max():.1e}, {below:.0f} dB below")


if __name__ == "__main__":
    with torch.inference_mode():
        cyclopts.run(main)
