"""Denoising dequantised latents before they are decoded, within what their symbols say.

The codec has no denoiser of its own. One is given as an argument, or an installed package offers
one: an entry point of the group ``lacuna.denoisers`` names a :class:`DenoiserFactory`. What comes
back is clamped to the quantiser's cells, so a denoised block still holds the same symbols, and a
file is never wrong without a denoiser.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from codec.entropy.static_tables import EntropyTables
from codec.errors import LacunaError
from codec.lac.reader import Block
from codec.model.blocks import FRAMES_PER_BLOCK
from codec.model.latent_codec import LatentCodec

GROUP = "lacuna.denoisers"

DEFAULT_STEPS = 1
"""Where nobody says how many, and there is a denoiser (docs/DENOISING.md)."""
MAX_STEPS = 100

HALF = 0.499
"""A cell reaches this many steps to both sides of its middle: on its very edge a latent would be
rounded to the next symbol."""


@dataclass(frozen=True)
class QuantisedBlock:
    """The streams of a block that are not silent; arrays are (streams, latent_dim, frames)."""

    latents: NDArray[np.float32]
    """Dequantised, in standard units."""
    low: NDArray[np.float32]
    """Lower ends of their cells."""
    high: NDArray[np.float32]
    """Upper ends."""
    steps: NDArray[np.float64]
    """(streams, latent_dim): the quantiser's, in standard units."""
    step_index: int
    """The block's, see codec/entropy/quantise.py."""
    channels: tuple[int, ...]
    """Which coded channels the streams are."""
    first_frame: int
    """The number of the first frame in its file: noise belongs to a frame and a channel."""


class Denoiser(Protocol):
    """Estimates the latents that were quantised."""

    def __call__(self, block: QuantisedBlock, steps: int) -> NDArray[np.float32]:
        """Latents of the block's shape, by ``steps`` evaluations of a network or so.

        They must depend on the block alone: a file decoded from its middle sounds as decoded whole.
        """
        ...


class DenoiserFactory(Protocol):
    """What an entry point of ``lacuna.denoisers`` names."""

    def __call__(self, codec: LatentCodec, weights: str | Path | None) -> Denoiser | None:
        """A denoiser of this codec's latents; None if there is none.

        Raises:
            LacunaError: ``weights``, a checkpoint's name or path, are missing, or another codec's.
        """
        ...


@dataclass(frozen=True)
class Denoising:
    """A denoiser, and how many steps it is to make."""

    denoiser: Denoiser
    steps: int

    def latents(self, codec: LatentCodec, block: Block, index: int) -> NDArray[np.float32]:
        """The latents of block ``index`` of a file: (coded_channels, latent_dim, frames).

        Raises:
            LacunaError: the denoiser gave another shape, or values that are not finite.
        """
        heard = np.flatnonzero(~block.silent)
        if not block.denoise or not heard.size:
            return block.latents
        tables = codec.tables
        assert isinstance(tables, EntropyTables)
        steps = tables.stream_steps(block.step_index, len(heard))
        symbols, each = block.symbols[heard].astype(np.float64), steps[..., None]
        low, high = (((symbols + side) * each).astype(np.float32) for side in (-HALF, HALF))
        quantised = QuantisedBlock(
            latents=block.latents[heard],
            low=low,
            high=high,
            steps=steps,
            step_index=block.step_index,
            channels=tuple(heard.tolist()),
            first_frame=index * FRAMES_PER_BLOCK,
        )
        denoised = self.denoiser(quantised, self.steps)
        if denoised.shape != low.shape or not np.isfinite(denoised).all():
            raise LacunaError(
                f"the denoiser made latents of shape {denoised.shape} for {low.shape}, or values "
                f"that are not finite; go on with 0 steps"
            )
        latents = block.latents.copy()
        latents[heard] = np.clip(denoised, low, high)
        return latents


def choose_denoising(
    codec: LatentCodec, steps: int | None, denoiser: Denoiser | str | Path | None
) -> Denoising | None:
    """How files of a codec are to be denoised; None if they are not.

    Args:
        steps: 0 switches it off; None stands for ``DEFAULT_STEPS``, where there is a denoiser.
        denoiser: one, or its weights by name or path; None looks for an installed one.

    Raises:
        LacunaError: no such number of steps, or steps are asked for and nothing can make them.
    """
    count = DEFAULT_STEPS if steps is None else steps
    if not 0 <= count <= MAX_STEPS:
        raise LacunaError(f"{count} steps of denoising, expected 0 (off) to {MAX_STEPS}")
    if count == 0:
        return None
    chosen: Denoiser | None
    if codec.config.tokens is not None:
        chosen, reason = None, "its files hold tokens, which are not quantised latents"
    elif denoiser is None or isinstance(denoiser, str | Path):
        chosen, reason = _installed(codec, denoiser)
    else:
        chosen, reason = denoiser, ""
    if chosen is not None:
        return Denoising(chosen, count)
    if steps is None and denoiser is None:
        return None
    raise LacunaError(
        f"there is no denoiser for the latents of '{codec.config.name}', latent_id "
        f"{codec.latent_id}: {reason}; go on with 0 steps, or give a diffusion model that was "
        f"trained on these latents"
    )


def _installed(codec: LatentCodec, weights: str | Path | None) -> tuple[Denoiser | None, str]:
    """The first denoiser that an installed package has for a codec, or why there is none."""
    entries = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    if not entries:
        return None, f"no installed package offers one (entry points '{GROUP}')"
    for entry in entries:
        try:
            factory: DenoiserFactory = entry.load()
        except (ImportError, AttributeError) as error:
            raise LacunaError(
                f"the denoiser '{entry.name}' ({entry.value}) cannot be imported: {error}; install "
                f"its package again, or go on with 0 steps"
            ) from None
        denoiser = factory(codec, weights)
        if denoiser is not None:
            return denoiser, ""
    names = ", ".join(f"'{entry.name}'" for entry in entries)
    return None, f"the installed ones ({names}) are of other latents"
