"""The header of a ``.lac`` file: its fields, their limits, and its bytes.

docs/FORMAT.md has the layout byte by byte. All numbers are little-endian. The header says all that
a reader must know before the first block, and ends with a CRC-32 as every other part of a file
does.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, field
from typing import Self

from codec.audio.waveform import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from codec.entropy.coder import SymbolCoder
from codec.entropy.quantise import STEP_INDICES
from codec.errors import FormatError

VERSION = 3
CONTEXT_CODED = 1
"""Flag: the blocks are coded with the model's context model, else with its static tables."""
TOKENS = 2
"""Flag: the blocks hold tokens, ``latent_dim`` books of them, coded with the model's table."""
LAYERED = 4
"""Flag: every block has a waveform layer beside its latents."""
MAGIC = b"LAC\x1a"

MAX_LATENT_DIM = 1024
MAX_FRAMES_PER_BLOCK = 4096
MAX_HOP_LENGTH = 65_536
MAX_BLOCK_VALUES = 1 << 22
"""Symbols in a block, all channels together: what a reader may have to hold at once."""
MAX_BLOCK_SECONDS = 120
"""What a few bytes may claim to be: a silent block takes 17."""
MAX_TAG_BYTES = 16_384

MAX_LAYER_CHANNELS = 8
MAX_LAYER_FRAMES = 256
"""Limits of a file with waveform layers: a frame has 2048 coefficients in each coded channel."""
LAYER_HOP = 2048

BLOCK_SYNC = b"\xa5L"
BLOCK_FIELDS = struct.Struct("<2sHHHI")
"""A block's sync marker, index mod 2^16, frames, step index and flag, and payload length."""
LAYER_FIELDS = struct.Struct("<HBI")
"""A layer's step index and flag, coefficients of a frame over 16, and payload length."""
LAYER_ALONE = 0x8000
"""Flag beside a layer's step index: the renderer adds nothing to the block."""
NOT_DENOISED = 0x8000
"""Flag beside a block's step index: the encoder found it better not to be denoised."""
_PREFIX = struct.Struct("<4sBBH")  # magic, version, flags, header length
_FIELDS = struct.Struct("<IBBHHII8s")
_FIELD_NAMES = (
    *("sample_rate", "channels", "coded_channels", "latent_dim", "frames_per_block"),
    *("model_sample_rate", "hop_length", "coding_id"),
)

_CRC = struct.Struct("<I")
CRC_BYTES = _CRC.size
"""Every part of a file ends with the CRC-32 of what stands before it in that part."""

