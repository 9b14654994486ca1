"""What the context model saves: files of a folder at several bit rates, and bits per latent.

Each file is compressed and decompressed as by `lacuna compress --kbps`. Beside the bits that its
symbols really take stand those of other ways to code the same symbols: the model's static tables,
a Gaussian that is given each file's own variance per latent channel for nothing, and general
compressors on int16, channel after channel.
"""

from __future__ import annotations

import io
import lzma
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cyclopts
import numpy as np
import torch
from cyclopts import Parameter
from scipy.special import ndtr

from codec import audio, load
from codec.api import Codec
from codec.batch.folders import find_audio
from codec.errors import RateError
from codec.lac.compress import compress_array
from codec.lac.decompress import coder_for, decompress_array
from codec.lac.rate import RateTarget
from codec.lac.reader import Block, LacReader
from codec.metrics.distances import si_sdr
from codec.metrics.mel import mel_distance


@dataclass(frozen=True)
class Measured:
    """One file at one rate. Bits are sums over its symbols."""

    kind: str
    asked: float
    kbps: float
    finest: bool
    symbols: int
    bits: dict[str, float]
    mel: float
    si_sdr: float
    coding_share: float
    """Share of the time of compressing that finding the step and coding the symbols took."""


def gaussian_bits(blocks: list[Block]) -> float:
    """Ideal bits of each channel's symbols under a Gaussian of their own mean and variance."""
    bits = 0.0
    streams, latent_dim, _ = blocks[0].symbols.shape
    for stream in range(streams):
        for channel in range(latent_dim):
            k = np.concatenate([b.symbols[stream, channel] for b in blocks if not b.silent[stream]])
            if not k.size:
                continue
            values, counts = np.unique(k, return_counts=True)
            deviation = np.sqrt(k.var() + 1 / 12)  # what rounding adds is part of it
            upper, lower = ((values + half - k.mean()) / deviation for half in (0.5, -0.5))
            mass = np.where(
                values > k.mean(), ndtr(-lower) - ndtr(-upper), ndtr(upper) - ndtr(lower)
            )
            bits -= float(counts @ np.log2(np.maximum(mass, 2.0**-24)))
    return bits


