"""The search for latents of a whole file, once its step is known (codec/model/search.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from codec.lac.draft import LatentSpool
from codec.lac.spool import ArraySpool
from codec.model.blocks import LatentBlock, block_windows
from codec.model.latent_codec import LatentCodec
from codec.model.search import search_latents

DEFAULT_SEARCH = 30
"""Steps of gradient descent where nobody says how many (docs/CODING.md)."""


def searched_blocks(
    codec: LatentCodec, sound: ArraySpool, spool: LatentSpool, steps: Sequence[int], count: int
) -> Iterator[LatentBlock]:
    """Latents to be written in place of those of the spool, each block's at its step.

    ``sound`` has the samples that went into the encoder, (channels, any length) each; ``count`` is
    the number of steps of gradient descent.
    """
    windows = block_windows(codec, sound)
    for (window, _), block, step_index in zip(windows, spool, steps, strict=True):
        latents = search_latents(codec, window, block, step_index, count)
        yield LatentBlock(latents, block.silent)
