"""The .lac container: independent blocks after a header, a seek index and a footer.

docs/FORMAT.md has the layout byte by byte. All numbers are little-endian, and a file is written in
one pass, so the output may be a pipe. Nothing before the end depends on the length of the audio:
a stream and a whole file give the same bytes, and the sample count stands at the end (twice, in
the index and in the footer).

Every part has its own CRC-32. Damage costs the blocks it touches: an intact index says where the
others lie, and without it the reader walks from block to block, searching for the next sync
marker whose block passes its CRC wherever the chain is broken.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from codec.entropy.coder import SymbolCoder
from codec.entropy.quantise import STEP_INDICES
from codec.errors import FormatError
from codec.lac.header import BLOCK_FIELDS, CRC_BYTES, LacHeader, crc_holds, with_crc

BLOCK_SYNC = b"\xa5L"
INDEX_MARKER = b"LIDX"
FOOTER_MARKER = b"LEND"

SYMBOLS_AT_ONCE = 1 << 17
"""Blocks of this many symbols are decoded together: 95 s of stereo at 32 latents and 21.5 Hz."""

_INDEX = struct.Struct("<4sIQ")  # marker, blocks, samples
_FOOTER = struct.Struct("<QII4s")  # samples, blocks, CRC-32, marker


@dataclass(frozen=True)
class Block:
    """The content of a block."""

    symbols: NDArray[np.int16]
    """(coded_channels, latent_dim, frames); zeros where the channel is silent."""
    latents: NDArray[np.float32]
    """What the symbols stand for, in standard units; of their shape."""
    silent: NDArray[np.bool_]
    """(coded_channels,): the channel is digital silence throughout the block."""


@dataclass(frozen=True)
class VerifyReport:
    """What ``verify`` found."""

    header: LacHeader
    blocks: int
    """Blocks in the file, lost ones included as far as they are known of."""
    damaged: list[int]
    """Indices of the blocks that are lost."""
    complete: bool
    """Index and footer are intact and agree with the blocks' positions."""
    samples: int | None
    """Exact length of the source in samples; None when the end of the file is lost."""

    @property
    def ok(self) -> bool:
        return self.complete and not self.damaged


class ByteSink(Protocol):
    """Where a file goes: anything with ``write``, a pipe included."""

    def write(self, data: bytes, /) -> Any: ...


class LacWriter:
    """Writes a ``.lac`` file in one pass; ``fileobj`` needs only ``write`` and stays open.

    ``close`` must be called: without it the file has no index and no sample count.
    """

    def __init__(self, fileobj: ByteSink, header: LacHeader, coder: SymbolCoder) -> None:
        """Writes the header; ``coder`` is of the kind that ``header.context_coded`` says.

        Raises:
            FormatError: the coder is of another latent_dim than the header.
        """
        _check_coder(header, coder)
        self._file, self._header, self._coder = fileobj, header, coder
        self._sizes: list[int] = []
        self._frames = 0
        self._file.write(header.to_bytes())

    def write_block(
        self,
        symbols: NDArray[np.integer],
        step_index: int,
        silent: NDArray[np.bool_] | None = None,
    ) -> None:
        """Append a block.

        ``symbols`` (coded_channels, latent_dim, frames) has the header's frames_per_block, or
        fewer in the last block. Channels that ``silent`` (coded_channels,) marks are not stored.

        Raises:
            ValueError: shapes that do not fit, a block after a short one, or a symbol outside
                the tables.
        """
        header = self._header
        frames = symbols.shape[-1]
        if symbols.shape[:-1] != (header.coded_channels, header.latent_dim) or not (
            1 <= frames <= header.frames_per_block
        ):
            raise ValueError(
                f"symbols of shape {symbols.shape}: expected ({header.coded_channels}, "
                f"{header.latent_dim}, 1..{header.frames_per_block})"
            )
        if self._frames != len(self._sizes) * header.frames_per_block:
            raise ValueError(
                f"block {len(self._sizes)} follows a block of fewer than "
                f"{header.frames_per_block} frames: only the last one may be short"
            )
        if silent is None:
            silent = np.zeros(header.coded_channels, dtype=np.bool_)
        if silent.shape != (header.coded_channels,):
            raise ValueError(f"silent has shape {silent.shape}: expected one flag per channel")
        payload = self._coder.encode(symbols[~silent], step_index)
        number = len(self._sizes) & 0xFFFF
        start = BLOCK_FIELDS.pack(BLOCK_SYNC, number, frames, step_index, len(payload))
        mask = np.packbits(silent, bitorder="little").tobytes()
        block = with_crc(start + mask + payload)
        self._file.write(block)
        self._sizes.append(len(block))
        self._frames += frames

    def close(self, samples: int) -> None:
        """Write the index and the footer; ``samples`` is the source's exact length per channel.

        Raises:
            FormatError: more samples than the blocks written can hold.
        """
        _check_samples(samples, self._frames, self._header)
        count = len(self._sizes)
        sizes = np.array(self._sizes, dtype="<u4").tobytes()
        self._file.write(with_crc(_INDEX.pack(INDEX_MARKER, count, samples) + sizes))
        crc = zlib.crc32(struct.pack("<QI", samples, count))
        self._file.write(_FOOTER.pack(samples, count, crc, FOOTER_MARKER))


