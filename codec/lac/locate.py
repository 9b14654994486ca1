"""Finding the intact blocks of a ``.lac`` file, however much of it is damaged or forged.

An intact index says where they lie. Without it the chain of blocks is walked, searching for the
next sync marker whose block passes its CRC wherever the chain is broken.

A CRC shows damage, not intent, so nothing here is believed beyond what the bytes can show: a file
holds at most twice as many blocks, lost ones included, as the smallest ones would fill.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codec.entropy.coefficients import BINS_UNIT
from codec.lac.header import (
    BLOCK_FIELDS,
    BLOCK_SYNC,
    CRC_BYTES,
    LAYER_ALONE,
    LAYER_FIELDS,
    LAYER_HOP,
    NOT_DENOISED,
    LacHeader,
    crc_holds,
)
from codec.lac.trailer import (
    INDEX_MARKER,
    Footer,
    Index,
    check_samples,
    index_end,
    index_position,
    parse_footer,
    parse_index,
)
from codec.network.layer_quantiser import STEP_INDICES as LAYER_STEP_INDICES


@dataclass(frozen=True)
class LayerSpan:
    """Where the waveform layer of an intact block lies, and its fields."""

    step_index: int
    alone: bool
    bins: int
    payload: int
    payload_length: int
    intact: bool


@dataclass(frozen=True)
class Span:
    """Where an intact block lies, and its fields."""

    sequence: int
    frames: int
    step_index: int
    denoise: bool
    silent: NDArray[np.bool_]
    payload: int
    payload_length: int
    end: int
    """End of the block and its waveform layer; the file's end where that is within the layer."""
    layer: LayerSpan | None


