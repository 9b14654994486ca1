"""What denoising is worth: rate-distortion tables of docs/DENOISING.md.

    python tools/denoising.py DIR --denoiser CHECKPOINT [--model small] [--seconds 12]
        [--regression CHECKPOINT]
        [--quality 0,2.5,5,7.5,10] [--methods all] [--seeds 3] [--json rows.json] [--png FILE]

The middle of every recording below DIR is coded at each quality (steps in equal ratios over the
useful ones, and never a waveform layer) with each codec model's own quantiser, and decoded from the
same file by each method:

    as it is        the rules of the model
    random          a random place in each cell, without a network: the control
    centroids       the mean of the static table's density in each cell
    context mean    the mean of the context model's density in each cell
    regression      one evaluation of the network at t = 1
    regression net  one of a network of its own, trained for that alone (--regression)
    unconditioned N a flow of N steps that is not told what the file says, within the cells
    flow N          what `lacuna decompress --steps N` does
    flow 2 t     begun at the step's own time, not at twice it, or at four times; one seed
    flow 2 coarse  in the half of the channels that have the widest cells; one seed
    flow N + bit    for files of `lacuna compress --for-denoising N`

Columns: kbps of whole files per channel; error, the mean squared error of latents; nats, the log
likelihood of the recording's MDCT under the map of the latents, per sample; and measures of
`lacuna evaluate`. Then for each method how much fewer bytes it takes than "as it is" at the same
value of each measure, averaged over the values that both reach (after Bjontegaard, with straight
lines between the rates), and the 95 % interval of resampled clips and seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zimtohrli
from denoising_curves import Results, Row, draw, table
from numpy.typing import NDArray

from codec.api import Codec, load
from codec.audio import resample
from codec.audio.reading import read
from codec.batch.folders import find_audio
from codec.entropy.context_model import ContextModel
from codec.entropy.static_tables import EntropyTables
from codec.evaluation.codecs.measures import ALL, measure
from codec.evaluation.codecs.perceptual import AUDIO_RATE, middle
from codec.lac.choose_step import LAYER_ABOVE_QUALITY
from codec.lac.denoising import Denoiser, Denoising, QuantisedBlock
from codec.lac.reader import LacReader
from codec.metrics.mel import mel_distance
from codec.model.blocks import decode_blocks, encode_blocks
from codec.model.bounds import mdct_log_likelihood, orthonormal_mdct
from codec.network.map_waveform import MapWaveformDecoder
from diffusion.denoising import LatentDenoiser
from diffusion.model import checkpoint
from diffusion.model.shipped import find_checkpoint

MEASURES = {
    "error": "lower",
    "nats": "higher",
    "tonal_recall": "higher",
    "tonal_precision": "higher",
    "zimtohrli": "higher",
    "mel_distance": "lower",
    "modulation": "lower",
    "flux_off": "lower",
    "buzz_off": "lower",
}
PICTURED = ("tonal_recall", "tonal_precision", "zimtohrli", "mel_distance", "flux_off", "error")

REFERENCE = "as it is"


class Recorder:
    """A denoiser that keeps what it made, clamped as the decoder will."""

    def __init__(self, denoiser: Denoiser, truth: NDArray[np.float32]) -> None:
        self._denoiser = denoiser
        self.latents, self._truth = truth.copy(), truth  # silent channels stay as they were

    def __call__(self, block: QuantisedBlock, steps: int) -> NDArray[np.float32]:
        made = self._denoiser(block, steps)
        span = slice(block.first_frame, block.first_frame + made.shape[2])
        self.latents[list(block.channels), :, span] = np.clip(made, block.low, block.high)
        return made

    @property
    def error(self) -> float:
        return float(np.square(self.latents - self._truth).mean())


def anywhere(seed: int) -> Denoiser:
    """A denoiser that knows nothing."""

    def denoise(block: QuantisedBlock, steps: int) -> NDArray[np.float32]:
        rng = np.random.default_rng([seed, block.first_frame])
        places = rng.random(block.low.shape, np.float32)
        return block.low + places * (block.high - block.low)

    return denoise


def of_coarse_channels(denoiser: Denoiser) -> Denoiser:
    """Only in channels whose cells are wider than half of them are."""

    def denoise(block: QuantisedBlock, steps: int) -> NDArray[np.float32]:
        coarse = block.steps > np.median(block.steps, axis=-1, keepdims=True)
        return np.where(coarse[..., None], denoiser(block, steps), block.latents)

    return denoise


Method = list[tuple[Denoiser, int]]
"""Denoiser and steps for each seed."""


def methods(model: Codec, weights: str, regression: str | None, seeds: int) -> dict[str, Method]:
    """By name; the reference first."""
    assert isinstance(model.tables, EntropyTables)
    means = EntropyTables(
        model.tables.sigma_units,
        model.tables.histogram,
        replace(model.tables.rules, midpoints=False),
    )
    loaded = checkpoint.load(find_checkpoint(weights))

    def dequantised_by(coder: EntropyTables | ContextModel) -> Denoiser:
        def denoise(block: QuantisedBlock, steps: int) -> NDArray[np.float32]:
            symbols = np.rint((block.low + block.high) / 2 / block.steps[..., None])
            return coder.dequantise(symbols.astype(np.int16), block.step_index)

        return denoise

    chosen: dict[str, Method] = {
        REFERENCE: [(lambda block, steps: block.latents, 1)],
        "random": [(anywhere(seed), 1) for seed in range(seeds)],
        "centroids": [(dequantised_by(means), 1)],
    }
    if model.context is not None:
        context = dequantised_by(ContextModel(model.context.arrays, means))
        chosen["context mean"] = [(context, 1)]
    chosen["regression"] = [(LatentDenoiser(loaded, model, start=lambda t: 1.0), 1)]
    if regression is not None:
        alone = checkpoint.load(find_checkpoint(regression))
        chosen["regression net"] = [(LatentDenoiser(alone, model, start=lambda t: 1.0), 1)]

    def flows(count: int, steps: int, **how: Any) -> Method:
        return [(LatentDenoiser(loaded, model, seed=n, **how), steps) for n in range(count)]

    chosen["unconditioned 4"] = flows(seeds, 4, conditioned=False)
    chosen |= {f"flow {steps}": flows(seeds, steps) for steps in (1, 2, 4)}
    chosen["flow 2 t"] = flows(1, 2, start=lambda t: t)
    chosen["flow 2 4t"] = flows(1, 2, start=lambda t: min(4 * t, 1.0))
    chosen["flow 2 coarse"] = [(of_coarse_channels(flow), n) for flow, n in flows(1, 2)]
    return chosen


@torch.inference_mode()
def nats_of(model: Codec, sound: NDArray[np.float32], latents: NDArray[np.float32]) -> float:
    """Log likelihood of the recording under the map of its latents, per sample; NaN without one."""
    decoder = model.autoencoder.decoder
    if not isinstance(decoder, MapWaveformDecoder):
        return float("nan")
    samples = latents.shape[2] * model.hop_length
    padded = torch.from_numpy(np.pad(sound, ((0, 0), (0, samples - sound.shape[1]))))
    rows = model.to_rows(padded[None])[0, :, 0]
    expected = decoder.expect(model.standardizer.inverse(torch.from_numpy(latents)))
    total = mdct_log_likelihood(orthonormal_mdct(rows), expected).sum()
    return float(total) / rows.numel()


def rows_of(
    model: Codec,
    sound: NDArray[np.float32],
    name: str,
    qualities: list[float],
    chosen: dict[str, Method],
    latents_only: bool,
) -> list[Row]:
    """One row for each quality, method and seed."""
    rate, rows = model.sample_rate, []
    blocks = list(encode_blocks(model, [sound]))
    truth = np.concatenate([block.latents for block in blocks], axis=2)
    whole = np.concatenate(list(decode_blocks(model, blocks, len(sound))), axis=1)
    target = torch.from_numpy(whole[:, : sound.shape[1]])
    for quality in qualities:
        latents_alone = quality * LAYER_ABOVE_QUALITY / 10 if model.layered else quality
        data = model.compress(sound, rate, quality=latents_alone, search=0)
        kbps = len(data) * 8 * rate / sound.shape[1] / 1000 / len(sound)
        plain = math.inf
        for method, seed, (denoiser, steps) in every(chosen):
            recorder = Recorder(denoiser, truth)
            row: Row = {"clip": name, "quality": quality, "method": method, "seed": seed}
            if latents_only:
                for index, block in enumerate(LacReader(data).blocks(model.coder)):
                    assert block is not None
                    Denoising(recorder, steps).latents(model, block, index)
            else:
                decoded = model.decompress(data, steps=steps, denoiser=recorder)[0]
                found = measures(decoded.numpy(), sound, rate)
                off = float(mel_distance(decoded, target, rate).mean())
                plain = off if method == REFERENCE else plain
                row |= {"pays": off < plain} | found
            nats = nats_of(model, sound, recorder.latents)
            rows.append(row | {"kbps": kbps, "error": recorder.error, "nats": nats})
    return rows


def every(chosen: dict[str, Method]) -> Iterator[tuple[str, int, tuple[Denoiser, int]]]:
    """Name, seed, and what makes it."""
    for name, method in chosen.items():
        for seed, one in enumerate(method):
            yield name, seed, one


def measures(
    decoded: NDArray[np.float32], sound: NDArray[np.float32], rate: int
) -> dict[str, float]:
    """Those of MEASURES that need the sound."""
    found = measure(decoded, sound, rate, speech=False, perceptual=None)
    mixes = (resample(x.mean(axis=0, dtype=np.float32), rate, AUDIO_RATE) for x in (sound, decoded))
    found["zimtohrli"] = float(zimtohrli.mos_from_signals(*mixes))
    return {key: found[key] for key in MEASURES if key in found}


def with_bit(rows: list[Row]) -> list[Row]:
    """Rows of the flows as the encoder allows them: the reference's where they do not pay."""
    plain = {(row["clip"], row["quality"]): row for row in rows if row["method"] == REFERENCE}
    added = []
    for row in rows:
        if str(row["method"]) in ("flow 1", "flow 2", "flow 4"):
            source = row if row["pays"] else plain[row["clip"], row["quality"]]
            added.append({**source, "method": f"{row['method']} + bit", "seed": row["seed"]})
    return rows + added


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("--denoiser", required=True)
    parser.add_argument("--regression", help="a checkpoint that was trained at t = 1 alone")
    parser.add_argument("--model", default="small")
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--quality", default="0,2.5,5,7.5,10")
    parser.add_argument("--methods", default="all", help="some of the names above, with commas")
    parser.add_argument("--latents-only", action="store_true", help="error and nats, quickly")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--png", type=Path, help="also draw the curves here")
    parser.add_argument("--json", help="also write the rows of all clips here")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, rows = load(arguments.model), []
    chosen = methods(model, arguments.denoiser, arguments.regression, arguments.seeds)
    if arguments.methods != "all":
        wanted = {REFERENCE, *arguments.methods.split(",")}
        chosen = {name: chosen[name] for name in chosen if name in wanted}
    qualities = sorted(float(quality) for quality in arguments.quality.split(","))
    for path in find_audio(arguments.folder):
        sound, rate = read(path)
        sound = np.asarray(resample(sound[:2], rate, model.sample_rate))
        sound = middle(sound, model.sample_rate, arguments.seconds)
        print(path, file=sys.stderr, flush=True)
        rows += rows_of(model, sound, str(path), qualities, chosen, arguments.latents_only)
        if arguments.json:
            Path(arguments.json).write_text(json.dumps(rows))
    report(rows, arguments.latents_only, arguments.png)


def report(rows: list[Row], latents_only: bool, png: Path | None) -> None:
    """Print the tables, and draw the curves."""
    known = dict(list(MEASURES.items())[:2]) if latents_only else MEASURES
    results = Results(rows if latents_only else with_bit(rows), known)
    labels = {name: ALL[name].label if name in ALL else name for name in known}
    curves = {(m, name): results.curve(m, name) for m in results.methods for name in known}
    for place in range(len(results.qualities)):
        kbps = curves[REFERENCE, "error"][place][0]
        table(
            [f"{kbps:.2f} kbps per channel", *labels.values()],
            [[m, *(f"{curves[m, name][place][1]:.3f}" for name in known)] for m in results.methods],
        )
    table(
        ["bytes saved", *labels.values()],
        [
            [m, *(results.saved(m, REFERENCE, name) for name in known)]
            for m in results.methods
            if m != REFERENCE
        ],
    )
    if png is not None:
        draw(results, {name: labels[name] for name in PICTURED if name in labels}, png)


if __name__ == "__main__":
    main()
