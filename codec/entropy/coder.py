"""What turns symbols into bytes and back: a checkpoint's tables or its context model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class SymbolCoder(Protocol):
    """``EntropyTables`` (static_tables.py), ``ContextModel`` (context_model.py) or, of a model of
    tokens, ``TokenTables`` (token_tables.py).

    A block's symbols are (streams, latent_dim, frames); a stream is one coded channel.
    """

    @property
    def latent_dim(self) -> int: ...

    def quantise(self, latents: NDArray[Any], step_index: int) -> NDArray[np.integer]:
        """The symbols of a block's latents (streams, latent_dim, frames)."""
        ...

    def encode(self, symbols: NDArray[np.integer], step_index: int) -> bytes:
        """The bytes of a block's symbols, a multiple of 4."""
        ...

    def cost_bits(self, symbols: NDArray[np.integer], step_index: int) -> float:
        """What ``encode`` would need but for some 16 bits at its end, without coding."""
        ...

    def decode(
        self, payloads: list[bytes], shapes: list[tuple[int, int, int]], step_index: int
    ) -> Sequence[NDArray[np.integer]]:
        """The symbols of blocks of one step and these shapes (streams, latent_dim, frames), of
        which only ``frames`` may differ."""
        ...

    def dequantise(self, symbols: NDArray[np.integer], step_index: int) -> NDArray[Any]:
        """What a block's symbols stand for: latents in standard units, or tokens."""
        ...
