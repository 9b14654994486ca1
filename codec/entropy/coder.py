"""What turns symbols into bytes and back: a checkpoint's static tables or its context model."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class SymbolCoder(Protocol):
    """``EntropyTables`` (static_tables.py) or ``ContextModel`` (context_model.py).

    A block's symbols are (streams, latent_dim, frames); a stream is one coded channel.
    """

    @property
    def latent_dim(self) -> int: ...

    def steps(self, step_index: int) -> NDArray[np.float64]:
        """The quantiser step of every latent channel, (latent_dim,), in standard units."""
        ...

    def encode(self, symbols: NDArray[np.integer], step_index: int) -> bytes:
        """The bytes of a block's symbols, a multiple of 4."""
        ...

    def cost_bits(self, symbols: NDArray[np.integer], step_index: int) -> float:
        """What ``encode`` would need but for some 16 bits at its end, without coding."""
        ...

    def decode(
        self, payloads: list[bytes], shape: tuple[int, int, int], step_index: int
    ) -> NDArray[np.int16]:
        """The symbols (blocks, streams, latent_dim, frames) of blocks of one shape and step."""
        ...

    def dequantise(self, symbols: NDArray[np.integer], step_index: int) -> NDArray[np.float32]:
        """What a block's symbols stand for, in standard units."""
        ...
