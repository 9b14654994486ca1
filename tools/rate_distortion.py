"""Would choosing symbols by rate-distortion optimisation pay? Bits and error with and without it.

With it, a symbol next to the rounded one and nearer to the predicted mean is taken where that
lowers error + weight x bits. The error is that of the latents, in posterior sigmas, since these are
what the decoder was trained to bear. It is compared with the plain coder at the same bits,
between its steps.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from codec import load, read, resample
from codec.batch.folders import find_audio
from codec.entropy.context_model import WINDOW, ContextModel, Prediction
from codec.entropy.quantise import quantise
from codec.entropy.static_tables import FREQUENCY_BITS
from codec.entropy.waves import Ints


def optimised(
    model: ContextModel, latents: np.ndarray, step_index: int, weight: float
) -> np.ndarray:
    """Symbols of a block's ``latents`` (streams, latent_dim, frames)."""
    steps = model.steps(step_index)
    exact = (latents / steps[:, None]).reshape(-1, latents.shape[-1])
    rounded = quantise(latents, steps).reshape(exact.shape).astype(np.int64)
    bits = FREQUENCY_BITS - np.log2(model.frequencies)

    def choose(found: Prediction, lanes: slice, wave: int) -> Ints:
        rows = np.arange(lanes.start, lanes.stop)
        nearest, phase, scale = (x[:, 0] for x in (found.nearest, found.phase, found.scale))
        wanted, plain = exact[rows, wave - rows], rounded[rows, wave - rows]
        nearer = plain + np.sign(nearest - plain)

        def cost(symbols: Ints) -> np.ndarray:
            column = np.clip(symbols - nearest, -WINDOW - 1, WINDOW + 1) + WINDOW + 2
            decoded = symbols + model.offsets[scale, phase, column]
            return (wanted - decoded) ** 2 + weight * bits[scale, phase, column]

        return np.where(cost(nearer) < cost(plain), nearer, plain)[:, None]

    return model.scan(1, latents.shape, step_index, choose)[0]


def main(
    folder: Annotated[Path, typer.Argument(help="Audio; the first block of each file is used.")],
    model: Annotated[str, typer.Option("--model", "-m")] = "small",
    weights: Annotated[str, typer.Option(help="Of the bits, with commas between.")] = "0.05,0.1",
) -> None:
    """Print bits per latent and the error in dB; positive gains are in favour of optimisation."""
    codec = load(model)
    context = codec.context
    if context is None:
        sys.exit(f"'{model}' has no context model")
    sigma = context.steps(192)[:, None]  # the multiple is 1 there
    blocks = []
    for path in find_audio(folder):
        waveform, rate = read(path)
        sound = resample(waveform[:, : 7 * rate], rate, codec.sample_rate)
        with torch.inference_mode():
            blocks.append(codec.encode(torch.from_numpy(sound)[None])[0, ..., :256].numpy())

    def measure(step: int, weight: float) -> tuple[float, float]:
        bits = error = count = 0.0
        for block in blocks:
            if weight:
                symbols = optimised(context, block, step, weight)
            else:
                symbols = quantise(block, context.steps(step))
            bits += context.cost_bits(symbols, step)
            error += (((context.dequantise(symbols, step) - block) / sigma) ** 2).sum()
            count += block.size
        return bits / count, 10 * np.log10(error / count)

    finest, coarsest = codec.useful.finest_step, codec.useful.coarsest_step
    steps = np.linspace(finest, coarsest, 5).round().astype(int).tolist()
    plain = [measure(step, 0.0) for step in steps]
    print(f"`python {shlex.join(sys.argv)}`, {len(blocks)} blocks\n")
    print("| step | weight | bits per latent | error, dB | gain over plain at equal bits, dB |")
    print("|---|---|---|---|---|")
    by_bits = sorted(plain)
    for step, (bits, error) in zip(steps, plain, strict=True):
        print(f"| {step} | plain | {bits:.4f} | {error:.3f} | 0 |")
        for weight in map(float, weights.split(",")):
            bits, error = measure(step, weight)
            inside = by_bits[0][0] <= bits <= by_bits[-1][0]
            there = np.interp(bits, [b for b, _ in by_bits], [e for _, e in by_bits])
            gain = f"{there - error:+.3f}" if inside else "outside the range"
            print(f"| {step} | {weight:g} | {bits:.4f} | {error:.3f} | {gain} |")


if __name__ == "__main__":
    typer.run(main)
