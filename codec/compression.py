"""Audio to ``.lac`` and back, as streams: memory does not grow with length.

A file is coded in two passes: the latents of all blocks go to a temporary file, from which the
step for the wanted bit rate is found; then the symbols are written.
"""

from __future__ import annotations

import io
import math
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

import numpy as np

from codec.blocks import FRAMES_PER_BLOCK, LatentBlock, decode_blocks, encode_blocks
from codec.codec import Codec
from codec.coder import SymbolCoder
from codec.container import ByteSink, LacReader, LacWriter
from codec.errors import AudioError, FormatError, RateError
from codec.header import MAX_SAMPLE_RATE, LacHeader
from codec.quantise import STEP_INDICES, quantise
from codec.rate import (
    RateTarget,
    StepChoice,
    UsefulRange,
    choose_step,
    step_below,
    step_of_quality,
)
from codec.resampling import input_start, resampled, resampled_length
from codec.waveform import check_finite

CHUNK = 1 << 16
"""Samples per channel read at a time."""

DEFAULT_TARGET = RateTarget()

SAMPLED_BLOCKS = 4
"""A file's size at a step is first guessed from so many of its blocks."""

MAX_CHANNELS = 255  # the format counts them in one byte
MAX_TAG_CHARACTERS = 100
"""Longer tags are shortened: a comment must not outweigh the sound."""

Progress = Callable[[float], None]
"""Called with the seconds of audio done so far."""


def _no_progress(seconds: float) -> None:
    pass


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


@dataclass
class DecompressionReport:
    """What came out of a file."""

    samples: int = 0
    damaged_seconds: list[tuple[float, float]] = field(default_factory=list)
    """Spans (from, to) of the source that were wanted, were lost and are silence now."""
    complete: bool = True
    """Nothing that was wanted lies beyond a lost end of the file."""

    def problems(self) -> list[str]:
        """What is wrong with the result, in words; empty if nothing is."""
        found = [
            f"{begin:.2f} s to {end:.2f} s are damaged and silent"
            for begin, end in self.damaged_seconds
        ]
        if not self.complete:
            found.append("the end of the file is damaged or missing")
        return found


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


def cut(pieces: Iterable[np.ndarray], skip: int, length: int) -> Iterator[np.ndarray]:
    """``length`` samples of a stream of (channels, any length) pieces, after ``skip`` others.

    No piece is asked for beyond the one with the last sample.
    """
    for piece in pieces:
        dropped = min(skip, piece.shape[1])
        skip -= dropped
        kept = piece[:, dropped : dropped + length]
        length -= kept.shape[1]
        if kept.shape[1]:
            yield kept
        if length == 0:
            return