def zstd(data: bytes) -> bytes:
    command = ["zstd", "-19", "--single-thread", "-q", "-c"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def general_bits(blocks: list[Block], compress: Callable[[bytes], bytes]) -> float:
    symbols = np.concatenate([block.symbols for block in blocks], axis=-1)
    return 8.0 * len(compress(symbols.astype("<i2").tobytes()))


def measure(codec: Codec, path: Path, kind: str, asked: float) -> Measured:
    """Raises RateError where the model does not reach so low a rate."""
    waveform, rate = audio.read(path)
    output = io.BytesIO()
    begin = time.perf_counter()
    report = compress_array(codec, waveform, rate, output, RateTarget(asked))
    total = time.perf_counter() - begin
    data = output.getvalue()
    decoded, _ = decompress_array(codec, data)

    begin = time.perf_counter()
    at_model_rate = audio.resample(waveform, rate, codec.sample_rate)
    with torch.inference_mode():
        codec.encode(torch.from_numpy(at_model_rate)[None])
    networks = time.perf_counter() - begin

    reader = LacReader(data)
    blocks = [b for b in reader.blocks(coder_for(codec, reader.header)) if b is not None]
    stored = [b.symbols[~b.silent] for b in blocks]
    step = report.step_index
    around = reader.header.block_overhead
    bits = {
        "context": 8.0 * sum((size or around) - around for size in reader.block_bytes),
        "static": sum(codec.tables.cost_bits(s, step) for s in stored),
        "Gaussian": gaussian_bits(blocks),
        "zstd -19": general_bits(blocks, zstd),
        "xz -9e": general_bits(blocks, lambda d: lzma.compress(d, preset=9 | lzma.PRESET_EXTREME)),
    }
    x, y = (
        torch.from_numpy(audio.resample(signal, rate, codec.sample_rate))
        for signal in (decoded, waveform)
    )
    return Measured(
        kind=kind,
        asked=asked,
        kbps=report.kbps,
        finest=report.at_finest,
        symbols=sum(s.size for s in stored),
        bits=bits,
        mel=float(mel_distance(x, y, codec.sample_rate).mean()),
        si_sdr=float(si_sdr(x, y).mean()),
        coding_share=max(0.0, 1 - networks / total),
    )


def coder_seconds(codec: Codec, path: Path) -> tuple[float, float]:
    """Processor time to code and to decode 60 s of a stereo file, repeated if it is shorter."""
    waveform, rate = audio.read(path)
    output = io.BytesIO()
    compress_array(codec, waveform, rate, output, RateTarget(quality=4 if codec.layered else 10))
    reader = LacReader(output.getvalue())
    block = next(b for b in reader.blocks(codec.coder) if b is not None)
    step = next(s for s in reader.block_steps if s is not None)
    count = round(60 * codec.frame_rate / block.symbols.shape[-1])
    begin = time.process_time()
    payloads = [codec.coder.encode(block.symbols, step) for _ in range(count)]
    middle = time.process_time()
    decoded = codec.coder.decode(payloads, block.symbols.shape, step)
    end = time.process_time()
    assert (decoded == block.symbols).all()
    return middle - begin, end - middle


def main(
    folder: Annotated[Path, Parameter(help="Audio; subfolders are classes.")],
    /,
    *,
    kbps: Annotated[str, Parameter(help="Rates, with commas between.")] = "1.5,3,6,12",
    model: Annotated[str, Parameter(alias="-m")] = "small",
    threads: int = 1,
) -> None:
    """Print the table as markdown."""
    if shutil.which("zstd") is None:
        sys.exit("zstd is missing; install it (Debian: apt install zstd)")
    torch.set_num_threads(threads)
    codec = load(model)
    rows: list[Measured] = []
    below: list[str] = []
    for path in find_audio(folder):
        kind = path.relative_to(folder).parts[0]
        for asked in map(float, kbps.split(",")):
            try:
                rows.append(measure(codec, path, kind, asked))
            except RateError as error:
                below.append(f"{path.relative_to(folder)} at {asked:g}: {error}")
        print(path.name, file=sys.stderr)
    used = f"model '{codec.config.name}', coding_id {codec.coding_id}"
    print(f"`python {shlex.join(sys.argv)}`, {used}\n")
    names = list(rows[0].bits)
    print(f"| class | files | asked kbps | real kbps | {' | '.join(names)} | mel | SI-SDR |")
    print("|---" * (len(names) + 6) + "|")
    for kind in [*sorted({row.kind for row in rows}), "all"]:
        for asked in sorted({row.asked for row in rows}):
            group = [r for r in rows if r.asked == asked and kind in (r.kind, "all")]
            if not group:
                continue
            symbols = sum(row.symbols for row in group)
            bits = [f"{sum(row.bits[name] for row in group) / symbols:.3f}" for name in names]
            finest = sum(row.finest for row in group)
            real = f"{np.mean([row.kbps for row in group]):.2f}"
            if finest:
                real += f" ({finest} at the finest useful step)"
            print(
                f"| {kind} | {len(group)} | {asked:g} | {real} | {' | '.join(bits)} "
                f"| {np.mean([r.mel for r in group]):.3f} "
                f"| {np.mean([r.si_sdr for r in group]):.1f} |"
            )
    used = [row.kbps / row.asked for row in rows if not row.finest]
    if used:
        print(f"\nOf the rate asked for, files below the finest step use {min(used):.1%} or more.")
    share = np.mean([row.coding_share for row in rows])
    print(f"Choosing the step and coding take {share:.0%} of the time of compressing.")
    stereo = next((p for p in find_audio(folder) if audio.probe(p).channels == 2), None)
    if stereo is not None:
        coding, decoding = coder_seconds(codec, stereo)
        print(f"60 s of stereo: {coding:.2f} s to code, {decoding:.2f} s to decode.")
    if below:
        print("\nBelow what the model reaches:\n" + "\n".join(f"- {text}" for text in below))


if __name__ == "__main__":
    cyclopts.run(main)
