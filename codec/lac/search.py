"""The search for latents of a whole file, once its step is known (codec/model/search.py)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from codec.lac.draft import LatentSpool
from codec.model.blocks import LatentBlock, block_windows
from codec.model.latent_codec import LatentCodec
from codec.model.search import search_latents

DEFAULT_SEARCH = 30
"""Steps of gradient descent where nobody says how many (docs/CODING.md)."""


class SoundSpool:
    """Samples on their way to the encoder, kept in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the spool
        self._shapes: list[tuple[int, ...]] = []

    def through(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The same float32 chunks (channels, any length), each kept before it goes on."""
        for chunk in chunks:
            self._file.write(np.ascontiguousarray(chunk).tobytes())
            self._shapes.append(chunk.shape)
            yield chunk

    def __iter__(self) -> Iterator[np.ndarray]:
        self._file.seek(0)
        for shape in self._shapes:
            data = self._file.read(np.dtype(np.float32).itemsize * int(np.prod(shape)))
            yield np.frombuffer(data, np.float32).reshape(shape)

    def close(self) -> None:
        self._file.close()


def searched_blocks(
    codec: LatentCodec, sound: SoundSpool, spool: LatentSpool, steps: Sequence[int], count: int
) -> Iterator[LatentBlock]:
    """Latents to be written in place of those of the spool, each block's at its step.

    ``count`` is the number of steps of gradient descent.
    """
    windows = block_windows(codec, sound)
    for (window, _), block, step_index in zip(windows, spool, steps, strict=True):
        latents = search_latents(codec, window, block, step_index, count)
        yield LatentBlock(latents, block.silent)
