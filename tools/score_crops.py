"""Score checkpoints on fixed crops, unquantised and at equal rates: what ablations are judged by.

A rate is the entropy of each latent channel's symbols over all crops, so that checkpoints can be
compared before they have a context model. Crops come from the files that a training run without
--valid holds out, or from a folder of their own.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from codec.entropy.quantise import dequantise, quantise
from codec.metrics.mel import mel_distance
from codec.model.checkpoint import Checkpoint, load
from codec.model.shipped import find_checkpoint
from codec.training.config import DataConfig
from codec.training.data import open_source, split_files

CROPS = 64
PLAIN = DataConfig(crop_seconds=1.5, gain_db=(0.0, 0.0))


def entropy_kbps(symbols: np.ndarray, frame_rate: float) -> float:
    """Of (crops, latent_dim, frames), per coded channel."""
    bits = 0.0
    for channel in symbols.transpose(1, 0, 2):
        _, counts = np.unique(channel, return_counts=True)
        shares = counts / counts.sum()
        bits -= float((shares * np.log2(shares)).sum())
    return bits * frame_rate / 1000


def at_rate(checkpoint: Checkpoint, latents: np.ndarray, kbps: float) -> tuple[float, np.ndarray]:
    """Standardised latents at the finest useful step that takes no more than ``kbps``."""
    useful = checkpoint.useful
    for step in range(useful.finest_step, useful.coarsest_step + 1, 4):
        at = checkpoint.tables.at(step)
        symbols = quantise(latents, at.step)
        rate = entropy_kbps(symbols, checkpoint.config.frame_rate)
        if rate <= kbps:
            break
    return rate, dequantise(symbols, at.centroids)


@torch.inference_mode()
def score(checkpoint: Checkpoint, waveform: Tensor, rates: list[float]) -> list[tuple[str, float]]:
    """Rate and mel distance of (crops, channels, time): unquantised, then at ``rates``."""
    model = checkpoint.autoencoder.eval()
    mean, std = (x[:, None] for x in (checkpoint.statistics.mean, checkpoint.statistics.std))

    def distance(latents: Tensor) -> float:
        rows = (x.flatten(0, 1) for x in (model.decode(latents * std + mean), waveform))
        return float(mel_distance(*rows, checkpoint.config.sample_rate).mean())

    exact = (model.posterior(waveform).mean - mean) / std
    scores = [("none", distance(exact))]
    for rate in rates:
        real, quantised = at_rate(checkpoint, exact.numpy(), rate)
        scores.append((f"{real:.2f}", distance(torch.from_numpy(quantised))))
    return scores


def main(
    checkpoints: list[str],
    data: Annotated[Path, typer.Option(help="Every 20th file is used.")],
    every: Annotated[bool, typer.Option("--every", help="Use all files of --data.")] = False,
    rates: Annotated[str, typer.Option(help="kbps per channel, with commas between.")] = "3,1.5",
    threads: int = 1,
) -> None:
    """Print the mel distance of every checkpoint at every rate."""
    torch.set_num_threads(threads)
    training, held_out = split_files(data, None)
    paths = sorted([*training, *held_out]) if every else held_out
    print(f"`{shlex.join(['python', *sys.argv])}`\n")
    print("| checkpoint | kbps | mel distance |\n|---|---|---|")
    for name in checkpoints:
        loaded = load(find_checkpoint(name))
        source = open_source(paths, loaded.config, PLAIN, seed=1, device=torch.device("cpu"))
        waveform = source.batch(range(CROPS)).waveform
        for kbps, distance in score(loaded, waveform, [float(rate) for rate in rates.split(",")]):
            print(f"| {name} | {kbps} | {distance:.3f} |")


if __name__ == "__main__":
    typer.run(main)
