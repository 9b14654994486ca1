"""What a coarser side buys: stereo at one rate, with side's step 1 to 4 times that of mid.

    python tools/trade_side.py CHECKPOINT DIR [--kbps 3]

prints the table of docs/CODING.md. CHECKPOINT is a spectral_map, DIR a folder of stereo recordings
that it was not trained on; 8 s from the middle of each are coded.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch

from codec.api import Codec
from codec.audio.reading import read
from codec.batch.folders import find_audio
from codec.evaluation.codecs.measures import measure
from codec.evaluation.codecs.perceptual import Perceptual, middle
from codec.model import checkpoint

SECONDS = 8.0
STEPS = {"as mid's": 0, "2 times": 96, "2.8 times": 144, "4 times": 192}
COLUMNS = ["zimtohrli", "tonal_recall", "side_0-1 kHz", "side_1-4 kHz", "side_4-16 kHz"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("folder")
    parser.add_argument("--kbps", type=float, default=3.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sounds = [read(path) for path in find_audio(arguments.folder)]
    stereo = [(middle(x, rate, SECONDS), rate) for x, rate in sounds if len(x) == 2]
    loaded = checkpoint.load(arguments.checkpoint)
    perceptual = Perceptual()
    print("| side's step |", " | ".join(COLUMNS), "|")
    print("|---" * (1 + len(COLUMNS)) + "|")
    for name, side_steps in STEPS.items():
        # The context model looks its steps up in the same tables.
        loaded.tables.rules = replace(loaded.tables.rules, side_steps=side_steps)
        model = Codec(loaded)
        rows = []
        for sound, rate in stereo:
            decoded, _ = model.decompress(model.compress(sound, rate, kbps=arguments.kbps))
            values = measure(np.asarray(decoded), sound, rate, False, perceptual)
            rows.append([abs(values.get(column, np.nan)) for column in COLUMNS])
        means = np.nanmean(rows, axis=0)
        print(f"| {name} |", " | ".join(f"{value:.2f}" for value in means), "|", flush=True)


if __name__ == "__main__":
    main()
