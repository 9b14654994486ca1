"""The .lac container: header, independent blocks, seek index, footer.

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
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from codec.entropy import EntropyTables, decode_symbols, encode_symbols
from codec.errors import FormatError

VERSION = 1
MAGIC = b"LAC\x1a"
BLOCK_SYNC = b"\xa5L"
INDEX_MARKER = b"LIDX"
FOOTER_MARKER = b"LEND"

MAX_SAMPLE_RATE = 768_000
MAX_LATENT_DIM = 1024
MAX_FRAMES_PER_BLOCK = 4096
MAX_HOP_LENGTH = 65_536
MAX_BLOCK_VALUES = 1 << 22
"""Symbols in a block, all channels together: what a reader may have to hold at once."""
MAX_TAG_BYTES = 16_384

_PREFIX = struct.Struct("<4sBBH")  # magic, version, flags, header length
_FIELDS = struct.Struct("<IBBHHBII8s")
_FIELD_NAMES = (
    *("sample_rate", "channels", "coded_channels", "latent_dim", "frames_per_block"),
    *("step_index", "model_sample_rate", "hop_length", "latent_id"),
)
_BLOCK = struct.Struct("<2sHHI")  # sync, index mod 2^16, frames, payload length
_INDEX = struct.Struct("<4sIQ")  # marker, blocks, samples
_FOOTER = struct.Struct("<QII4s")  # samples, blocks, CRC-32, marker
_CRC = struct.Struct("<I")

# No coder spends more than 24 bits on a symbol of frequency 1 in 2^24; two words end the stream.
_MAX_BYTES_PER_VALUE = 3
_MAX_CODER_TAIL = 8


@dataclass(frozen=True)
class LacHeader:
    """What a ``.lac`` file says about itself before its first block.

    Raises:
        FormatError: a field is outside the limits of the format.
    """

    sample_rate: int
    """Hz, of the source."""
    channels: int
    """Of the source."""
    coded_channels: int
    """Latent streams: two for mid and side; one for mono, or for a network that takes stereo."""
    latent_dim: int
    frames_per_block: int
    """Latent frames in every block but the last, which may have fewer."""
    step_index: int
    model_sample_rate: int
    """Hz, of the model."""
    hop_length: int
    """Samples of the model's rate per latent frame."""
    latent_id: bytes
    """8 bytes that bind the file to the meaning of its latents."""
    model: str
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, largest in (
            ("sample_rate", MAX_SAMPLE_RATE),
            ("channels", 255),
            ("coded_channels", self.channels),
            ("latent_dim", MAX_LATENT_DIM),
            ("frames_per_block", MAX_FRAMES_PER_BLOCK),
            ("model_sample_rate", MAX_SAMPLE_RATE),
            ("hop_length", MAX_HOP_LENGTH),
        ):
            _check_range(name, getattr(self, name), 1, largest)
        _check_range("step_index", self.step_index, 0, 255)
        values = self.coded_channels * self.latent_dim * self.frames_per_block
        _check_range("symbols in a block", values, 1, MAX_BLOCK_VALUES)
        if len(self.latent_id) != 8:
            raise FormatError(f"latent_id of {len(self.latent_id)} bytes: expected 8")
        _check_range("bytes of model name", len(_utf8(self.model)), 1, 255)
        _check_range("number of tags", len(self.tags), 0, 255)
        for key in self.tags:
            _check_range(f"bytes of tag key {key[:40]!r}", len(_utf8(key)), 1, 255)
        _check_range("bytes of tags", len(self._tag_bytes()), 0, MAX_TAG_BYTES)

    @property
    def mask_bytes(self) -> int:
        """Length of a block's silence mask."""
        return (self.coded_channels + 7) // 8

    @property
    def max_payload(self) -> int:
        """The most bytes a block's symbols can take."""
        values = self.coded_channels * self.latent_dim * self.frames_per_block
        return values * _MAX_BYTES_PER_VALUE + _MAX_CODER_TAIL

    def to_bytes(self) -> bytes:
        """The header as it stands in a file, CRC-32 included."""
        name = _utf8(self.model)
        body = _FIELDS.pack(*(getattr(self, field_name) for field_name in _FIELD_NAMES))
        body += bytes([len(name)]) + name + bytes([len(self.tags)]) + self._tag_bytes()
        length = _PREFIX.size + len(body) + _CRC.size
        return _with_crc(_PREFIX.pack(MAGIC, VERSION, 0, length) + body)

    @classmethod
    def parse(cls, data: bytes) -> tuple[Self, int]:
        """The header at the start of ``data``, and its length in bytes.

        Raises:
            FormatError: not a ``.lac`` file, another version, damaged, or out of limits.
        """
        if data[: len(MAGIC)] != MAGIC:
            raise FormatError(
                f"the file starts with {data[:4]!r}, expected {MAGIC!r}: not a .lac file"
            )
        if len(data) < _PREFIX.size:
            raise FormatError(f"the file ends after {len(data)} bytes, inside its header")
        _, version, flags, length = _PREFIX.unpack_from(data)
        if version != VERSION or flags:
            raise FormatError(
                f"version {version} with flags {flags:#04x}, expected version {VERSION} without "
                f"flags: install a newer lacuna-codec"
            )
        least = _PREFIX.size + _FIELDS.size + 2 + _CRC.size
        if not least <= length <= len(data):
            raise FormatError(
                f"a header of {length} bytes, expected {least}..{len(data)} (the file's length): "
                f"the file is damaged or cut off"
            )
        if not _crc_holds(data[:length]):
            raise FormatError(
                f"the header's CRC-32 is {_stored_crc(data[:length]):08x}, expected "
                f"{zlib.crc32(data[: length - _CRC.size]):08x}: the header is damaged"
            )
        fields = dict(zip(_FIELD_NAMES, _FIELDS.unpack_from(data, _PREFIX.size), strict=True))
        texts = _Texts(data[: length - _CRC.size], _PREFIX.size + _FIELDS.size)
        model = texts.text(1)
        tags: dict[str, str] = {}
        for _ in range(texts.number(1)):
            key = texts.text(1)
            if key in tags:
                raise FormatError(f"tag {key!r} stands twice in the header, expected once")
            tags[key] = texts.text(2)
        texts.finish()
        return cls(**fields, model=model, tags=tags), length

    def _tag_bytes(self) -> bytes:
        out = b""
        for key, value in self.tags.items():
            name, text = _utf8(key), _utf8(value)
            _check_range(f"bytes of tag {key[:40]!r}", len(text), 0, MAX_TAG_BYTES)
            out += bytes([len(name)]) + name + struct.pack("<H", len(text)) + text
        return out


