"""Audio to ``.lac`` and back, as streams: memory does not grow with length.

A file is coded in two passes: the latents of all blocks go to a temporary file, from which the
step for the wanted bit rate is found; then the symbols are written.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import gcd
from typing import BinaryIO

import numpy as np

from codec.audio import StreamResampler, check_finite, resampled_length
from codec.blocks import FRAMES_PER_BLOCK, LatentBlock, decode_blocks, encode_blocks
from codec.codec import Codec
from codec.container import LacHeader, LacReader, LacWriter, bytes_beside_symbols
from codec.errors import AudioError, FormatError
from codec.quantise import dequantise, quantise
from codec.rate import DEFAULT_KBPS_PER_CHANNEL, choose_step

CHUNK = 1 << 16
"""Samples per channel read at a time."""

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
    """Spans (from, to) of the source that were lost and are silence now."""
    complete: bool = True
    """The end of the file, with its exact length, was there."""


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


def latent_blocks(
    codec: Codec, chunks: Iterable[np.ndarray], sample_rate: int, channels: int
) -> Iterator[LatentBlock]:
    """The latents of (channels, any length) chunks at any sample rate."""
    resampler = StreamResampler(sample_rate, codec.sample_rate, channels)

    def at_model_rate() -> Iterator[np.ndarray]:
        for chunk in chunks:
            yield resampler.process(chunk)
        yield resampler.process(np.zeros((channels, 0), np.float32), last=True)

    return encode_blocks(codec, at_model_rate())


def compress_stream(
    codec: Codec,
    chunks: Iterable[np.ndarray],
    sample_rate: int,
    channels: int,
    output: BinaryIO,
    kbps: float | None = None,
    tags: dict[str, str] | None = None,
    progress: Progress = _no_progress,
) -> CompressionReport:
    """Compress float32 chunks (channels, any length) into a binary file.

    Raises:
        AudioError: no samples, or more channels than the model can code.
        RateError: the model cannot reach so low a rate.
    """
    coded = codec.coded_channels(channels)
    samples = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal samples
        for chunk in chunks:
            samples += chunk.shape[1]
            yield chunk

    spool = LatentSpool()
    try:
        for block in latent_blocks(codec, counted(), sample_rate, channels):
            spool.append(block)
            progress(min(samples / sample_rate, len(spool) * FRAMES_PER_BLOCK / codec.frame_rate))
        if samples == 0:
            raise AudioError("the audio has no samples; there is nothing to compress")

        def header(step_index: int) -> LacHeader:
            return LacHeader(
                sample_rate=sample_rate,
                channels=channels,
                coded_channels=coded,
                latent_dim=codec.latent_dim,
                frames_per_block=FRAMES_PER_BLOCK,
                step_index=step_index,
                model_sample_rate=codec.sample_rate,
                hop_length=codec.hop_length,
                latent_id=bytes.fromhex(codec.latent_id),
                model=codec.config.name,
                tags=tags or {},
            )

        overhead = bytes_beside_symbols(header(0), len(spool))
        seconds = samples / sample_rate
        kbps = DEFAULT_KBPS_PER_CHANNEL * channels if kbps is None else kbps
        choice = choose_step(lambda: spool, codec.tables, kbps, seconds, overhead)
        count = _Counter(output)
        writer = LacWriter(count, header(choice.step_index), codec.tables)
        step = codec.tables.at(choice.step_index).step
        for block in spool:
            writer.write_block(quantise(block.latents, step), block.silent)
        writer.close(samples)
    finally:
        spool.close()
    progress(seconds)
    return CompressionReport(seconds, samples, count.bytes, choice.step_index, choice.at_finest)


class _Counter(io.RawIOBase):
    """Passes writes on and counts them: the output may be a pipe, which has no position."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self.bytes = 0

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._output.write(data)
        self.bytes += len(data)
        return len(data)