# No symbol takes more than 24 bits, its frequency being at least 1 in 2^24, and with a context
# model 13 more if it is far from what was expected; two words end the stream.
_MAX_BYTES_PER_VALUE = 5
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
    """Channels of the source."""
    coded_channels: int
    """Latent streams: two for mid and side; one for mono, or for a network that takes stereo."""
    latent_dim: int
    """Rows of a block; of a model of tokens its books."""
    frames_per_block: int
    """Latent frames in every block but the last, which may have fewer."""
    model_sample_rate: int
    """Hz, of the model."""
    hop_length: int
    """Samples of the model's rate per latent frame."""
    coding_id: bytes
    """8 bytes that bind the file to the meaning of its latents."""
    model: str
    tags: dict[str, str] = field(default_factory=dict)
    context_coded: bool = True
    """Coded with the model's context model, else with its static tables."""
    layered: bool = False
    """Every block has a waveform layer."""
    tokens: bool = False
    """Blocks hold tokens: their step index says how many of the last books are left out."""

    def __post_init__(self) -> None:
        if self.tokens and self.context_coded:
            raise FormatError(
                "a file of tokens that is context coded, expected static tables: "
                "the file is damaged or forged"
            )
        if self.layered and (
            self.tokens
            or self.coded_channels > MAX_LAYER_CHANNELS
            or self.frames_per_block > MAX_LAYER_FRAMES
            or self.hop_length != LAYER_HOP
        ):
            raise FormatError(
                f"a file with a waveform layer, {self.coded_channels} coded channels and "
                f"{self.frames_per_block} frames of {self.hop_length} in a block, expected no "
                f"tokens, at most {MAX_LAYER_CHANNELS} and {MAX_LAYER_FRAMES}, of {LAYER_HOP}: "
                f"the file is damaged or forged"
            )
        for name, largest in (
            ("channels", MAX_CHANNELS),
            ("coded_channels", self.channels),
            ("latent_dim", MAX_LATENT_DIM),
            ("frames_per_block", MAX_FRAMES_PER_BLOCK),
            ("hop_length", MAX_HOP_LENGTH),
        ):
            _check_range(name, getattr(self, name), 1, largest)
        for name in ("sample_rate", "model_sample_rate"):
            _check_range(name, getattr(self, name), MIN_SAMPLE_RATE, MAX_SAMPLE_RATE)
        _check_range("symbols in a block", self.block_values, 1, MAX_BLOCK_VALUES)
        seconds = self.frames_per_block * self.hop_length / self.model_sample_rate
        _check_range("seconds in a block", seconds, 0, MAX_BLOCK_SECONDS)
        if len(self.coding_id) != 8:
            raise FormatError(f"coding_id of {len(self.coding_id)} bytes: expected 8")
        _check_range("bytes of model name", len(_utf8(self.model)), 1, 255)
        if portable_name(self.model) != self.model:
            raise FormatError(
                f"the model's name is {self.model!r}, expected letters, digits, '.', '_' and '-': "
                f"the file is damaged or forged"
            )
        _check_range("number of tags", len(self.tags), 0, 255)
        for key in self.tags:
            _check_range(f"bytes of tag key {key[:40]!r}", len(_utf8(key)), 1, 255)
        _check_range("bytes of tags", len(self._tag_bytes()), 0, MAX_TAG_BYTES)

    @property
    def block_values(self) -> int:
        """Symbols in a whole block."""
        return self.coded_channels * self.latent_dim * self.frames_per_block

    @property
    def step_indices(self) -> int:
        """How many a block's step index may be."""
        return self.latent_dim if self.tokens else STEP_INDICES

    @property
    def mask_bytes(self) -> int:
        """Length of a block's silence mask."""
        return (self.coded_channels + 7) // 8

    @property
    def block_overhead(self) -> int:
        """Bytes of a block beside its payload, and those of its waveform layer."""
        return self.fields_bytes + self.mask_bytes + CRC_BYTES

    @property
    def fields_bytes(self) -> int:
        """Length of what stands before a block's silence mask."""
        return BLOCK_FIELDS.size + LAYER_FIELDS.size * self.layered

    @property
    def max_layer_payload(self) -> int:
        """The most bytes a block's waveform layer can take."""
        values = self.coded_channels * self.frames_per_block * LAYER_HOP
        return values * _MAX_BYTES_PER_VALUE + 3 * self.frames_per_block + _MAX_CODER_TAIL

    @property
    def max_payload(self) -> int:
        """The most bytes a block's symbols can take."""
        return self.block_values * _MAX_BYTES_PER_VALUE + _MAX_CODER_TAIL

    def check_coder(self, coder: SymbolCoder) -> None:
        """Raises FormatError for a coder of symbols with another latent_dim."""
        if coder.latent_dim != self.latent_dim:
            raise FormatError(
                f"the file has latent_dim {self.latent_dim}, the coder {coder.latent_dim}: "
                f"expected that of model '{self.model}', coding_id {self.coding_id.hex()}"
            )

    def to_bytes(self) -> bytes:
        """The header as it stands in a file, CRC-32 included."""
        name = _utf8(self.model)
        body = _FIELDS.pack(*(getattr(self, field_name) for field_name in _FIELD_NAMES))
        body += bytes([len(name)]) + name + bytes([len(self.tags)]) + self._tag_bytes()
        length = _PREFIX.size + len(body) + CRC_BYTES
        flags = CONTEXT_CODED * self.context_coded | TOKENS * self.tokens
        flags |= LAYERED * self.layered
        return with_crc(_PREFIX.pack(MAGIC, VERSION, flags, length) + body)

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
        if version != VERSION or flags & ~(CONTEXT_CODED | TOKENS | LAYERED):
            raise FormatError(
                f"version {version} with flags {flags:#04x}, expected version {VERSION} and "
                f"no unknown flags: the file is of another version of lacuna-codec; decode it with "
                f"that one, or compress the sound again"
            )
        least = _PREFIX.size + _FIELDS.size + 2 + CRC_BYTES
        if not least <= length <= len(data):
            raise FormatError(
                f"a header of {length} bytes, expected {least}..{len(data)} (the file's length): "
                f"the file is damaged or cut off"
            )
        if not crc_holds(data[:length]):
            raise FormatError(
                f"the header's CRC-32 is {_stored_crc(data[:length]):08x}, expected "
                f"{zlib.crc32(data[: length - CRC_BYTES]):08x}: the header is damaged"
            )
        fields = dict(zip(_FIELD_NAMES, _FIELDS.unpack_from(data, _PREFIX.size), strict=True))
        texts = _Texts(data[: length - CRC_BYTES], _PREFIX.size + _FIELDS.size)
        model = texts.text(1)
        tags: dict[str, str] = {}
        for _ in range(texts.number(1)):
            key = texts.text(1)
            if key in tags:
                raise FormatError(f"tag {key!r} stands twice in the header, expected once")
            tags[key] = texts.text(2)
        texts.finish()
        coded, tokens = bool(flags & CONTEXT_CODED), bool(flags & TOKENS)
        header = cls(
            **fields,
            model=model,
            tags=tags,
            context_coded=coded,
            tokens=tokens,
            layered=bool(flags & LAYERED),
        )
        return header, length

    def _tag_bytes(self) -> bytes:
        out = b""
        for key, value in self.tags.items():
            name, text = _utf8(key), _utf8(value)
            _check_range(f"bytes of tag {key[:40]!r}", len(text), 0, MAX_TAG_BYTES)
            out += bytes([len(name)]) + name + struct.pack("<H", len(text)) + text
        return out


def portable_name(name: str) -> str:
    """A model's name as it may stand in a file: it is printed wherever the file goes."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def with_crc(data: bytes) -> bytes:
    """``data`` with its CRC-32 appended."""
    return data + _CRC.pack(zlib.crc32(data))


def crc_holds(data: bytes) -> bool:
    """Whether ``data`` ends with the CRC-32 of what stands before it."""
    return _stored_crc(data) == zlib.crc32(data[:-CRC_BYTES])


def _stored_crc(data: bytes) -> int:
    return int(_CRC.unpack_from(data, len(data) - CRC_BYTES)[0])


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
        content = self._data[self._position : end]
        self._position = end
        return content


def _check_range(name: str, value: float, least: int, most: int) -> None:
    if not least <= value <= most:
        raise FormatError(f"{name} is {value}, expected {least}..{most}")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise FormatError(f"header text {text[:40]!r}: expected valid Unicode") from error
