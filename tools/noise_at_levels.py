"""How near white noise at a recording's band levels comes to it, by how it gets them.

    python tools/noise_at_levels.py DIR

prints the table of docs/LESSONS.md, "The spectral map". Levels are those of the short view (36
bands, every 12 ms), or their means over 93 ms. "Gains" makes every band of stationary noise as loud
as the level says on average; "matched" brings what is there to the level, once or three times
(codec/network/band_matching.py). 8 s from the middle of each recording, first channel.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
import torch.nn.functional as F

from codec.audio.reading import read
from codec.audio.resampling import resample
from codec.batch.folders import find_audio
from codec.evaluation.codecs.measures import measure
from codec.evaluation.codecs.perceptual import Perceptual, middle
from codec.network.band_matching import BandMatching
from codec.network.config import FRAME
from codec.network.views import analyze

RATE = 44100
SECONDS = 8.0
HOPS_OF_93_MS = 8
COLUMNS = ["zimtohrli", "mel_distance", "flux"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    matching, perceptual = BandMatching(), Perceptual()
    rows: dict[tuple[str, str], list[list[float]]] = {}
    for path in find_audio(folder):
        sound, rate = read(path)
        original = resample(middle(sound[:1], rate, SECONDS), rate, RATE)
        original = original[:, : original.shape[1] // FRAME * FRAME]
        level = analyze(torch.from_numpy(original)).short.flatten(1, 2)
        power = F.avg_pool1d(level.exp().mT, HOPS_OF_93_MS).mT
        smooth = power.log().repeat_interleave(HOPS_OF_93_MS, dim=1)[:, : level.shape[1]]
        smooth = torch.cat([smooth, level[:, smooth.shape[1] :]], dim=1)
        noise = torch.randn(original.shape, generator=torch.Generator().manual_seed(0))
        for name, wanted in (("12 ms", level), ("93 ms", smooth)):
            for times in (0, 1, 3):
                decoded = matching.with_gains(matching.spectra(noise), wanted / 2)
                for _ in range(times):
                    decoded = matching(decoded, wanted)
                how = f"matched {times} x" if times else "gains"
                values = measure(decoded.numpy(), original, RATE, False, perceptual)
                rows.setdefault((name, how), []).append([values[c] for c in COLUMNS])
    print("| levels | noise gets them by |", " | ".join(COLUMNS), "|")
    print("|---" * (2 + len(COLUMNS)) + "|")
    for (name, how), values in rows.items():
        means = np.mean(values, axis=0)
        print(f"| {name} | {how} |", " | ".join(f"{mean:.2f}" for mean in means), "|")


if __name__ == "__main__":
    main()
