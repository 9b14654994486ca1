"""What is there to gain? A codec's output with something of the original's put right.

Either the levels of bands, while phases stay as the codec made them: where they are given by fewer
principal components than there are bands, the components are those of the folder's own levels. Or
the whole spectrum below a frequency. Latents are not quantised, and of every file the first channel
is taken.
"""

from __future__ import annotations

import shlex
import sys
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from codec import load, read, resample
from codec.batch.folders import find_audio
from codec.evaluation.codecs.perceptual import Perceptual, middle
from codec.metrics.mel import mel_distance
from codec.network.levels import BandLevels
from codec.network.stft import inverse_stft, stft

N_FFT, HOP, FIRST = 2048, 512, 16
GRIDS = (
    *((bands, 4, bands) for bands in (24, 32, 36, 48, 64)),
    *((bands, 2, bands) for bands in (14, 16, 20, 24, 28, 32, 48)),
    (48, 1, 48),
    (24, 2, 16),
    (32, 2, 24),
)
"""Bands, STFT frames that share a level, and principal components that are kept."""
BELOW = (175, 350, 700, 1400, 2800)
"""Hz."""


def projection(levels: list[torch.Tensor], kept: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (bands,) of levels (1, frames, bands), and the map to their components and back."""
    together = torch.cat(levels, dim=1)[0]
    mean = together.mean(dim=0)
    _, _, axes = torch.linalg.svd(together - mean, full_matrices=False)
    return mean, axes[:kept].T @ axes[:kept]


def right_below(hz: float, sound: torch.Tensor, original: torch.Tensor, rate: int) -> torch.Tensor:
    """``sound`` with the spectrum of ``original`` in the bins below ``hz``; both (rows, time)."""
    window = torch.hann_window(N_FFT)
    spectra, right = (stft(x, window, HOP) for x in (sound, original))
    bins = round(hz / rate * N_FFT)
    spectra = torch.cat([right[..., :bins], spectra[..., bins:]], dim=-1)
    return inverse_stft(spectra, window, HOP)


@torch.inference_mode()
def main(
    folder: Annotated[Path, typer.Argument(help="Audio; subfolders are classes.")],
    model: Annotated[str, typer.Option("--model", "-m")] = "small_32x",
    threads: int = 1,
) -> None:
    """Print means for each class: mel distance, ViSQOL, and for the class 'speech' PESQ."""
    torch.set_num_threads(threads)
    codec = load(model)
    perceptual = Perceptual()
    rows: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    originals: list[tuple[str, torch.Tensor]] = []
    for path in find_audio(folder):
        waveform, rate = read(path)
        original = torch.from_numpy(resample(waveform[:1], rate, codec.sample_rate))
        originals.append((path.parent.name, original[:, : original.shape[1] // 4096 * 4096]))
    given = {}
    for bands, stride, kept in GRIDS:
        name = f"{bands} bands, {codec.sample_rate / HOP / stride:.1f} Hz"
        name += f", {kept} components" if kept < bands else ""
        levels = BandLevels(N_FFT, HOP, stride, FIRST, bands)
        given[name] = (levels, *projection([levels.measure(x) for _, x in originals], kept))
    for kind, original in originals:
        decoded = codec(original[None])[0]
        made = {"as decoded": decoded}
        for name, (levels, mean, keep) in given.items():
            wanted = (levels.measure(original) - mean) @ keep + mean
            made[name] = levels.correct(decoded, wanted)
        for hz in BELOW:
            right = right_below(hz, decoded, original, codec.sample_rate)
            made[f"waveform below {hz} Hz"] = right
        for name, sound in made.items():
            pair = (sound.numpy(), original.numpy())
            decoded, original = (middle(sound, codec.sample_rate, 8.0) for sound in pair)
            scores = perceptual(decoded, original, codec.sample_rate, speech=kind == "speech")
            mel = float(mel_distance(sound, original, codec.sample_rate).mean())
            rows[kind, name].append([mel, scores.get("visqol", np.nan), scores.get("pesq", np.nan)])
    print(
        f"`{shlex.join(['python', *sys.argv])}`, model '{codec.config.name}', {codec.latent_id}\n"
    )
    print("| class | put right | files | mel distance | ViSQOL | PESQ-WB |")
    print("|---|---|---|---|---|---|")
    for (kind, name), values in sorted(rows.items(), key=lambda row: row[0][0]):
        means = " | ".join("" if np.isnan(x) else f"{x:.2f}" for x in np.mean(values, axis=0))
        print(f"| {kind} | {name} | {len(values)} | {means} |")


if __name__ == "__main__":
    typer.run(main)
