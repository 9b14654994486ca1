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
from dataclasses import dataclass, field
from math import gcd

import numpy as np

from codec.audio import StreamResampler, check_finite, resampled_length
from codec.blocks import FRAMES_PER_BLOCK, LatentBlock, decode_blocks, encode_blocks
from codec.codec import Codec
from codec.container import MAX_SAMPLE_RATE, ByteSink, LacHeader, LacReader, LacWriter
from codec.errors import AudioError, FormatError
from codec.quantise import dequantise, quantise
from codec.rate import DEFAULT_KBPS_PER_CHANNEL, check_kbps, choose_step

CHUNK = 1 << 16
"""Samples per channel read at a time."""

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


def resampled(
    pieces: Iterable[np.ndarray], from_rate: int, to_rate: int, channels: int
) -> Iterator[np.ndarray]:
    """A stream of (channels, any length) pieces at another sample rate."""
    resampler = StreamResampler(from_rate, to_rate, channels)
    for piece in pieces:
        yield resampler.process(piece)
    yield resampler.process(np.zeros((channels, 0), np.float32), last=True)


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
    kbps: float | None = None,
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
    kbps = DEFAULT_KBPS_PER_CHANNEL * channels if kbps is None else kbps
    check_kbps(kbps)
    samples = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal samples
        for chunk in chunks:
            samples += chunk.shape[1]
            yield chunk

    spool = LatentSpool()

    def write_file(target: ByteSink | None, step_index: int) -> int:
        header = LacHeader(
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
            tags={key: text[:MAX_TAG_CHARACTERS] for key, text in (tags or {}).items()},
        )
        counter = _Counter(target)
        writer = LacWriter(counter, header, codec.tables)
        step = codec.tables.at(step_index).step
        for block in spool:
            writer.write_block(quantise(block.latents, step), block.silent)
        writer.close(samples)
        return counter.bytes

    try:
        at_model_rate = resampled(counted(), sample_rate, codec.sample_rate, channels)
        for block in encode_blocks(codec, at_model_rate):
            spool.append(block)
            progress(min(samples / sample_rate, len(spool) * FRAMES_PER_BLOCK / codec.frame_rate))
        if samples == 0:
            raise AudioError("the audio has no samples; there is nothing to compress")
        seconds = samples / sample_rate
        choice = choose_step(
            lambda step_index: write_file(None, step_index), codec.useful, kbps, seconds
        )
        size = write_file(output, choice.step_index)
    finally:
        spool.close()
    progress(seconds)
    return CompressionReport(seconds, samples, size, choice.step_index, choice.at_finest)


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
    first, last = _selection(start, duration, total, rate)
    report = DecompressionReport(complete=reader.complete or last < total)
    for index in reader.damaged:
        lost = (index * block_seconds, min((index + 1) * block_seconds, total / rate))
        if lost[0] < last / rate and lost[1] > first / rate:
            report.damaged_seconds.append(lost)

    # One block early, so that the resampler has swung in before the first sample that is kept,
    # and from a sample that both rates have in common, so that the result is not shifted.
    first_block = max(0, first * model_rate // (rate * block_samples) - 1)
    common = model_rate // gcd(model_rate, rate)
    ahead = -first_block * block_samples % common
    if ahead > block_samples // 2:
        first_block = ahead = 0
    begin = first_block * block_samples + ahead
    # One block more, for the right halo and for what the resampler has to see of the future.
    last_block = min(reader.block_count, last * model_rate // (rate * block_samples) + 2)

    def dequantised() -> Iterator[LatentBlock | None]:
        centroids = codec.tables.at(header.step_index).centroids
        # One block to the left as well: its latents are the first block's halo.
        for index in range(max(0, first_block - 1), last_block):
            block = reader.read_block(index, codec.tables)
            if block is None:
                yield None
            else:
                yield LatentBlock(dequantise(block.symbols, centroids), block.silent)

    decoded = decode_blocks(codec, dequantised(), header.channels)
    if first_block > 0:
        next(decoded)
    at_model_rate = cut(decoded, ahead, resampled_length(total, rate, model_rate) - begin)
    at_file_rate = resampled(at_model_rate, model_rate, rate, header.channels)
    for piece in cut(at_file_rate, first - begin * rate // model_rate, last - first):
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
    kbps: float | None = None,
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
    return compress_stream(codec, chunks, sample_rate, waveform.shape[0], output, kbps)


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