def check_model(codec: Codec, header: LacHeader) -> None:
    """Raises FormatError if the file was made with latents of another meaning."""
    if header.latent_id.hex() != codec.latent_id:
        raise FormatError(
            f"the file was made with the model '{header.model}', latent_id "
            f"{header.latent_id.hex()}; the model at hand is '{codec.config.name}', latent_id "
            f"{codec.latent_id}. Pass the right checkpoint with --model; `lacuna models` lists "
            f"the shipped ones, and every release keeps those of older ones"
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
        FormatError: the file is of another model.
        AudioError: ``start`` lies beyond the end.
    """
    header = reader.header
    check_model(codec, header)
    report = DecompressionReport(complete=reader.complete)
    rate, model_rate = header.sample_rate, codec.sample_rate
    block_samples = FRAMES_PER_BLOCK * codec.hop_length
    block_seconds = block_samples / model_rate

    total = reader.samples
    if total is None:  # the end of the file is lost: as much as the blocks hold
        total = int(reader.block_count * block_samples * rate / model_rate)
    first = round(start * rate)
    last = total if duration is None else min(total, first + round(duration * rate))
    if not 0 <= first < max(last, 1):
        raise AudioError(
            f"start {start:g} s and duration {duration} s select nothing of a file of "
            f"{total / rate:.3f} s"
        )
    report.damaged_seconds = [
        (i * block_seconds, min((i + 1) * block_seconds, total / rate)) for i in reader.damaged
    ]

    # One block early, so that the resampler has swung in before the first sample that is kept,
    # and from a sample that both rates have in common, so that the result is not shifted.
    first_block = max(0, int(first / rate / block_seconds) - 1)
    common = model_rate // gcd(model_rate, rate)
    ahead = -first_block * block_samples % common
    if ahead > block_samples // 2:
        first_block = ahead = 0
    begin = first_block * block_samples + ahead
    skip = first - begin * rate // model_rate
    last_block = min(reader.block_count, int(last / rate / block_seconds) + 2)

    def dequantised() -> Iterator[LatentBlock | None]:
        centroids = codec.tables.at(header.step_index).centroids
        # One block to the left as well: its latents are the first block's halo.
        for index in range(max(0, first_block - 1), last_block):
            block = reader.read_block(index, codec.tables)
            yield block and LatentBlock(dequantise(block.symbols, centroids), block.silent)

    decoded = decode_blocks(codec, dequantised(), header.channels)
    if first_block > 0:
        next(decoded)
    resampler = StreamResampler(model_rate, rate, header.channels)
    wanted = last - first
    length_at_model_rate = resampled_length(total, rate, model_rate) - begin

    def keep(piece: np.ndarray) -> None:
        nonlocal skip
        dropped = min(skip, piece.shape[1])
        skip -= dropped
        piece = piece[:, dropped : dropped + wanted - report.samples]
        if piece.shape[1]:
            report.samples += piece.shape[1]
            write(piece)
            progress(report.samples / rate)

    for samples in decoded:
        samples = samples[:, ahead : ahead + max(length_at_model_rate, 0)]
        ahead = 0
        length_at_model_rate -= samples.shape[1]
        keep(resampler.process(samples))
        if report.samples >= wanted:
            break
    else:
        keep(resampler.process(np.zeros((header.channels, 0), np.float32), last=True))
    missing = wanted - report.samples
    if missing > 0:  # rounding of the two lengths; a sample or two
        write(np.zeros((header.channels, missing), np.float32))
        report.samples += missing
    return report


def compress_array(
    codec: Codec,
    waveform: np.ndarray,
    sample_rate: int,
    output: BinaryIO,
    kbps: float | None = None,
) -> CompressionReport:
    """Compress (channels, time) held in memory.

    Raises:
        AudioError: a wrong shape, no samples, or values that are not finite.
        RateError: the model cannot reach so low a rate.
    """
    if waveform.ndim != 2 or 0 in waveform.shape:
        raise AudioError(f"expected samples (channels, time), got {waveform.shape}")
    check_finite(waveform, 0, sample_rate, "the waveform")
    chunks = (waveform[:, i : i + CHUNK] for i in range(0, waveform.shape[1], CHUNK))
    return compress_stream(codec, chunks, sample_rate, waveform.shape[0], output, kbps)


def decompress_array(codec: Codec, data: bytes) -> tuple[np.ndarray, int]:
    """Samples (channels, time) and sample rate of a ``.lac`` file; warns of damage.

    Raises:
        FormatError: not such a file, of another model, or damaged beyond use.
    """
    reader = LacReader(data)
    pieces: list[np.ndarray] = []
    report = decompress_stream(codec, reader, pieces.append)
    for begin, end in report.damaged_seconds:
        warnings.warn(f"{begin:.2f} s to {end:.2f} s are damaged and silent", stacklevel=3)
    if not pieces:
        return np.zeros((reader.header.channels, 0), np.float32), reader.header.sample_rate
    return np.concatenate(pieces, axis=1), reader.header.sample_rate
