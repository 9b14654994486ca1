"""Decompressing in tests, and where the blocks of a file end."""

from __future__ import annotations

import struct
import warnings

import numpy as np
from codec_helpers import BLOCK

from codec.api import Codec
from codec.lac.reader import LacReader

BLOCK_SECONDS = BLOCK / 16000


def decompress(codec: Codec, data: bytes, *span: float) -> np.ndarray:
    """Whole or a span, and any warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return codec.decompress(data, *span)[0].numpy()


def block_ends(data: bytes) -> list[int]:
    """Where the header and every block end in a file, from its index (see docs/FORMAT.md)."""
    reader = LacReader(data)
    count = reader.block_count
    sizes = struct.unpack_from(f"<{count}I", data, len(data) - 20 - 4 - 4 * count)
    start = len(reader.header.to_bytes())
    return [start, *(start + np.cumsum(sizes)).tolist()]
