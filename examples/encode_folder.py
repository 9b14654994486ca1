"""The latents of every recording of a folder, as .npy files, in memory that does not grow.

    python examples/encode_folder.py music/ latents/ [--model small] [--device cuda]

`lacuna latents` does the same for the diffusion model, in shards and with several workers.
"""

import argparse
from pathlib import Path

import numpy as np

import codec
from codec.audio import AudioReader

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("folder", type=Path)
parser.add_argument("out", type=Path)
parser.add_argument("--model", default="small")
parser.add_argument("--device", default="cpu")
arguments = parser.parse_args()

model = codec.load(arguments.model, device=arguments.device)
arguments.out.mkdir(parents=True, exist_ok=True)
for path in sorted(p for p in arguments.folder.iterdir() if p.is_file()):
    try:
        with AudioReader(path) as reader:
            pieces = reader.blocks(1 << 16)
            latents = list(model.encode_stream(pieces, reader.info.sample_rate))
    except codec.LacunaError as error:  # not audio, or damaged
        print(f"left out: {error}")
        continue
    z = np.concatenate(latents, axis=-1)  # (coded_channels, latent_dim, frames)
    np.save(arguments.out / f"{path.name}.npy", z)
    print(f"{path.name}: {z.shape}")
