"""Static entropy model of tokens: how often every code of every book occurs, as integers.

A token is a code's number; what it stands for is the network's business (codec/network/tokens.py).
The step index of a block is the number of last books that are left out of it. constriction codes
by these frequencies exactly: see static_tables.py.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from constriction import stream
from numpy.typing import ArrayLike, NDArray

from codec.entropy.static_tables import FREQUENCY_BITS, not_ours, range_decoder
from codec.errors import CheckpointError, FormatError

LEFT_OUT = -1
"""In place of the token of a book that is left out, as in codec/network/tokens.py."""


class TokenTables:
    """Codes blocks of tokens (streams, books, frames); a ``SymbolCoder``."""

    def __init__(self, frequencies: NDArray[np.int32]) -> None:
        """``frequencies`` (books, size): each at least 1, those of a book 2^24 in all.

        Raises:
            CheckpointError: they are not.
        """
        if frequencies.dtype != np.int32 or frequencies.ndim != 2 or not frequencies.size:
            raise CheckpointError(
                f"token tables are {frequencies.dtype} {frequencies.shape}, expected int32 "
                f"(books, size); store them without converting their type"
            )
        sums = frequencies.sum(axis=1, dtype=np.int64)
        if (frequencies < 1).any() or (sums != 1 << FREQUENCY_BITS).any():
            raise CheckpointError(
                f"token tables hold sums {sorted(set(sums.tolist()))[:4]} and least count "
                f"{frequencies.min()}; expected 2^{FREQUENCY_BITS} and at least 1; "
                f"fetch the checkpoint again"
            )
        self.frequencies = frequencies
        self._derived: list[Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copies: without models of constriction."""
        return {**self.__dict__, "_derived": None}

    @property
    def latent_dim(self) -> int:
        """Rows of a block: books."""
        return len(self.frequencies)

    @classmethod
    def fit(cls, tokens: ArrayLike, size: int) -> Self:
        """Count tokens (books, n) of training data, ``size`` codes to a book.

        Raises:
            ValueError: no tokens, another shape, or tokens outside 0..size - 1.
        """
        values = np.asarray(tokens)
        if values.ndim != 2 or not values.size or values.min() < 0 or values.max() >= size:
            raise ValueError(f"tokens {values.shape}: expected (books, n) from 0 to {size - 1}")
        free = (1 << FREQUENCY_BITS) - size
        rows = []
        for book in values:
            below = np.concatenate([[0], np.cumsum(np.bincount(book, minlength=size))])
            rows.append(np.diff(below * free // values.shape[1]) + 1)
        return cls(np.stack(rows).astype(np.int32))

    def to_arrays(self) -> dict[str, NDArray[np.int32]]:
        """The array to store in a checkpoint."""
        return {"tokens": self.frequencies}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """The inverse of ``to_arrays``.

        Raises:
            CheckpointError: it is missing, or is not what ``fit`` makes.
        """
        if "tokens" not in arrays:
            raise CheckpointError(
                f"a model of tokens lacks their table (found {sorted(arrays)}); "
                f"fetch the checkpoint again"
            )
        return cls(arrays["tokens"])

    def quantise(self, latents: NDArray[Any], step_index: int) -> NDArray[np.int32]:
        """Tokens (..., books, frames) with the last ``step_index`` books left out."""
        tokens = latents.astype(np.int32)
        tokens[..., self._kept(step_index) :, :] = LEFT_OUT
        return tokens

    def dequantise(self, symbols: NDArray[np.integer], step_index: int) -> NDArray[np.int32]:
        """The tokens themselves."""
        return symbols.astype(np.int32)

    def encode(self, symbols: NDArray[np.integer], step_index: int) -> bytes:
        """The bytes of a block's tokens (streams, books, frames), a multiple of 4.

        Raises:
            ValueError: the shape does not fit, or a token is not in its book.
        """
        encoder = stream.queue.RangeEncoder()
        for tokens, model in zip(self._rows(symbols, step_index), self._models, strict=False):
            if tokens.size:
                encoder.encode(tokens, model)
        return encoder.get_compressed().astype("<u4").tobytes()

    def cost_bits(self, symbols: NDArray[np.integer], step_index: int) -> float:
        """The information in a block's tokens in bits; ``encode`` needs 0 to 33 bits more."""
        rows = self._rows(symbols, step_index)
        return float(
            sum(
                (FREQUENCY_BITS - np.log2(frequency[tokens])).sum()
                for tokens, frequency in zip(rows, self.frequencies, strict=False)
            )
        )

    def decode(
        self, payloads: list[bytes], shapes: list[tuple[int, int, int]], step_index: int
    ) -> list[NDArray[np.int32]]:
        """The tokens of blocks of one step and these shapes (streams, books, frames).

        Raises:
            FormatError: the bytes cannot come from these tables, step and shapes.
        """
        return [self._decode(*block, step_index) for block in zip(payloads, shapes, strict=True)]

    def _decode(
        self, data: bytes, shape: tuple[int, int, int], step_index: int
    ) -> NDArray[np.int32]:
        streams, books, frames = shape
        decoder = range_decoder(data)
        tokens = np.full((books, streams * frames), LEFT_OUT, dtype=np.int32)
        try:
            for row, model in zip(tokens[: self._kept(step_index)], self._models, strict=False):
                if row.size:
                    row[:] = decoder.decode(model, row.size)
        except AssertionError as error:  # constriction's way of saying "no such bytes"
            raise FormatError(not_ours([data], [shape])) from error
        if not decoder.maybe_exhausted():
            raise FormatError(not_ours([data], [shape]))
        return tokens.reshape(books, streams, frames).swapaxes(0, 1)

    @property
    def _models(self) -> list[Any]:
        if self._derived is None:
            self._derived = [
                stream.model.Categorical((row - 1).astype(np.float64), perfect=False)
                for row in self.frequencies
            ]
        return self._derived

    def _kept(self, step_index: int) -> int:
        if not 0 <= step_index < self.latent_dim:
            raise FormatError(
                f"{step_index} books left out of {self.latent_dim}: expected 0 to "
                f"{self.latent_dim - 1}; the file is damaged or forged"
            )
        return self.latent_dim - step_index

    def _rows(self, symbols: NDArray[np.integer], step_index: int) -> NDArray[np.int32]:
        """The tokens of every book that is kept, (books kept, streams * frames)."""
        books, size = self.frequencies.shape
        if symbols.ndim != 3 or symbols.shape[1] != books:
            raise ValueError(f"tokens {symbols.shape}: expected (streams, {books}, frames)")
        rows = symbols.swapaxes(0, 1).reshape(books, -1)[: self._kept(step_index)]
        if rows.size and (rows.min() < 0 or rows.max() >= size):
            raise ValueError(
                f"tokens from {rows.min()} to {rows.max()}: expected 0 to {size - 1} in every "
                f"book that is not left out"
            )
        return rows.astype(np.int32)
