"""Writing a ``.lac`` file in one pass, so that the output may be a pipe.

Nothing before the end depends on the length of the audio: a stream and a whole file give the same
bytes, and the sample count stands at the end (twice, in the index and in the footer).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from codec.entropy.coder import SymbolCoder
from codec.entropy.coefficients import BINS_UNIT, Layer, encode
from codec.lac.header import (
    BLOCK_FIELDS,
    BLOCK_SYNC,
    LAYER_ALONE,
    LAYER_FIELDS,
    NOT_DENOISED,
    LacHeader,
    with_crc,
)
from codec.lac.trailer import check_samples, trailer_bytes


class ByteSink(Protocol):
    """Where a file goes: anything with ``write``, a pipe included."""

    def write(self, data: bytes, /) -> Any: ...


@dataclass(frozen=True)
class CodedBlock:
    """A block without its waveform layer, as it stands in a file."""

    payload: bytes
    frames: int
    step_index: int
    silent: NDArray[np.bool_]
    """(coded_channels,)"""
    denoise: bool


def fixed_bytes(header: LacHeader, blocks: int) -> int:
    """What a file of so many blocks takes beside its payloads."""
    trailer = len(trailer_bytes([0] * blocks, 0))
    return len(header.to_bytes()) + blocks * header.block_overhead + trailer


class LacWriter:
    """Writes a ``.lac`` file in one pass; ``fileobj`` needs only ``write`` and stays open.

    ``close`` must be called: without it the file has no index and no sample count.
    """

    def __init__(
        self, fileobj: ByteSink, header: LacHeader, coder: SymbolCoder | None = None
    ) -> None:
        """Writes the header; ``coder`` is of the kind that ``header.context_coded`` says, and is
        not needed for blocks that are coded already.

        Raises:
            FormatError: the coder is of another latent_dim than the header.
        """
        if coder is not None:
            header.check_coder(coder)
        self._file, self._header, self._coder = fileobj, header, coder
        self._sizes: list[int] = []
        self._frames = 0
        self._file.write(header.to_bytes())

    def write_block(
        self,
        symbols: NDArray[np.integer],
        step_index: int,
        silent: NDArray[np.bool_] | None = None,
        denoise: bool = True,
        layer: Layer | None = None,
    ) -> None:
        """Append a block.

        ``symbols`` (coded_channels, latent_dim, frames) has the header's frames_per_block, or
        fewer in the last block. Channels that ``silent`` (coded_channels,) marks are not stored.
        Without ``denoise`` the block is decoded as it is even where files are denoised. A file with
        waveform layers has a ``layer`` in each block, whose steps hang on latents as they are.

        Raises:
            ValueError: shapes that do not fit, a block after a short one, or a symbol outside
                the tables.
        """
        header = self._header
        if symbols.shape[:-1] != (header.coded_channels, header.latent_dim) or not (
            1 <= symbols.shape[-1] <= header.frames_per_block
        ):
            raise ValueError(
                f"symbols of shape {symbols.shape}: expected ({header.coded_channels}, "
                f"{header.latent_dim}, 1..{header.frames_per_block})"
            )
        if silent is None:
            silent = np.zeros(header.coded_channels, dtype=np.bool_)
        if silent.shape != (header.coded_channels,):
            raise ValueError(f"silent has shape {silent.shape}: expected one flag per channel")
        assert self._coder is not None
        payload = self._coder.encode(symbols[~silent], step_index)
        flagged = CodedBlock(payload, symbols.shape[-1], step_index, silent, denoise)
        self.write_coded(flagged, layer)

    def write_coded(self, block: CodedBlock, layer: Layer | None = None) -> None:
        """Append a block whose latents are coded already.

        Raises:
            ValueError: it follows a short one, or has no layer where the header says so.
        """
        header = self._header
        if self._frames != len(self._sizes) * header.frames_per_block:
            raise ValueError(
                f"block {len(self._sizes)} follows a block of fewer than "
                f"{header.frames_per_block} frames: only the last one may be short"
            )
        number = len(self._sizes) & 0xFFFF
        flag = 0 if block.denoise and layer is None else NOT_DENOISED
        start = BLOCK_FIELDS.pack(
            BLOCK_SYNC, number, block.frames, block.step_index | flag, len(block.payload)
        )
        coefficients = b""
        if (layer is not None) != header.layered:
            raise ValueError(f"layer is {layer}: expected one where the header says so, {header}")
        if layer is not None:
            payload_of_layer = encode(layer.symbols[~block.silent], layer.split)
            coefficients = with_crc(payload_of_layer)
            units = layer.bins // BINS_UNIT
            layer_step = layer.step_index | LAYER_ALONE * layer.alone
            start += LAYER_FIELDS.pack(layer_step, units, len(payload_of_layer))
        mask = np.packbits(block.silent, bitorder="little").tobytes()
        data = with_crc(start + mask + block.payload) + coefficients
        self._file.write(data)
        self._sizes.append(len(data))
        self._frames += block.frames

    def close(self, samples: int) -> None:
        """Write the index and the footer; ``samples`` is the source's exact length per channel.

        Raises:
            FormatError: more samples than the blocks written can hold.
        """
        check_samples(samples, self._frames, self._header)
        self._file.write(trailer_bytes(self._sizes, samples))
