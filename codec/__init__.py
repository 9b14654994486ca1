"""Lacuna: a neural audio codec with continuous latents.

>>> import codec
>>> blob = codec.compress(waveform, sample_rate, kbps=6.0)      # (channels, time) -> .lac, as bytes
>>> y, sample_rate = codec.decompress(blob)                     # any .lac that `lacuna` writes
>>> model = codec.load()                    # shipped weights, or a checkpoint's path
>>> z = model.encode(x)                     # (batch, channels, time) -> standardised latents
>>> y = model.decode(z, length=x.shape[-1])

Names are imported when first used, so that ``import codec`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codec.api import Codec, compress, decompress, load
    from codec.audio.reading import read
    from codec.audio.resampling import resample
    from codec.audio.writing import write
    from codec.errors import LacunaError

_HOMES = {
    "Codec": "codec.api",
    "compress": "codec.api",
    "decompress": "codec.api",
    "load": "codec.api",
    "read": "codec.audio.reading",
    "resample": "codec.audio.resampling",
    "write": "codec.audio.writing",
    "LacunaError": "codec.errors",
}

__all__ = [
    "Codec",
    "LacunaError",
    "compress",
    "decompress",
    "load",
    "read",
    "resample",
    "write",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'codec' has no attribute '{name}'")