class LacReader:
    """Reads a ``.lac`` file, as much of it as is intact.

    All CRCs are checked when the reader is made, so ``damaged`` is complete from the start;
    symbols are decoded when a block is asked for. The compressed file is held in memory.
    """

    def __init__(self, source: BinaryIO | bytes) -> None:
        """``source`` is the bytes of a file, or a file opened in binary mode.

        Raises:
            FormatError: the header cannot be used, or the sample count is absurd.
        """
        self._data = source if isinstance(source, bytes) else source.read()
        self.header, start = LacHeader.parse(self._data)
        self._search_budget = self._search_allowance()
        self._blocks: dict[int, _Span] = {}
        self.samples: int | None = None
        """Exact length of the source per channel; None when the end of the file is lost."""
        self.complete = False
        """Index and footer are intact and agree with the blocks' positions."""
        self.block_count = 0
        """Blocks in the file, lost ones included as far as they are known of."""
        self._locate(start)
        self.damaged = [i for i in range(self.block_count) if i not in self._blocks]
        """Indices of the blocks that are lost, in order."""

    @property
    def frames(self) -> int:
        """Latent frames in all blocks; a lost block counts as a full one."""
        last = self._blocks.get(self.block_count - 1)
        missing = self.header.frames_per_block - last.frames if last else 0
        return self.block_count * self.header.frames_per_block - missing

    @property
    def block_bytes(self) -> list[int | None]:
        """Size of each block in the file, with all that belongs to it; None where it is lost."""
        around = self.header.block_overhead
        spans = (self._blocks.get(index) for index in range(self.block_count))
        return [span.payload_length + around if span else None for span in spans]

    @property
    def block_steps(self) -> list[int | None]:
        """Step index of each block; None where it is lost."""
        spans = (self._blocks.get(index) for index in range(self.block_count))
        return [span.step_index if span else None for span in spans]

    def blocks(
        self, coder: SymbolCoder, first: int = 0, last: int | None = None
    ) -> Iterator[Block | None]:
        """Blocks ``first`` to before ``last``, in order; None in the place of a damaged one.

        They are decoded a few at a time, which is quicker, and no others are touched.

        Raises:
            FormatError: the coder cannot be the one the file was made with.
        """
        _check_coder(self.header, coder)
        last = self.block_count if last is None else min(last, self.block_count)
        count = max(1, SYMBOLS_AT_ONCE // self.header.block_values)
        for begin in range(first, last, count):
            spans = [self._blocks.get(i) for i in range(begin, min(last, begin + count))]
            yield from self._decode(spans, coder)

    def _decode(self, spans: list[_Span | None], coder: SymbolCoder) -> list[Block | None]:
        """The blocks at ``spans``, those of one shape and step all at once."""
        alike: dict[tuple[int, int, int], list[int]] = {}
        for position, span in enumerate(spans):
            if span is not None:
                key = (int((~span.silent).sum()), span.frames, span.step_index)
                alike.setdefault(key, []).append(position)
        found: list[Block | None] = [None] * len(spans)
        for (streams, frames, step), positions in alike.items():
            group = [span for span in (spans[i] for i in positions) if span is not None]
            payloads = [self._data[s.payload : s.payload + s.payload_length] for s in group]
            decoded = coder.decode(payloads, (streams, coder.latent_dim, frames), step)
            for position, span, stored in zip(positions, group, decoded, strict=True):
                shape = (self.header.coded_channels, coder.latent_dim, frames)
                symbols, latents = np.zeros(shape, np.int16), np.zeros(shape, np.float32)
                symbols[~span.silent] = stored
                latents[~span.silent] = coder.dequantise(stored, step)
                found[position] = Block(symbols, latents, span.silent)
        return found

    def _locate(self, start: int) -> None:
        """Fill ``_blocks`` with the intact blocks, from the index or by walking."""
        footer = self._footer()
        trailer = self._index(start, footer)
        if trailer is not None:
            fits = start + int(trailer.sizes.sum()) == trailer.position
            self.complete = fits and footer == (trailer.samples, len(trailer.sizes))
            known: tuple[int, int] | None = (trailer.samples, len(trailer.sizes))
            end = trailer.position
        else:
            fits, known, end = False, footer, len(self._data)
        if known is not None:
            self.samples, self.block_count = known
        if trailer is not None and fits:
            self._take_indexed(start, trailer.sizes)
        else:
            self._walk(start, end, known is not None)
        for index in [i for i, span in self._blocks.items() if i < self.block_count - 1]:
            if self._blocks[index].frames != self.header.frames_per_block:
                del self._blocks[index]  # whole by its CRC, but it would shift all that follows
        if self.samples is not None:  # only now is it known how long the last block is
            _check_samples(self.samples, self.frames, self.header)

    def _footer(self) -> tuple[int, int] | None:
        """(samples, blocks) of an intact footer at the very end."""
        tail = self._data[-_FOOTER.size :]
        if len(tail) < _FOOTER.size:
            return None
        samples, count, crc, marker = _FOOTER.unpack(tail)
        if marker != FOOTER_MARKER or crc != zlib.crc32(tail[:12]) or count > self._most_blocks():
            return None
        return samples, count

    def _index(self, start: int, footer: tuple[int, int] | None) -> _Trailer | None:
        """The last intact index: where the footer says, else wherever its marker stands."""
        if footer is not None:
            size = _INDEX.size + 4 * footer[1] + CRC_BYTES
            found = self._index_at(len(self._data) - _FOOTER.size - size, start)
            if found is not None:
                return found
        position = self._data.rfind(INDEX_MARKER, start)
        while position >= 0 and self._search_budget > 0:
            found = self._index_at(position, start)
            if found is not None:
                return found
            position = self._data.rfind(INDEX_MARKER, start, position)
        return None

    def _index_at(self, position: int, start: int) -> _Trailer | None:
        if position < start or position + _INDEX.size > len(self._data):
            return None
        marker, count, samples = _INDEX.unpack_from(self._data, position)
        end = position + _INDEX.size + 4 * count + CRC_BYTES
        if marker != INDEX_MARKER or end > len(self._data):
            return None
        if not crc_holds(self._data[position:end]):
            self._search_budget -= end - position
            return None
        sizes = np.frombuffer(self._data, "<u4", count, position + _INDEX.size)
        return _Trailer(position, samples, sizes.astype(np.int64))

    def _take_indexed(self, start: int, sizes: NDArray[np.int64]) -> None:
        ends = start + np.cumsum(sizes)
        for index, (end, size) in enumerate(zip(ends.tolist(), sizes.tolist(), strict=True)):
            span = self._block_at(end - size, end)
            if span is not None and span.end == end and span.sequence == index & 0xFFFF:
                self._blocks[index] = span

    def _walk(self, start: int, end: int, count_known: bool) -> None:
        """Follow the chain of blocks; where it breaks, search for the next one that is whole."""
        # Its own allowance: blocks must not be lost to what was spent on a search for the index.
        self._search_budget = self._search_allowance()
        most = self.block_count if count_known else self._most_blocks()
        position, following = start, 0  # of the first byte that is not accounted for
        candidate = start
        while 0 <= candidate < end and self._search_budget > 0:
            span = self._block_at(candidate, end)
            # The sequence number is 16 bits of the index: less than half way round is ahead.
            ahead = (span.sequence - following) & 0xFFFF if span else 0
            if span is None or ahead >= 0x8000 or following + ahead >= most:
                candidate = self._data.find(BLOCK_SYNC, candidate + 1, end)
                continue
            self._blocks[following + ahead] = span
            following += ahead + 1
            position = candidate = span.end
        if not count_known:
            self.block_count = following + self._ends_inside_a_block(position, following - 1)

    def _ends_inside_a_block(self, position: int, last: int) -> bool:
        """Whether the bytes from ``position`` on, after block ``last``, are of a lost block."""
        rest = self._data[position : position + len(INDEX_MARKER)]
        last_is_short = (
            last in self._blocks and self._blocks[last].frames < self.header.frames_per_block
        )
        return bool(rest) and not INDEX_MARKER.startswith(rest) and not last_is_short

    def _search_allowance(self) -> int:
        """Searching may pass this many bytes through failing CRCs: ample for real damage, and a
        file made of nothing but markers is given up in time.
        """
        return 4 * len(self._data) + (1 << 20)

    def _most_blocks(self) -> int:
        """More blocks than this, lost ones included, are not believed: 2^16 may be missing."""
        return len(self._data) // self.header.block_overhead + 0x10000

    def _block_at(self, position: int, end: int) -> _Span | None:
        """The block that starts at ``position``, if it is whole and ends by ``end``."""
        header = self.header
        payload = position + BLOCK_FIELDS.size + header.mask_bytes
        if payload + CRC_BYTES > end:
            return None
        sync, sequence, frames, step_index, length = BLOCK_FIELDS.unpack_from(self._data, position)
        stop = payload + length + CRC_BYTES
        if (
            sync != BLOCK_SYNC
            or not 1 <= frames <= header.frames_per_block
            or step_index >= STEP_INDICES
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
        return _Span(sequence, frames, step_index, silent, payload, length, stop)


def verify(source: BinaryIO | bytes) -> VerifyReport:
    """Check a file's structure and all its CRCs, without a model and without decoding symbols.

    Raises:
        FormatError: the header cannot be used, or the sample count is absurd.
    """
    reader = LacReader(source)
    return VerifyReport(
        reader.header, reader.block_count, reader.damaged, reader.complete, reader.samples
    )


@dataclass(frozen=True)
class _Span:
    """Where an intact block lies, and its fields."""

    sequence: int
    frames: int
    step_index: int
    silent: NDArray[np.bool_]
    payload: int
    payload_length: int
    end: int


@dataclass(frozen=True)
class _Trailer:
    """An intact seek index."""

    position: int
    samples: int
    sizes: NDArray[np.int64]


def _check_coder(header: LacHeader, coder: SymbolCoder) -> None:
    if coder.latent_dim != header.latent_dim:
        raise FormatError(
            f"the file has latent_dim {header.latent_dim}, the coder {coder.latent_dim}: "
            f"expected that of model {header.model!r}, latent_id {header.latent_id.hex()}"
        )


def _check_samples(samples: int, frames: int, header: LacHeader) -> None:
    """One hop more than the frames hold is allowed: resamplers round lengths either way."""
    most = (frames + 1) * header.hop_length * header.sample_rate // header.model_sample_rate
    if not 0 <= samples <= most:
        raise FormatError(
            f"{samples} samples in {frames} latent frames, expected at most {most}: "
            f"the file is damaged or forged"
        )
