"""Fewer bytes for a file that there is: its waveform layer in coarser steps, or none.

Neither a model nor the sound is needed. All steps of a layer have one factor, so that its symbols
can be rounded again; what stands below it, the latents, is copied.

Symbols are small integers, and at some steps all that were equal become smaller together, so the
sizes of rounded layers have gaps. In a gap the lowest coefficients are taken as they are before it
and the others as they are after it: as many of them as fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from codec.entropy.coefficients import Layer, without_zeros
from codec.errors import FormatError, RateError
from codec.lac.draft import Counter, sampled_blocks
from codec.lac.finest_within import CLOSE_ENOUGH, finest_within
from codec.lac.header import LAYER_HOP
from codec.lac.layered_draft import layer_bytes
from codec.lac.rate import RateTarget, counted_kbps
from codec.lac.reader import LacReader
from codec.lac.writer import ByteSink, LacWriter, fixed_bytes
from codec.network.layer_quantiser import STEP_INDICES, requantise, step_factor


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
    fixed = fixed_bytes(reader.header, reader.block_count)
    budget = target.budget(reader.header.channels, seconds, fixed)
    base = _write(reader, None, None)
    if base > budget:
        needed = math.ceil(counted_kbps(base, seconds, fixed) * 100) / 100
        raise RateError(
            f"{target.kbps_per_channel(1):g} kbps is less than the file takes without its waveform "
            f"layer: give {needed:g} or more, or compress the sound again"
        )
    layers = [layer for layer in reader.layers() if layer is not None]
    kept = _within(reader, layers, base, budget) if layers else None
    written = _write(reader, kept, output)
    return TrimReport(seconds, written, kept is not None)


def _within(reader: LacReader, layers: list[Layer], base: int, budget: float) -> list[Layer] | None:
    """The layers, as fine as the ``budget`` of the file's bytes allows; None where none fit."""

    def size(kept: list[Layer]) -> int:
        return _write(reader, kept, None)

    def at(step: int) -> list[Layer]:
        return [_coarser(layer, step) for layer in layers]

    if size(layers) <= budget:
        return layers
    start = _first_guess(reader, layers, base, budget)
    step = finest_within(lambda step: size(at(step)), budget, start)
    after = at(STEP_INDICES if step is None else step)
    used, best = size(after), after
    if used > budget:
        return None
    before, fits, too_many = at((STEP_INDICES if step is None else step) - 1), 0, LAYER_HOP
    while used < CLOSE_ENOUGH * budget and too_many - fits > 1:
        count = (fits + too_many) // 2
        joined = [_joined(*pair, count) for pair in zip(before, after, strict=True)]
        joined_size = size(joined)
        if joined_size > budget:
            too_many = count
        else:
            fits, best, used = count, joined, joined_size
    return best if any(layer.bins for layer in best) else None


def _first_guess(reader: LacReader, layers: list[Layer], base: int, budget: float) -> int:
    """The step that would do if all blocks were as a few of them."""
    indices = sorted(sampled_blocks(len(layers)))
    sample = [(layers[index], reader.coded(index).silent) for index in indices]

    def size(step: int) -> float:
        each = [layer_bytes(_coarser(layer, step), silent) for layer, silent in sample]
        return base + sum(each) * len(layers) / len(sample)

    finest = min(layer.step_index for layer in layers)
    step = finest_within(size, budget, finest)
    return STEP_INDICES - 1 if step is None else step


def _joined(before: Layer, after: Layer, count: int) -> Layer:
    """The lowest ``count`` coefficients of one layer and the others of the next coarser one, which
    has about its step and no more bins."""
    symbols = before.symbols.copy()
    symbols[..., count:] = 0
    symbols[..., count : after.bins] = after.symbols[..., count:]
    return replace(after, symbols=without_zeros(symbols))


def _coarser(layer: Layer, step_index: int) -> Layer:
    """A layer with at least this step; with STEP_INDICES, beyond all steps, nothing."""
    if step_index <= layer.step_index:
        return layer
    if step_index == STEP_INDICES:
        return replace(layer, symbols=layer.symbols[..., :0])
    ratio = step_factor(step_index) / step_factor(layer.step_index)
    symbols = requantise(layer.symbols, ratio)
    return replace(layer, step_index=step_index, symbols=without_zeros(symbols))


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
