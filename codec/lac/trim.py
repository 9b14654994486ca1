"""Fewer bytes for a file that there is: its waveform layer in coarser steps, or none.

Neither a model nor the sound is needed. All steps of a layer have one factor, so that its symbols
can be rounded again; what stands below it, the latents, is copied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from codec.entropy.coefficients import Layer, without_zeros
from codec.errors import FormatError, RateError
from codec.lac.draft import Counter
from codec.lac.finest_within import finest_within
from codec.lac.rate import SHORTEST_SECONDS, RateTarget
from codec.lac.reader import LacReader
from codec.lac.writer import ByteSink, LacWriter
from codec.network.layer_quantiser import requantise, step_factor


@dataclass(frozen=True)
class TrimReport:
    """The result for a file."""

    seconds: float
    bytes: int
    layered: bool
    """It still has a waveform layer."""

    @property
    def kbps(self) -> float:
        return self.bytes * 8 / self.seconds / 1000


def trim(reader: LacReader, output: ByteSink, target: RateTarget) -> TrimReport:
    """Write a file of at most ``target.kbps`` on average.

    Raises:
        FormatError: the file is damaged.
        RateError: it has more even without its waveform layer.
    """
    if not reader.intact or reader.samples is None:
        raise FormatError(
            "the file is damaged, and only a whole one can be trimmed; `lacuna decompress` saves "
            "what is left of it"
        )
    seconds = reader.samples / reader.header.sample_rate
    budget = target.budget(reader.header.channels, seconds)
    base = _write(reader, None, None)
    if base > budget:
        needed = math.ceil(base * 8 / max(seconds, SHORTEST_SECONDS) / 10) / 100
        raise RateError(
            f"{target.kbps_per_channel(1):g} kbps is less than the file takes without its waveform "
            f"layer: give {needed:g} or more, or compress the sound again"
        )
    layers = [layer for layer in reader.layers() if layer is not None]

    def size(step: int) -> float:
        return float(_write(reader, [_coarser(layer, step) for layer in layers], None))

    finest = min((layer.step_index for layer in layers), default=0)
    step = None
    if layers:
        step = finest if size(finest) <= budget else finest_within(size, budget, finest)
    kept = None if step is None else [_coarser(layer, step) for layer in layers]
    written = _write(reader, kept, output)
    return TrimReport(seconds, written, kept is not None)


def _coarser(layer: Layer, step_index: int) -> Layer:
    """A layer with at least this step."""
    if step_index <= layer.step_index:
        return layer
    ratio = step_factor(step_index) / step_factor(layer.step_index)
    symbols = requantise(layer.symbols, ratio)
    return Layer(step_index, layer.split, without_zeros(symbols))


def _write(reader: LacReader, layers: list[Layer] | None, output: ByteSink | None) -> int:
    """The file with these layers, or without; returns its bytes."""
    counter = Counter(output)
    header = replace(reader.header, layered=layers is not None)
    writer = LacWriter(counter, header)
    for index in range(reader.block_count):
        writer.write_coded(reader.coded(index), layers[index] if layers is not None else None)
    assert reader.samples is not None
    writer.close(reader.samples)
    return counter.bytes
