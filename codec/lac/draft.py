"""A file before its step is known: the latents of its blocks, and what they take at any step."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from codec.entropy.coder import SymbolCoder
from codec.errors import RateError
from codec.lac.header import LacHeader
from codec.lac.spool import ArraySpool
from codec.lac.writer import ByteSink, LacWriter, fixed_bytes
from codec.model.blocks import LatentBlock

SAMPLED_BLOCKS = 4
"""A file's size at a step is first guessed from so many of its blocks."""


class LatentSpool:
    """Latent blocks in a temporary file, to be read several times."""

    def __init__(self) -> None:
        self._latents = ArraySpool()
        self._silent: list[np.ndarray] = []

    def append(self, block: LatentBlock) -> None:
        self._latents.append(block.latents)
        self._silent.append(block.silent)

    def __len__(self) -> int:
        return len(self._silent)

    def __iter__(self) -> Iterator[LatentBlock]:
        for latents, silent in zip(self._latents, self._silent, strict=True):
            yield LatentBlock(latents, silent)

    def close(self) -> None:
        self._latents.close()


class Draft:
    """The latents of a whole file, and its bytes at any step.

    ``write`` gives block ``i`` the step asked for, or ``least_steps[i]`` if that is coarser, and
    the bit that ``denoise[i]`` says.
    """

    def __init__(
        self, coder: SymbolCoder, header: LacHeader, spool: LatentSpool, samples: int
    ) -> None:
        self.header, self.samples = header, samples
        self._coder, self._spool = coder, spool
        self._frame_rate = header.model_sample_rate / header.hop_length
        self._sample: list[LatentBlock] | None = None
        self.least_steps = [0] * len(spool)
        """The finest step that each block may have."""
        self.denoise = [True] * len(spool)
        """Whether a decoder that denoises is to do so in each block."""

    @property
    def seconds(self) -> float:
        return self.samples / self.header.sample_rate

    @property
    def fixed_bytes(self) -> int:
        return fixed_bytes(self.header, len(self._spool))

    def write(self, output: ByteSink | None, step_index: int) -> int:
        """Write the file, or without an output only find its size; returns its bytes."""
        counter = Counter(output)
        writer = LacWriter(counter, self.header, self._coder)
        for (block, symbols, step), denoise in zip(
            self.blocks(step_index), self.denoise, strict=True
        ):
            writer.write_block(symbols, step, block.silent, denoise)
        writer.close(self.samples)
        return counter.bytes

    def blocks(self, step_index: int) -> Iterator[tuple[LatentBlock, NDArray[np.integer], int]]:
        """Each block as it was encoded, with its symbols and its step in the file."""
        for block, least in zip(self._spool, self.least_steps, strict=True):
            step = max(step_index, least)
            heard = self._symbols(block, step)
            symbols = np.zeros(block.latents.shape, heard.dtype)
            symbols[~block.silent] = heard
            yield block, symbols, step

    def size(self, step_index: int) -> int:
        """The bytes of the whole file."""
        return self.write(None, step_index)

    def estimate(self, step_index: int) -> float:
        """A quick guess at ``size`` from a few blocks from all over the file."""
        if self._sample is None:
            sampled = sampled_blocks(len(self._spool))
            self._sample = [block for index, block in enumerate(self._spool) if index in sampled]
        bits = sum(
            self._coder.cost_bits(self._symbols(block, step_index), step_index)
            for block in self._sample
        )
        per_block = self.header.block_overhead + bits / 8 / len(self._sample)
        return per_block * len(self._spool)

    def limit_blocks(self, max_kbps: float) -> None:
        """Hold every block to the finest step at which it has at most ``max_kbps``.

        Raises:
            RateError: a block has more even at the coarsest step.
        """
        for index, block in enumerate(self._spool):
            # The last block may be so short that its fixed part alone exceeds any rate.
            seconds = max(1.0, block.latents.shape[-1] / self._frame_rate)
            least = self.finest_within(block, max_kbps * 1000 * seconds / 8)
            if least is None:
                needed = self.block_bytes(block, self.header.step_indices - 1) * 8 / seconds / 1000
                start = index * self.header.frames_per_block / self._frame_rate
                raise RateError(
                    f"--max-kbps {max_kbps:g} is less than the block at {start:.1f} s takes at the "
                    f"coarsest step: give {math.ceil(needed * 100) / 100:.2f} or more"
                )
            self.least_steps[index] = least

    def finest_within(self, block: LatentBlock, budget: float) -> int | None:
        """The finest step at which a block has at most ``budget`` bytes; None if there is none."""
        low, high = 0, self.header.step_indices - 1
        if self.block_bytes(block, high) > budget:
            return None
        while low < high:
            middle = (low + high) // 2
            if self.block_bytes(block, middle) <= budget:
                high = middle
            else:
                low = middle + 1
        return low

    def block_bytes(self, block: LatentBlock, step_index: int) -> int:
        coded = self._coder.encode(self._symbols(block, step_index), step_index)
        return self.header.block_overhead + len(coded)

    def _symbols(self, block: LatentBlock, step_index: int) -> np.ndarray:
        return self._coder.quantise(block.latents[~block.silent], step_index)


def sampled_blocks(count: int) -> set[int]:
    """A few of so many blocks, from all over a file."""
    return set(np.linspace(0, count - 1, SAMPLED_BLOCKS).round().astype(int).tolist())


class Counter:
    """Counts what is written and passes it on: the output may be a pipe, which has no position.

    Without an output it only measures.
    """

    def __init__(self, output: ByteSink | None) -> None:
        self._output = output
        self.bytes = 0

    def write(self, data: bytes) -> None:
        if self._output is not None:
            self._output.write(data)
        self.bytes += len(data)
