"""Audio to ``.lac``, as a stream: memory does not grow with length.

A file is coded in two passes: the latents of all blocks go to a temporary file, from which the
step for the wanted bit rate is found; then the symbols are written.
"""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from codec.audio.pieces import CHUNK, Progress, no_progress
from codec.audio.resampling import resampled
from codec.audio.waveform import check_finite
from codec.entropy.coder import SymbolCoder
from codec.entropy.quantise import STEP_INDICES, quantise
from codec.errors import AudioError, RateError
from codec.lac.container import ByteSink, LacWriter
from codec.lac.header import MAX_SAMPLE_RATE, LacHeader
from codec.lac.rate import RateTarget, StepChoice, choose_step, step_below, step_of_quality
from codec.model.blocks import FRAMES_PER_BLOCK, LatentBlock, encode_blocks
from codec.model.latent_codec import LatentCodec
from codec.model.useful_range import UsefulRange

DEFAULT_TARGET = RateTarget()

SAMPLED_BLOCKS = 4
"""A file's size at a step is first guessed from so many of its blocks."""

MAX_CHANNELS = 255  # the format counts them in one byte
MAX_TAG_CHARACTERS = 100
"""Longer tags are shortened: a comment must not outweigh the sound."""


@dataclass(frozen=True)
class CompressionReport:
    """What became of the audio."""

    seconds: float
    samples: int
    bytes: int
    step_index: int
    at_finest: bool
    """The finest useful step was taken: more bytes would not have helped."""

    @property
    def kbps(self) -> float:
        return self.bytes * 8 / self.seconds / 1000