@dataclass(frozen=True)
class Block:
    """The content of a block."""

    symbols: NDArray[np.int16]
    """(coded_channels, latent_dim, frames); zeros where the channel is silent."""
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

    def __init__(self, fileobj: ByteSink, header: LacHeader, tables: EntropyTables) -> None:
        """Writes the header.

        Raises:
            FormatError: the tables are of another latent_dim than the header.
        """
        _check_tables(header, tables)
        self._file, self._header, self._tables = fileobj, header, tables
        self._sizes: list[int] = []
        self._frames = 0
        self._file.write(header.to_bytes())

    def write_block(
        self, symbols: NDArray[np.integer], silent: NDArray[np.bool_] | None = None
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
        stored = symbols[~silent].transpose(1, 0, 2).reshape(header.latent_dim, -1)
        payload = encode_symbols(stored, header.step_index, self._tables)
        start = _BLOCK.pack(BLOCK_SYNC, len(self._sizes) & 0xFFFF, frames, len(payload))
        mask = np.packbits(silent, bitorder="little").tobytes()
        block = _with_crc(start + mask + payload)
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
        self._file.write(_with_crc(_INDEX.pack(INDEX_MARKER, count, samples) + sizes))
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
        # Searching may pass this many bytes through failing CRCs: ample for real damage, and a
        # file made of nothing but sync markers is given up in time.
        self._search_budget = 4 * len(self._data) + (1 << 20)
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

    def blocks(self, tables: EntropyTables) -> Iterator[tuple[int, Block | None]]:
        """All blocks in order; None in the place of a damaged one.

        Raises:
            FormatError: the tables cannot be those the file was made with.
        """
        for index in range(self.block_count):
            yield index, self.read_block(index, tables)

    def read_block(self, index: int, tables: EntropyTables) -> Block | None:
        """Block ``index``, without touching the others; None if it is damaged.

        Raises:
            IndexError: there is no such block.
            FormatError: the tables cannot be those the file was made with.
        """
        if not 0 <= index < self.block_count:
            raise IndexError(f"block {index}: expected 0..{self.block_count - 1}")
        header = self.header
        _check_tables(header, tables)
        span = self._blocks.get(index)
        if span is None:
            return None
        stored = np.flatnonzero(~span.silent)
        coded = decode_symbols(
            self._data[span.payload : span.payload + span.payload_length],
            len(stored) * span.frames,
            header.step_index,
            tables,
        )
        symbols = np.zeros((header.coded_channels, header.latent_dim, span.frames), np.int16)
        symbols[stored] = coded.reshape(header.latent_dim, -1, span.frames).transpose(1, 0, 2)
        return Block(symbols, span.silent)

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
            frames = self.block_count * self.header.frames_per_block
            _check_samples(self.samples, frames, self.header)
        if trailer is not None and fits:
            self._take_indexed(start, trailer.sizes)
        else:
            self._walk(start, end, known is not None)
        for index in [i for i, span in self._blocks.items() if i < self.block_count - 1]:
            if self._blocks[index].frames != self.header.frames_per_block:
                del self._blocks[index]  # whole by its CRC, but it would shift all that follows

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
            size = _INDEX.size + 4 * footer[1] + _CRC.size
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
        end = position + _INDEX.size + 4 * count + _CRC.size
        if marker != INDEX_MARKER or end > len(self._data):
            return None
        if not _crc_holds(self._data[position:end]):
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

    def _most_blocks(self) -> int:
        """More blocks than this, lost ones included, are not believed: 2^16 may be missing."""
        smallest = _BLOCK.size + self.header.mask_bytes + _CRC.size
        return len(self._data) // smallest + 0x10000

    def _block_at(self, position: int, end: int) -> _Span | None:
        """The block that starts at ``position``, if it is whole and ends by ``end``."""
        header = self.header
        payload = position + _BLOCK.size + header.mask_bytes
        if payload + _CRC.size > end:
            return None
        sync, sequence, frames, length = _BLOCK.unpack_from(self._data, position)
        stop = payload + length + _CRC.size
        if (
            sync != BLOCK_SYNC
            or not 1 <= frames <= header.frames_per_block
            or length > header.max_payload
            or stop > end
        ):
            return None
        if not _crc_holds(self._data[position:stop]):
            self._search_budget -= stop - position
            return None
        mask = np.frombuffer(self._data, np.uint8, header.mask_bytes, position + _BLOCK.size)
        bits = np.unpackbits(mask, bitorder="little").astype(np.bool_)
        if bits[header.coded_channels :].any():
            return None
        return _Span(sequence, frames, bits[: header.coded_channels], payload, length, stop)


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


class _Texts:
    """Reads the length-prefixed texts of a header, refusing to run past its end."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data, self._position = data, position

    def number(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little")

    def text(self, width: int) -> str:
        raw = self._take(self.number(width))
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise FormatError(
                f"header text {raw[:40]!r}: expected UTF-8 ({error.reason})"
            ) from None

    def finish(self) -> None:
        if self._position != len(self._data):
            raise FormatError(
                f"{len(self._data) - self._position} bytes after the header's tags, expected none"
            )

    def _take(self, length: int) -> bytes:
        end = self._position + length
        if end > len(self._data):
            raise FormatError(
                f"a header text ends at byte {end}, expected at most {len(self._data)}"
            )
        taken = self._data[self._position : end]
        self._position = end
        return taken


def _check_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise FormatError(f"{name} is {value}, expected {least}..{most}")


def _check_tables(header: LacHeader, tables: EntropyTables) -> None:
    if tables.latent_dim != header.latent_dim:
        raise FormatError(
            f"the file has latent_dim {header.latent_dim}, the tables {tables.latent_dim}: "
            f"expected the tables of model {header.model!r}, latent_id {header.latent_id.hex()}"
        )


def _check_samples(samples: int, frames: int, header: LacHeader) -> None:
    """One hop more than the frames hold is allowed: resamplers round lengths either way."""
    most = (frames + 1) * header.hop_length * header.sample_rate // header.model_sample_rate
    if not 0 <= samples <= most:
        raise FormatError(
            f"{samples} samples in {frames} latent frames, expected at most {most}: "
            f"the file is damaged or forged"
        )


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise FormatError(f"header text {text[:40]!r}: expected valid Unicode") from error


def _with_crc(data: bytes) -> bytes:
    return data + _CRC.pack(zlib.crc32(data))


def _stored_crc(data: bytes) -> int:
    return int(_CRC.unpack_from(data, len(data) - _CRC.size)[0])


def _crc_holds(data: bytes) -> bool:
    return _stored_crc(data) == zlib.crc32(data[: -_CRC.size])
