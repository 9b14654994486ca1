"""A small model of integer formulas: no random generator, no training, no floats.

The golden bytes in the tests and in tests/data/golden were made with it. A change here makes them
all worthless.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.entropy.context_model import ContextModel
from codec.entropy.context_network import array_shapes
from codec.entropy.context_rows import SHAPE_BITS, SHAPE_CELLS
from codec.entropy.static_tables import EntropyTables
from codec.entropy.token_tables import TokenTables

# How far an array's values reach; biases are in units of 2^-22, weights of 2^-12.
_REACH = {
    "weight1": 1100,
    "bias1": 1 << 20,
    "weight2": 1600,
    "bias2": 1 << 20,
    "weight3": 1300,
    "bias3": 1 << 21,
}


def fixed_tables(latent_dim: int = 2) -> EntropyTables:
    """Nine peaked densities, and sigmas of 0.05, 0.3 and 0.9, in turn."""
    x = np.arange(-384, 384)
    histogram = np.stack([4000 * 200 // (200 + (x * (c + 1)) ** 2 // 16) + 1 for c in range(9)])
    histogram[:, 384] += (1 << 22) - histogram.sum(axis=1)
    sigma_units = np.resize(np.array([52429, 314573, 943718], np.int32), latent_dim)
    return EntropyTables(sigma_units, histogram.astype(np.int32)[np.arange(latent_dim) % 9])


def fixed_context(latent_dim: int = 4) -> ContextModel:
    """Every weight differs from its neighbours, so that no input can change its meaning unseen."""
    arrays: dict[str, NDArray[np.integer]] = {}
    for salt, (name, (kind, shape)) in enumerate(array_shapes(latent_dim).items(), 1):
        if name == "shape":
            continue
        reach = _REACH[name]
        scattered = (np.arange(np.prod(shape)) * 2654435761 + salt * 40503) % (1 << 32) >> 8
        arrays[name] = (scattered % (2 * reach + 1) - reach).reshape(shape).astype(kind)
    odd = 2 * np.arange(SHAPE_CELLS) + 1 - SHAPE_CELLS  # of 1/32 scale: symmetric about 0
    density = 10**14 // (1024 + odd**2) ** 2
    below = np.concatenate([[0], np.cumsum(density)])
    counts = np.diff(below * ((1 << SHAPE_BITS) - SHAPE_CELLS) // below[-1]) + 1
    return ContextModel({**arrays, "shape": counts.astype(np.int32)}, fixed_tables(latent_dim))


def fixed_token_tables(books: int = 4) -> TokenTables:
    """Twelve codes to a book, some of them rare, others in every book."""
    code, book = np.arange(12), np.arange(books)[:, None]
    frequencies = 1 + (code + 3) * (book + 5) * 7919 % 4001
    frequencies[:, 3] = 1
    frequencies[:, 5] += (1 << 24) - frequencies.sum(axis=1)
    return TokenTables(frequencies.astype(np.int32))


def fixed_symbols(shape: tuple[int, int, int], limit: NDArray[np.int64]) -> NDArray[np.int16]:
    """Symbols (streams, latent_dim, frames) that wobble, with a jump now and then."""
    stream, channel, frame = np.indices(shape)
    wobble = (frame * 7 + channel * 3 + stream * 5) % 9 - 4
    jumps = np.where((frame * 5 + channel * 11 + stream) % 37 == 0, 300 - 7 * frame, 0)
    return np.clip(wobble + jumps, -limit[:, None], limit[:, None]).astype(np.int16)