class LatentSpool:
    """Latent blocks in a temporary file, to be read several times."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the spool
        self._shapes: list[tuple[tuple[int, ...], np.ndarray]] = []

    def append(self, block: LatentBlock) -> None:
        self._file.seek(0, io.SEEK_END)
        self._file.write(np.ascontiguousarray(block.latents, np.float32).tobytes())
        self._shapes.append((block.latents.shape, block.silent))

    def __len__(self) -> int:
        return len(self._shapes)

    def __iter__(self) -> Iterator[LatentBlock]:
        self._file.seek(0)
        for shape, silent in self._shapes:
            data = self._file.read(4 * int(np.prod(shape)))
            yield LatentBlock(np.frombuffer(data, np.float32).reshape(shape), silent)

    def close(self) -> None:
        self._file.close()


def compress_stream(
    codec: LatentCodec,
    chunks: Iterable[np.ndarray],
    sample_rate: int,
    channels: int,
    output: ByteSink,
    target: RateTarget = DEFAULT_TARGET,
    tags: dict[str, str] | None = None,
    progress: Progress = no_progress,
) -> CompressionReport:
    """Compress float32 chunks (channels, any length) into a binary file.

    Raises:
        AudioError: no samples, a sample rate outside 1..768,000 Hz, or more channels than the
            format or the model can code.
        RateError: the model cannot reach so low a rate.
    """
    coded = codec.coded_channels(channels)
    if channels > MAX_CHANNELS:
        raise AudioError(
            f"{channels} channels, expected at most {MAX_CHANNELS}; are the dimensions "
            f"(time, channels)? Then transpose them"
        )
    if not 1 <= sample_rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"a sample rate of {sample_rate} Hz, expected 1 to {MAX_SAMPLE_RATE}; resample first"
        )
    samples = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal samples
        for chunk in chunks:
            samples += chunk.shape[1]
            yield chunk

    spool = LatentSpool()

    try:
        at_model_rate = resampled(counted(), sample_rate, codec.sample_rate, channels)
        for block in encode_blocks(codec, at_model_rate):
            spool.append(block)
            progress(min(samples / sample_rate, len(spool) * FRAMES_PER_BLOCK / codec.frame_rate))
        if samples == 0:
            raise AudioError("the audio has no samples; there is nothing to compress")
        header = LacHeader(
            sample_rate=sample_rate,
            channels=channels,
            coded_channels=coded,
            latent_dim=codec.latent_dim,
            frames_per_block=FRAMES_PER_BLOCK,
            model_sample_rate=codec.sample_rate,
            hop_length=codec.hop_length,
            latent_id=bytes.fromhex(codec.latent_id),
            model=codec.config.name,
            tags={key: text[:MAX_TAG_CHARACTERS] for key, text in (tags or {}).items()},
            context_coded=codec.context is not None,
        )
        draft = _Draft(codec.coder, header, spool, samples, codec.frame_rate)
        choice = draft.choose(codec.useful, target)
        size = draft.write(output, choice.step_index)
    finally:
        spool.close()
    seconds = samples / sample_rate
    progress(seconds)
    return CompressionReport(seconds, samples, size, choice.step_index, choice.at_finest)


class _Draft:
    """A file that can be written at any step, to find the one that fits."""

    def __init__(
        self,
        coder: SymbolCoder,
        header: LacHeader,
        spool: LatentSpool,
        samples: int,
        frame_rate: float,
    ) -> None:
        self._coder, self._header, self._spool = coder, header, spool
        self._samples, self._frame_rate = samples, frame_rate
        self._least_steps = [0] * len(spool)
        """The finest step that each block may have."""

    def choose(self, useful: UsefulRange, target: RateTarget) -> StepChoice:
        """The step for ``target``; blocks above its ``max_kbps`` are held to a coarser one.

        Raises:
            RateError: the model cannot reach so low a rate.
        """
        if target.max_kbps is not None:
            self._limit_blocks(target.max_kbps)
        if target.quality is not None:
            choice = step_of_quality(useful, target.quality)
        else:
            choice = self._choose_by_size(useful, target)
        limited = any(least > choice.step_index for least in self._least_steps)
        return replace(choice, at_finest=choice.at_finest and not limited)

    def _choose_by_size(self, useful: UsefulRange, target: RateTarget) -> StepChoice:
        seconds = self._samples / self._header.sample_rate
        sample = self._sample()
        per_sample = len(self._spool) / len(sample)
        return choose_step(
            lambda step: self.write(None, step),
            lambda step: sum(self._cost(block, step) for block in sample) * per_sample,
            useful,
            target.budget(self._header.channels, seconds),
            seconds,
        )

    def write(self, target: ByteSink | None, step_index: int) -> int:
        """Write the file, or only find its size; returns its bytes."""
        counter = _Counter(target)
        writer = LacWriter(counter, self._header, self._coder)
        for block, least in zip(self._spool, self._least_steps, strict=True):
            step = max(step_index, least)
            writer.write_block(quantise(block.latents, self._coder.steps(step)), step, block.silent)
        writer.close(self._samples)
        return counter.bytes

    def _sample(self) -> list[LatentBlock]:
        """A few blocks from all over the file."""
        wanted = set(np.linspace(0, len(self._spool) - 1, SAMPLED_BLOCKS).round().astype(int))
        return [block for index, block in enumerate(self._spool) if index in wanted]

    def _symbols(self, block: LatentBlock, step_index: int) -> np.ndarray:
        return quantise(block.latents[~block.silent], self._coder.steps(step_index))

    def _cost(self, block: LatentBlock, step_index: int) -> float:
        bits = self._coder.cost_bits(self._symbols(block, step_index), step_index)
        return self._header.block_overhead + bits / 8

    def _block_bytes(self, block: LatentBlock, step_index: int) -> int:
        coded = self._coder.encode(self._symbols(block, step_index), step_index)
        return self._header.block_overhead + len(coded)

    def _limit_blocks(self, max_kbps: float) -> None:
        for index, block in enumerate(self._spool):
            # The last block may be so short that its fixed part alone exceeds any rate.
            seconds = max(1.0, block.latents.shape[-1] / self._frame_rate)
            least = step_below(partial(self._block_bytes, block), max_kbps * 1000 * seconds / 8)
            if least is None:
                needed = self._block_bytes(block, STEP_INDICES - 1) * 8 / seconds / 1000
                raise RateError(
                    f"--max-kbps {max_kbps:g} is less than the block at "
                    f"{index * FRAMES_PER_BLOCK / self._frame_rate:.1f} s takes at the coarsest "
                    f"step: give {math.ceil(needed * 100) / 100:.2f} or more"
                )
            self._least_steps[index] = least


class _Counter:
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


def compress_array(
    codec: LatentCodec,
    waveform: np.ndarray,
    sample_rate: int,
    output: ByteSink,
    target: RateTarget = DEFAULT_TARGET,
) -> CompressionReport:
    """Compress (channels, time) held in memory.

    Raises:
        AudioError: a wrong shape, no samples, or values that are not finite; and as for
            ``compress_stream``.
        RateError: the model cannot reach so low a rate.
    """
    if waveform.ndim != 2 or 0 in waveform.shape:
        raise AudioError(
            f"got samples of shape {waveform.shape}, expected (channels, time), none of them 0"
        )
    check_finite(waveform, 0, sample_rate, "the waveform")
    chunks = (waveform[:, i : i + CHUNK] for i in range(0, waveform.shape[1], CHUNK))
    return compress_stream(codec, chunks, sample_rate, waveform.shape[0], output, target)
