"""What a search for latents brings: files of one rate with it, and without it and denoised.

    python tools/search_gain.py DIR... [--kbps 1.5] [--speech] [--search 0,30]

prints a table of docs/CODING.md: means over the folders' recordings, 6 s from the middle of each.
Mono is what is coded of speech (its first channel).
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch

from codec.api import load
from codec.audio.reading import read
from codec.batch.folders import find_audio
from codec.evaluation.codecs.measures import measure
from codec.evaluation.codecs.perceptual import Perceptual, middle

SECONDS = 6.0
COLUMNS = ["tonal_recall", "tonal_precision", "zimtohrli", "mel_distance"]
OF_SPEECH = ["pesq", "dnsmos"]
OF_STEREO = ["side_0-1 kHz", "side_1-4 kHz", "side_4-16 kHz"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", metavar="DIR")
    parser.add_argument("--kbps", type=float, default=1.5)
    parser.add_argument("--speech", action="store_true")
    parser.add_argument("--search", default="0,30")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    paths = [path for folder in arguments.folders for path in find_audio(folder)]
    sounds = [(middle(x, rate, SECONDS), rate) for x, rate in map(read, paths)]
    if arguments.speech:
        sounds = [(x[:1], rate) for x, rate in sounds]
    columns = COLUMNS + (OF_SPEECH if arguments.speech else OF_STEREO)
    codec, perceptual = load(), Perceptual()
    seconds = sum(x.shape[1] / rate for x, rate in sounds)
    print("| search | steps of denoising | compressed at |", " | ".join(columns), "|")
    print("|---" * (3 + len(columns)) + "|")
    for search in map(int, arguments.search.split(",")):
        begin = time.process_time()
        files = [codec.compress(x, rate, arguments.kbps, search=search) for x, rate in sounds]
        speed = seconds / (time.process_time() - begin)
        for steps in (0,) if search else (0, 1):  # searched blocks are not denoised
            rows = []
            for (x, rate), data in zip(sounds, files, strict=True):
                decoded = np.asarray(codec.decompress(data, steps=steps)[0])
                values = measure(decoded, x, rate, arguments.speech, perceptual)
                rows.append([values.get(column, np.nan) for column in columns])
            means = " | ".join(f"{mean:.2f}" for mean in np.nanmean(rows, axis=0))
            print(f"| {search} | {steps} | {speed:.1f}x | {means} |", flush=True)
    print(f"{len(sounds)} recordings", file=sys.stderr)


if __name__ == "__main__":
    main()
