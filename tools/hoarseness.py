"""Does decoded sound buzz? Two regularities that noise does not have, and that codecs put into it.

A network without a source of noise makes noise of a pattern that it repeats. Between 4 and 15 kHz,
of the first channel of every file, latents not quantised:

- buzz: the share of the envelope's modulation within 20 Hz of the rate of the STFT's frames that
  lies at that rate itself. 0.075 if all is even.
- lines: how far single bins stand out of the long-term spectrum, the root mean square of what is
  above the median of the 31 bins around, in dB.

    python tools/hoarseness.py held_out/ small_32x runs/small/best.safetensors
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

from codec import load, read, resample
from codec.batch.folders import find_audio
from codec.network.stft import stft

LOW_HZ, HIGH_HZ = 4000.0, 15000.0
HOP = 512
"""Of the network's STFT: its frames come at 86 Hz."""


def magnitudes(waveform: Tensor, n_fft: int, hop: int, rate: int) -> Tensor:
    """(1, time) -> (frames, bins between LOW_HZ and HIGH_HZ)."""
    bins = slice(round(LOW_HZ / rate * n_fft), round(HIGH_HZ / rate * n_fft))
    return stft(waveform, torch.hann_window(n_fft), hop)[0, :, bins].abs() + 1e-5


def buzz(waveform: Tensor, rate: int) -> float:
    envelope = magnitudes(waveform, 256, 64, rate).mean(dim=1)
    envelope = (envelope - envelope.mean()) * torch.hann_window(len(envelope))
    power = torch.fft.rfft(envelope).abs().square()
    distance = (torch.arange(len(power)) * rate / 64 / len(envelope) - rate / HOP).abs()
    return float(power[distance < 1.5].sum() / power[distance < 20.0].sum())


def lines(waveform: Tensor, rate: int) -> float:
    spectrum = 10 * magnitudes(waveform, 4096, 512, rate).square().mean(dim=0).log10()
    around = spectrum.unfold(0, 31, 1).median(dim=1).values
    return float((spectrum[15:-15] - around).clamp(min=0).square().mean().sqrt())


@torch.inference_mode()
def main(
    folder: Annotated[Path, typer.Argument(help="Audio, several seconds each.")],
    models: Annotated[list[str], typer.Argument(help="Names or paths of checkpoints.")],
    threads: int = 1,
) -> None:
    """Print medians over the files, of the originals and of what each model makes of them."""
    torch.set_num_threads(threads)
    codecs = {name: load(name) for name in models}
    found: dict[str, list[tuple[float, float]]] = {}
    for path in find_audio(folder):
        waveform, source_rate = read(path)
        for name, codec in [(None, codecs[models[0]]), *codecs.items()]:
            rate = codec.sample_rate
            sound = torch.from_numpy(resample(waveform[:1], source_rate, rate))
            sound = sound if name is None else codec(sound[None])[0]
            found.setdefault(name or "the original", []).append(
                (buzz(sound, rate), lines(sound, rate))
            )
    print(f"`{shlex.join(['python', *sys.argv])}`\n\n| | buzz | lines, dB |\n|---|---|---|")
    for name, values in found.items():
        both = np.median(values, axis=0)
        print(f"| {name} | {both[0]:.2f} | {both[1]:.1f} |")


if __name__ == "__main__":
    typer.run(main)