def compress_stream(
    codec: Codec,
    chunks: Iterable[np.ndarray],
    sample_rate: int,
    channels: int,
    output: ByteSink,
    target: RateTarget = DEFAULT_TARGET,
    tags: dict[str, str] | None = None,
    progress: Progress = _no_progress,
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


def check_model(codec: Codec, header: LacHeader) -> None:
    """Raises FormatError if the file was made with latents of another meaning or layout."""
    if header.latent_id.hex() != codec.latent_id:
        raise FormatError(
            f"the file was made with the model '{header.model}', latent_id "
            f"{header.latent_id.hex()}; the model at hand is '{codec.config.name}', latent_id "
            f"{codec.latent_id}. Pass the right checkpoint with --model; `lacuna models` lists "
            f"the shipped ones, and every release keeps those of older ones"
        )
    expected = {
        "coded_channels": codec.coded_channels(header.channels),
        "latent_dim": codec.latent_dim,
        "frames_per_block": FRAMES_PER_BLOCK,
        "model_sample_rate": codec.sample_rate,
        "hop_length": codec.hop_length,
    }
    for name, value in expected.items():
        if getattr(header, name) != value:
            raise FormatError(
                f"the file's {name} is {getattr(header, name)}, and its model has {value}: it is "
                f"forged, or of another version of lacuna-codec"
            )


def decompress_stream(
    codec: Codec,
    reader: LacReader,
    write: Callable[[np.ndarray], None],
    start: float = 0.0,
    duration: float | None = None,
    progress: Progress = _no_progress,
) -> DecompressionReport:
    """Decode a file, or ``duration`` seconds from ``start`` on, block by block.

    ``write`` is called with float32 (channels, any length) at the file's own sample rate.

    Raises:
        FormatError: the file is of another model, or nothing of it is left.
        AudioError: ``start`` and ``duration`` select nothing.
    """
    header = reader.header
    check_model(codec, header)
    rate, model_rate = header.sample_rate, codec.sample_rate
    block_samples = FRAMES_PER_BLOCK * codec.hop_length
    block_seconds = block_samples / model_rate

    held = reader.frames * codec.hop_length * rate // model_rate
    total = held if reader.samples is None else min(held, reader.samples)
    if total == 0:
        raise FormatError("the file holds no sound: it was cut off after its header")
    if len(reader.damaged) == reader.block_count:
        raise FormatError(
            f"none of the file's {reader.block_count} blocks is whole; there is nothing to decode"
        )
    first, last = _selection(start, duration, total, rate)
    report = DecompressionReport(complete=reader.complete or last < total)
    for index in reader.damaged:
        lost = (index * block_seconds, min((index + 1) * block_seconds, total / rate))
        if lost[0] < last / rate and lost[1] > first / rate:
            report.damaged_seconds.append(lost)

    # From here on everything is as it would be in a whole decode, to the last bit.
    begin = input_start(first, model_rate, rate)
    first_block = begin // block_samples
    # The right halo and the resampler have to see some of the future: one block, hardly ever more.
    likely_end = last * model_rate // (rate * block_samples) + 2
    # One block to the left as well: its latents are the first block's halo.
    coder, left = codec.coder_of(header), max(0, first_block - 1)
    stored = chain(reader.blocks(coder, left, likely_end), reader.blocks(coder, likely_end))
    blocks = (b if b is None else LatentBlock(b.latents, b.silent) for b in stored)
    decoded = decode_blocks(codec, blocks, header.channels)
    if first_block > 0:
        next(decoded)
    at_model_rate = cut(
        decoded,
        begin - first_block * block_samples,
        resampled_length(total, rate, model_rate) - begin,
    )
    at_file_rate = resampled(at_model_rate, model_rate, rate, header.channels, first)
    # Blocks are decoded as they are asked for: none beyond what the last sample needs.
    for piece in cut(at_file_rate, 0, last - first):
        write(piece)
        report.samples += piece.shape[1]
        progress(report.samples / rate)
    return report


def _selection(
    start: float, duration: float | None, samples: int, sample_rate: int
) -> tuple[int, int]:
    """The first sample of a span in seconds, and the one after its last."""
    for name, seconds in (("start", start), ("duration", duration)):
        if seconds is not None and not (0 <= seconds < math.inf):
            raise AudioError(f"{name} {seconds:g} s, expected 0 or more seconds")
    first = round(start * sample_rate)
    last = samples if duration is None else min(samples, first + round(duration * sample_rate))
    if first >= last:
        wanted = "to the end" if duration is None else f"for {duration:g} s"
        raise AudioError(
            f"from {start:g} s {wanted} there is nothing to decode: the file has "
            f"{samples / sample_rate:.3f} s"
        )
    return first, last


def compress_array(
    codec: Codec,
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


def decompress_array(
    codec: Codec, data: bytes, start: float = 0.0, duration: float | None = None
) -> tuple[np.ndarray, int]:
    """Samples (channels, time) and sample rate of a ``.lac`` file; warns of damage.

    Raises:
        FormatError: not such a file, of another model, or damaged beyond use.
        AudioError: ``start`` and ``duration`` (seconds) select nothing.
    """
    reader = LacReader(data)
    pieces: list[np.ndarray] = []
    report = decompress_stream(codec, reader, pieces.append, start, duration)
    for problem in report.problems():
        warnings.warn(problem, stacklevel=3)
    return np.concatenate(pieces, axis=1), reader.header.sample_rate
