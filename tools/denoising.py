"""What denoising is worth: rate-distortion tables of docs/DENOISING.md.

    python tools/denoising.py DIR --denoiser CHECKPOINT [--model small] [--seconds 12]
        [--quality 0,2.5,5,7.5,10] [--methods all] [--json rows.json]

The middle of every recording below DIR is coded at each quality (steps in equal ratios over the
useful ones) with each codec model's own quantiser, and decoded from the same file by each method:

    as it is        the rules of the model
    random          a random place in each cell, without a network: the control
    centroids       the mean of the static table's density in each cell
    context mean    the mean of the context model's density in each cell
    regression      one evaluation of the network at t = 1
    unconditioned N a flow of N steps that is not told what the file says, within the cells
    flow N          what `lacuna decompress --steps N` does

Columns: kbps of whole files per channel; error, the mean squared error of latents; nats, the log
likelihood of the recording's MDCT under the map of the latents, per sample; and measures of
`lacuna evaluate`. Then for each method how much fewer bytes it takes than "as it is" at the same
value of each measure, averaged over the values that both reach (after Bjontegaard, with straight
lines between the rates).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import zimtohrli
from numpy.typing import NDArray

from codec.api import Codec, load
from codec.audio import resample
from codec.audio.reading import read
from codec.batch.folders import find_audio
from codec.entropy.context_model import ContextModel
from codec.entropy.static_tables import EntropyTables
from codec.evaluation.codecs.measures import ALL, measure
from codec.evaluation.codecs.perceptual import AUDIO_RATE, middle
from codec.lac.denoising import Denoiser, Denoising, QuantisedBlock
from codec.lac.reader import LacReader
from codec.model.blocks import encode_blocks
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
}
REFERENCE = "as it is"
Row = dict[str, float | str]
Curve = list[tuple[float, float]]


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


def anywhere(block: QuantisedBlock, steps: int) -> NDArray[np.float32]:
    """A denoiser that knows nothing."""
    places = np.random.default_rng(block.first_frame).random(block.low.shape, np.float32)
    return block.low + places * (block.high - block.low)


def methods(model: Codec, weights: str) -> dict[str, tuple[Denoiser, int]]:
    """Name -> denoiser and steps."""
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

    chosen: dict[str, tuple[Denoiser, int]] = {
        REFERENCE: (lambda block, steps: block.latents, 1),
        "random": (anywhere, 1),
        "centroids": (dequantised_by(means), 1),
    }
    if model.context is not None:
        chosen["context mean"] = dequantised_by(ContextModel(model.context.arrays, means)), 1
    chosen["regression"] = LatentDenoiser(loaded, model, start=1.0), 1
    plain, flow = LatentDenoiser(loaded, model, conditioned=False), LatentDenoiser(loaded, model)
    chosen["unconditioned 4"] = plain, 4
    return chosen | {f"flow {steps}": (flow, steps) for steps in (1, 2, 4, 8)}


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
    chosen: dict[str, tuple[Denoiser, int]],
    latents_only: bool,
) -> list[Row]:
    """One row for each quality and method."""
    rate, rows = model.sample_rate, []
    truth = np.concatenate([block.latents for block in encode_blocks(model, [sound])], axis=2)
    for quality in qualities:
        data = model.compress(sound, rate, quality=quality)
        kbps = len(data) * 8 * rate / sound.shape[1] / 1000 / len(sound)
        for method, (denoiser, steps) in chosen.items():
            recorder = Recorder(denoiser, truth)
            if latents_only:
                for index, block in enumerate(LacReader(data).blocks(model.coder)):
                    assert block is not None
                    Denoising(recorder, steps).latents(model, block, index)
            else:
                decoded = model.decompress(data, steps=steps, denoiser=recorder)[0].numpy()
            values: Row = {"clip": name, "quality": quality, "method": method, "kbps": kbps}
            values |= {"error": recorder.error, "nats": nats_of(model, sound, recorder.latents)}
            if latents_only:
                rows.append(values)
                continue
            found = measure(decoded, sound, rate, speech=False, perceptual=None)
            mixes = (
                resample(x.mean(axis=0, dtype=np.float32), rate, AUDIO_RATE)
                for x in (sound, decoded)
            )
            found["zimtohrli"] = float(zimtohrli.mos_from_signals(*mixes))
            rows.append(values | {key: found[key] for key in MEASURES if key in found})
    return rows


def means(rows: list[Row], method: str, quality: float) -> dict[str, float]:
    """Means over a method's clips at a quality, by column."""
    own = [row for row in rows if (row["method"], row["quality"]) == (method, quality)]
    columns = ["kbps", *MEASURES]
    return {c: float(np.nanmean([float(row.get(c, np.nan)) for row in own])) for c in columns}


def saving(better: str, curve: Curve, other: Curve) -> float:
    """By how much the rate of ``curve`` is below that of ``other`` at equal values, as a share.

    Both are (rate, value) with rates rising. NaN where they have no value in common.
    """
    sign = 1 if better == "higher" else -1
    lines: list[Callable[[NDArray[np.float64]], NDArray[np.float64]]] = []
    ends = []
    for points in (curve, other):
        rate, value = np.array(points).T
        value = np.maximum.accumulate(sign * value)  # more bits never count as worse
        ends.append((value[0], value[-1]))
        lines.append(lambda q, v=value, r=rate: np.interp(q, v, np.log(r)))  # type: ignore[misc]
    low, high = max(e[0] for e in ends), min(e[1] for e in ends)
    if not low < high:
        return float("nan")
    q = np.linspace(low, high, 200)
    return float(1 - np.exp((lines[0](q) - lines[1](q)).mean()))


def table(header: list[str], lines: list[list[str]]) -> None:
    for line in (header, ["---"] * len(header), *lines):
        print("|", " | ".join(line), "|")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("--denoiser", required=True)
    parser.add_argument("--model", default="small")
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--quality", default="0,2.5,5,7.5,10")
    parser.add_argument("--methods", default="all", help="some of the names above, with commas")
    parser.add_argument("--latents-only", action="store_true", help="error and nats, quickly")
    parser.add_argument("--json", help="also write the rows of all clips here")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, rows = load(arguments.model), []
    chosen = methods(model, arguments.denoiser)
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
        with open(arguments.json, "w") as file:
            json.dump(rows, file)

    if arguments.latents_only:
        for name in list(MEASURES)[2:]:
            del MEASURES[name]
    labels = [ALL[name].label if name in ALL else name for name in MEASURES]
    averages = {(m, q): means(rows, m, q) for m in chosen for q in qualities}
    for quality in qualities:
        kbps = averages[REFERENCE, quality]["kbps"]
        table(
            [f"{kbps:.2f} kbps per channel", *labels],
            [[m, *(f"{averages[m, quality][name]:.3f}" for name in MEASURES)] for m in chosen],
        )

    def curve(method: str, name: str) -> Curve:
        return [(averages[method, q]["kbps"], averages[method, q][name]) for q in qualities]

    table(
        ["bytes saved", *labels],
        [
            [
                method,
                *(
                    f"{100 * saving(better, curve(method, name), curve(REFERENCE, name)):.1f} %"
                    for name, better in MEASURES.items()
                ),
            ]
            for method in chosen
            if method != REFERENCE
        ],
    )


if __name__ == "__main__":
    main()
