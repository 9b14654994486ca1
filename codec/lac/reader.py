"""Reading a ``.lac`` file, as much of it as is intact.

    header | block 0 | block 1 | ... | block N-1 | index | footer

docs/FORMAT.md has the layout byte by byte. Every part has its own CRC-32: damage costs the blocks
it touches. locate.py finds the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from codec.entropy.coder import SymbolCoder
from codec.entropy.coefficients import Layer, decode
from codec.lac.header import CRC_BYTES, LacHeader
from codec.lac.locate import BlockMap, LayerSpan, Span
from codec.lac.writer import CodedBlock

SYMBOLS_AT_ONCE = 1 << 19
"""Blocks of this many symbols are decoded together: 190 s of stereo at 64 latents and 21.5 Hz."""


@dataclass(frozen=True)
class Block:
    """The content of a block."""

    symbols: NDArray[np.integer]
    """(coded_channels, latent_dim, frames); zeros where the channel is silent."""
    latents: NDArray[Any]
    """What the symbols stand for, of their shape: float32 in standard units, or tokens."""
    silent: NDArray[np.bool_]
    """(coded_channels,): the channel is digital silence throughout the block."""
    step_index: int
    denoise: bool = True
    """Its encoder did not say that it is better decoded as it is."""
    layer: Layer | None = None
    """Its waveform layer; None in a file without, and where it is damaged."""


@dataclass(frozen=True)
class VerifyReport:
    """What ``verify`` found."""

    header: LacHeader
    blocks: int
    """Blocks in the file, lost ones included as far as they are known of."""
    damaged: list[int]
    """Indices of the blocks that are lost."""
    damaged_layers: list[int]
    """Indices of the blocks that are whole but for their waveform layer."""
    complete: bool
    """Index and footer are intact and agree with the blocks' positions."""
    samples: int | None
    """Exact length of the source in samples; None when the end of the file is lost."""

    @property
    def ok(self) -> bool:
        return self.complete and not self.damaged and not self.damaged_layers


