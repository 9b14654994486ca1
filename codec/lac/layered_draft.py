"""A file with a waveform layer before the layer's step is known."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator

import numpy as np

from codec.entropy.coder import SymbolCoder
from codec.entropy.coefficients import Layer, cost_bits
from codec.errors import RateError
from codec.lac.draft import Counter, LatentSpool, sampled_blocks
from codec.lac.finest_within import finest_within
from codec.lac.header import CRC_BYTES, LacHeader
from codec.lac.spool import ArraySpool
from codec.lac.writer import ByteSink, CodedBlock, LacWriter, fixed_bytes
from codec.model.blocks import LatentBlock
from codec.model.layered_blocks import Coefficients
from codec.network.layer_quantiser import STEP_INDICES, index_of

SPARSE = 400
"""Coefficients of a frame from which a first guess at the step is made: up to 4.3 kHz."""

SAMPLED_FRAMES = 64
"""And so many frames of a few blocks are coded for a better one."""
SLOPE_STEPS = 16
"""How fast sizes fall is measured over so many steps."""
LAYER_BYTES = 4
"""What a layer takes, about, beside what is coded."""


class CoefficientSpool:
    """Coefficients of blocks in a temporary file, to be read several times."""

    def __init__(self) -> None:
        self._values = ArraySpool()
        self._known: list[tuple[np.ndarray, bool]] = []

    def append(self, coefficients: Coefficients) -> None:
        self._values.append(coefficients.values)
        self._known.append((coefficients.split, coefficients.sparse))

    def __iter__(self) -> Iterator[Coefficients]:
        for values, (split, sparse) in zip(self._values, self._known, strict=True):
            yield Coefficients(split, values, sparse)

    def close(self) -> None:
        self._values.close()


class LayeredDraft:
    """The coded latents and coefficients of a whole file, and its bytes at any step of the layer.

    ``write`` gives block ``i`` the step asked for, or ``least_steps[i]`` if that is coarser.
    """

    def __init__(
        self,
        coder: SymbolCoder,
        header: LacHeader,
        spools: tuple[LatentSpool, CoefficientSpool],
        samples: int,
        base_step: int,
    ) -> None:
        self.header, self.samples = header, samples
        latents, self._coefficients = spools
        self._coded = [coded_block(coder, block, base_step) for block in latents]
        self.least_steps = [0] * len(self._coded)
        self._trial = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the draft
        self._trial_step: int | None = None

    @property
    def fixed_bytes(self) -> int:
        return fixed_bytes(self.header, len(self._coded))

    def write(self, output: ByteSink, step_index: int) -> int:
        """Write the file; returns its bytes."""
        counter = Counter(output)
        if step_index == self._trial_step:
            self._trial.seek(0)
            shutil.copyfileobj(self._trial, counter)
            return counter.bytes
        writer = LacWriter(counter, self.header)
        for (block, coefficients), least in zip(self._blocks(), self.least_steps, strict=True):
            writer.write_coded(block, coefficients.at(max(step_index, least)))
        writer.close(self.samples)
        return counter.bytes

    def size(self, step_index: int) -> float:
        """The bytes of the file, which is kept until the next one: it may be the one to write."""
        self._trial_step = None
        self._trial.seek(0)
        self._trial.truncate()
        size = self.write(self._trial, step_index)
        self._trial_step = step_index
        return float(size)

    def close(self) -> None:
        self._trial.close()

    def choose(self, budget: float) -> int | None:
        """The finest step whose file has at most ``budget`` bytes, or one next to it.

        None where a layer would have next to nothing of it.
        """
        sample, base = self._sample()
        if base > budget * 2 / 3:
            return None
        guess = finest_within(lambda step: base + sample(step), budget, self._first_guess())
        if guess is None:
            return None
        near, coarser = (math.log2(base + sample(guess + away)) for away in (0, SLOPE_STEPS))
        return finest_within(self.size, budget, guess, (near - coarser) / SLOPE_STEPS)

    def limit_blocks(self, max_kbps: float) -> None:
        """Hold every block to the finest step at which it has at most ``max_kbps``.

        Raises:
            RateError: a block has more even without its layer.
        """
        frame = self.header.hop_length / self.header.model_sample_rate
        for index, (block, coefficients) in enumerate(self._blocks()):
            # The last block may be so short that its fixed part alone exceeds any rate.
            seconds = max(1.0, block.frames * frame)
            base = self._base_bytes(block)

            def size(
                step: int, base: int = base, c: Coefficients = coefficients, b: CodedBlock = block
            ) -> float:
                return base + layer_bytes(c.at(step), b.silent)

            budget = max_kbps * 1000 * seconds / 8
            least = finest_within(size, budget, STEP_INDICES // 2)
            if least is None:
                needed = math.ceil((base + 16) * 8 / seconds / 10) / 100
                raise RateError(
                    f"--max-kbps {max_kbps:g} is less than the block at "
                    f"{index * self.header.frames_per_block * frame:.1f} s takes without its "
                    f"waveform layer: give {needed:g} or more"
                )
            self.least_steps[index] = least

    def _blocks(self) -> Iterator[tuple[CodedBlock, Coefficients]]:
        return zip(self._coded, self._coefficients, strict=True)

    def _base_bytes(self, block: CodedBlock) -> int:
        return self.header.block_overhead + CRC_BYTES + len(block.payload)

    def _sample(self) -> tuple[Callable[[int], float], float]:
        """A guess at the bytes of all layers at a step, from a few blocks; those of the rest."""
        count = len(self.least_steps)
        indices = sampled_blocks(count)
        sampled = [x for index, x in enumerate(self._blocks()) if index in indices]
        base = sum(self._base_bytes(block) for block, _ in sampled) * count / len(sampled)
        self._sampled = [c.first(SAMPLED_FRAMES) for _, c in sampled]
        frames = sum(block.frames for block in self._coded)
        share = frames / sum(len(c.split) for c in self._sampled)
        fixed = LAYER_BYTES * count

        def size(step: int) -> float:
            layers = (c.at(step) for c in self._sampled)
            return fixed + share * sum(cost_bits(x.symbols, x.split) for x in layers) / 8

        return size, base

    def _first_guess(self) -> int:
        low = [c.values[..., :SPARSE].ravel() for c in self._sampled]
        return index_of(float(np.quantile(np.abs(np.concatenate(low)), 0.9)))


def layer_bytes(layer: Layer, silent: np.ndarray) -> float:
    """What a layer takes in a file, but for its fields."""
    return cost_bits(layer.symbols[~silent], layer.split) / 8 + LAYER_BYTES


def coded_block(coder: SymbolCoder, block: LatentBlock, step_index: int) -> CodedBlock:
    """A block's latents as they stand in a file."""
    payload = coder.encode(coder.quantise(block.latents[~block.silent], step_index), step_index)
    return CodedBlock(payload, block.latents.shape[-1], step_index, block.silent, denoise=False)
