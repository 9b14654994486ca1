"""Lacuna: a neural audio codec with continuous latents.

>>> import codec
>>> model = codec.load()                    # the shipped weights, or a checkpoint's path
>>> z = model.encode(waveform)              # (batch, channels, time) -> standardised latents
>>> y = model.decode(z, length=waveform.shape[-1])
>>> blob = model.compress(waveform[0], model.sample_rate, kbps=6.0)
>>> y, sample_rate = model.decompress(blob)

Names are imported when first used, so that ``import codec`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codec.api import Codec, load
    from codec.audio.reading import read
    from codec.audio.resampling import resample
    from codec.audio.writing import write
    from codec.errors import LacunaError

_HOMES = {
    "Codec": "codec.api",
    "load": "codec.api",
    "read": "codec.audio.reading",
    "resample": "codec.audio.resampling",
    "write": "codec.audio.writing",
    "LacunaError": "codec.errors",
}

__all__ = ["Codec", "LacunaError", "load", "read", "resample", "write"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'codec' has no attribute '{name}'")