class BlockMap:
    """The intact blocks of a file, and what is known of the others."""

    def __init__(self, data: bytes, header: LacHeader, start: int) -> None:
        """``start`` is where the header of the file ``data`` ends.

        Raises:
            FormatError: the sample count is absurd.
        """
        self._data, self._header, self._start = data, header, start
        self._search_budget = self._search_allowance()
        self.blocks: dict[int, Span] = {}
        """By their indices."""
        self.samples: int | None = None
        """Exact length of the source per channel; None when the end of the file is lost."""
        self.complete = False
        """Index and footer are intact and agree with the blocks' positions."""
        self.count = 0
        """Blocks in the file, lost ones included as far as they are known of."""
        self._locate(start)

    @property
    def frames(self) -> int:
        """Latent frames in all blocks; a lost block counts as a full one."""
        last = self.blocks.get(self.count - 1)
        missing = self._header.frames_per_block - last.frames if last else 0
        return self.count * self._header.frames_per_block - missing

    def _locate(self, start: int) -> None:
        """Fill ``blocks`` with the intact blocks, from the index or by walking."""
        footer = parse_footer(self._data)
        if footer is not None and footer.blocks > self._most_blocks:
            footer = None
        index = self._find_index(footer)
        if index is not None:
            count = len(index.sizes)
            fits = start + int(index.sizes.sum()) == index.position
            self.complete = fits and footer == Footer(index.samples, count)
            self.samples, self.count, end = index.samples, count, index.position
        else:
            fits, end = False, len(self._data)
            if footer is not None:
                self.samples, self.count = footer.samples, footer.blocks
        if index is not None and fits:
            self._take_indexed(start, index.sizes)
        else:
            self._walk(start, end)
        for number in [i for i in self.blocks if i < self.count - 1]:
            if self.blocks[number].frames != self._header.frames_per_block:
                del self.blocks[number]  # whole by its CRC, but it would shift all that follows
        if self.samples is not None:  # only now is it known how long the last block is
            check_samples(self.samples, self.frames, self._header)

    def _find_index(self, footer: Footer | None) -> Index | None:
        """The last intact index: where the footer says, else wherever its marker stands."""
        if footer is not None:
            index = self._index_at(index_position(self._data, footer))
            if index is not None:
                return index
        position = self._data.rfind(INDEX_MARKER, self._start)
        while position >= 0 and self._search_budget > 0:
            index = self._index_at(position)
            if index is not None:
                return index
            position = self._data.rfind(INDEX_MARKER, self._start, position)
        return None

    def _index_at(self, position: int) -> Index | None:
        end = index_end(self._data, position) if position >= self._start else None
        if end is None:
            return None
        index = parse_index(self._data, position, end)
        if index is None:
            self._search_budget -= end - position
        elif len(index.sizes) > self._most_blocks:
            return None
        return index

    def _take_indexed(self, start: int, sizes: NDArray[np.int64]) -> None:
        ends = start + np.cumsum(sizes)
        for index, (end, size) in enumerate(zip(ends.tolist(), sizes.tolist(), strict=True)):
            span = self._block_at(end - size, end)
            if span is not None and span.end == end and span.sequence == index & 0xFFFF:
                self.blocks[index] = span

    def _walk(self, start: int, end: int) -> None:
        """Follow the chain of blocks; where it breaks, search for the next one that is whole."""
        count_known = self.samples is not None
        # Its own allowance: blocks must not be lost to what was spent on a search for the index.
        self._search_budget = self._search_allowance()
        most = self.count if count_known else self._most_blocks
        position, following = start, 0  # of the first byte that is not accounted for
        candidate = start
        while 0 <= candidate < end and self._search_budget > 0:
            span = self._block_at(candidate, end)
            # The sequence number is 16 bits of the index: less than half way round is ahead.
            ahead = (span.sequence - following) & 0xFFFF if span else 0
            if span is None or ahead >= 0x8000 or following + ahead >= most:
                candidate = self._data.find(BLOCK_SYNC, candidate + 1, end)
                continue
            if candidate < position:  # within what the damaged layer before it claimed
                before = self.blocks[following - 1]
                self.blocks[following - 1] = replace(before, end=candidate)
            self.blocks[following + ahead] = span
            following += ahead + 1
            position = candidate = span.end
            if span.layer is not None and not span.layer.intact:
                candidate = span.layer.payload  # bytes of it may be missing
        if not count_known:
            inside = self._ends_inside_a_block(position, following - 1)
            self.count = min(following + inside, most)

    def _ends_inside_a_block(self, position: int, last: int) -> bool:
        """Whether the bytes from ``position`` on, after block ``last``, are of a lost block."""
        following = self._data[position : position + len(INDEX_MARKER)]
        last_is_short = (
            last in self.blocks and self.blocks[last].frames < self._header.frames_per_block
        )
        return bool(following) and not INDEX_MARKER.startswith(following) and not last_is_short

    def _search_allowance(self) -> int:
        """Searching may pass this many bytes through failing CRCs: ample for real damage, and a
        file made of nothing but markers is given up in time.
        """
        return 4 * len(self._data) + (1 << 20)

    @property
    def _most_blocks(self) -> int:
        """More blocks than this, lost ones included, are not believed.

        Twice what the bytes can hold: bytes of a damaged file may be missing, but hardly more
        than there are.
        """
        return 2 * ((len(self._data) - self._start) // self._header.block_overhead) + 1

    def _block_at(self, position: int, end: int) -> Span | None:
        """The block that starts at ``position``, if it is whole and ends by ``end``."""
        header = self._header
        payload = position + header.fields_bytes + header.mask_bytes
        if payload + CRC_BYTES > end:
            return None
        sync, sequence, frames, step_field, length = BLOCK_FIELDS.unpack_from(self._data, position)
        step_index, denoise = step_field & ~NOT_DENOISED, not step_field & NOT_DENOISED
        stop = payload + length + CRC_BYTES
        if (
            sync != BLOCK_SYNC
            or not 1 <= frames <= header.frames_per_block
            or step_index >= header.step_indices
            or length > header.max_payload
            or stop > end
        ):
            return None
        if not crc_holds(self._data[position:stop]):
            self._search_budget -= stop - position
            return None
        mask = np.frombuffer(self._data, np.uint8, header.mask_bytes, payload - header.mask_bytes)
        bits = np.unpackbits(mask, bitorder="little").astype(np.bool_)
        if bits[header.coded_channels :].any():
            return None
        silent = bits[: header.coded_channels]
        layer = self._layer_at(position, stop, end) if header.layered else None
        if layer is not None:
            if layer.payload_length > header.max_layer_payload:
                return None
            stop = min(end, stop + layer.payload_length + CRC_BYTES)
        return Span(sequence, frames, step_index, denoise, silent, payload, length, stop, layer)

    def _layer_at(self, block: int, start: int, end: int) -> LayerSpan:
        """The waveform layer that starts at ``start``, of the intact block at ``block``."""
        field, units, length = LAYER_FIELDS.unpack_from(self._data, block + BLOCK_FIELDS.size)
        step, alone = field & ~LAYER_ALONE, bool(field & LAYER_ALONE)
        stop = start + length + CRC_BYTES
        possible = (
            step < LAYER_STEP_INDICES
            and units * BINS_UNIT <= LAYER_HOP
            and length <= self._header.max_layer_payload
            and stop <= end
        )
        intact = possible and crc_holds(self._data[start:stop])
        if possible and not intact:
            self._search_budget -= stop - start
        return LayerSpan(step, alone, units * BINS_UNIT, start, length, intact)