class LacReader:
    """Reads a ``.lac`` file, as much of it as is intact.

    All CRCs are checked when the reader is made, so ``damaged`` is complete from the start;
    symbols are decoded when a block is asked for. The compressed file is held in memory.
    """

    def __init__(self, source: BinaryIO | bytes | bytearray | memoryview) -> None:
        """``source`` is the bytes of a file, or a file opened in binary mode.

        Raises:
            FormatError: the header cannot be used, or the sample count is absurd.
        """
        is_bytes = isinstance(source, bytes | bytearray | memoryview)
        self._data = bytes(source if is_bytes else source.read())  # type: ignore[union-attr,arg-type]
        self.header, start = LacHeader.parse(self._data)
        self._map = BlockMap(self._data, self.header, start)
        self.samples = self._map.samples
        """Exact length of the source per channel; None when the end of the file is lost."""
        self.complete = self._map.complete
        """Index and footer are intact and agree with the blocks' positions."""
        self.block_count = self._map.count
        """Blocks in the file, lost ones included as far as they are known of."""
        self.frames = self._map.frames
        """Latent frames in all blocks; a lost block counts as a full one."""
        self.damaged = [i for i in range(self.block_count) if i not in self._map.blocks]
        """Indices of the blocks that are lost, in order."""
        self.damaged_layers = [
            index
            for index, span in sorted(self._map.blocks.items())
            if span.layer is not None and not span.layer.intact
        ]
        """Indices of the blocks that are whole but for their waveform layer, in order."""

    @property
    def intact(self) -> bool:
        """Nothing of the file is lost."""
        return self.complete and not self.damaged and not self.damaged_layers

    @property
    def block_bytes(self) -> list[int | None]:
        """Size of each block in the file, with all that belongs to it; None where it is lost."""
        around = self.header.block_overhead
        spans = (self._map.blocks.get(index) for index in range(self.block_count))
        return [
            span.payload_length + around + layer_bytes(span) if span else None for span in spans
        ]

    @property
    def layer_bytes(self) -> int:
        """What the waveform layers of all intact blocks take."""
        return sum(map(layer_bytes, self._map.blocks.values()))

    @property
    def layer_steps(self) -> list[int]:
        """Step indices of the intact waveform layers."""
        layers = (span.layer for _, span in sorted(self._map.blocks.items()))
        return [layer.step_index for layer in layers if layer is not None and layer.intact]

    @property
    def block_steps(self) -> list[int | None]:
        """Step index of each block; None where it is lost."""
        spans = (self._map.blocks.get(index) for index in range(self.block_count))
        return [span.step_index if span else None for span in spans]

    def blocks(
        self, coder: SymbolCoder, first: int = 0, last: int | None = None
    ) -> Iterator[Block | None]:
        """Blocks ``first`` to before ``last``, in order; None in the place of a damaged one.

        They are decoded a few at a time, which is quicker, and no others are touched.

        Raises:
            FormatError: the coder cannot be the one the file was made with.
        """
        self.header.check_coder(coder)
        last = self.block_count if last is None else min(last, self.block_count)
        count = max(1, SYMBOLS_AT_ONCE // self.header.block_values)
        for begin in range(first, last, count):
            spans = [self._map.blocks.get(i) for i in range(begin, min(last, begin + count))]
            yield from self._decode(spans, coder)

    def coded(self, index: int) -> CodedBlock:
        """An intact block's latents as they stand in the file."""
        span = self._map.blocks[index]
        payload = self._data[span.payload : span.payload + span.payload_length]
        return CodedBlock(payload, span.frames, span.step_index, span.silent, span.denoise)

    def layers(self) -> list[Layer | None]:
        """The waveform layers of all blocks; None where there is none, or it is damaged."""
        spans = [self._map.blocks.get(index) for index in range(self.block_count)]
        layers = self._layers(spans)
        return [layers.get(index) for index in range(self.block_count)]

    def _decode(self, spans: list[Span | None], coder: SymbolCoder) -> list[Block | None]:
        """The blocks at ``spans``, those of as many streams and one step all at once."""
        alike: dict[tuple[int, int], list[int]] = {}
        for position, span in enumerate(spans):
            if span is not None:
                key = (int((~span.silent).sum()), span.step_index)
                alike.setdefault(key, []).append(position)
        blocks: list[Block | None] = [None] * len(spans)
        layers = self._layers(spans)
        for (streams, step), positions in alike.items():
            group = [span for span in (spans[i] for i in positions) if span is not None]
            payloads = [self._data[s.payload : s.payload + s.payload_length] for s in group]
            shapes = [(streams, coder.latent_dim, span.frames) for span in group]
            decoded = coder.decode(payloads, shapes, step)
            for position, span, stored in zip(positions, group, decoded, strict=True):
                shape = (self.header.coded_channels, coder.latent_dim, span.frames)
                values = coder.dequantise(stored, step)
                symbols, latents = np.zeros(shape, stored.dtype), np.zeros(shape, values.dtype)
                symbols[~span.silent] = stored
                latents[~span.silent] = values
                layer = layers.get(position)
                blocks[position] = Block(symbols, latents, span.silent, step, span.denoise, layer)
        return blocks

    def _layers(self, spans: list[Span | None]) -> dict[int, Layer]:
        """The intact waveform layers of the blocks at ``spans``, by their positions there."""
        alike: dict[int, list[tuple[int, Span, LayerSpan]]] = {}
        for position, span in enumerate(spans):
            layer = span.layer if span is not None else None
            if span is not None and layer is not None and layer.intact:
                streams = int((~span.silent).sum())
                alike.setdefault(streams, []).append((position, span, layer))
        layers: dict[int, Layer] = {}
        for streams, group in alike.items():
            payloads = [
                self._data[layer.payload : layer.payload + layer.payload_length]
                for _, _, layer in group
            ]
            shapes = [(streams, span.frames, layer.bins) for _, span, layer in group]
            decoded = decode(payloads, shapes)
            for (position, span, layer), (coded, split) in zip(group, decoded, strict=True):
                shape = (self.header.coded_channels, span.frames, layer.bins)
                coefficients = np.zeros(shape, np.int16)
                coefficients[~span.silent] = coded
                layers[position] = Layer(layer.step_index, split, coefficients, layer.alone)
        return layers


def layer_bytes(span: Span) -> int:
    """What a block's waveform layer takes in the file, beside its fields."""
    return span.end - (span.payload + span.payload_length + CRC_BYTES)


def verify(source: BinaryIO | bytes | bytearray | memoryview) -> VerifyReport:
    """Check a file's structure and all its CRCs, without a model and without decoding symbols.

    Raises:
        FormatError: the header cannot be used, or the sample count is absurd.
    """
    reader = LacReader(source)
    return VerifyReport(
        reader.header,
        reader.block_count,
        reader.damaged,
        reader.damaged_layers,
        reader.complete,
        reader.samples,
    )
