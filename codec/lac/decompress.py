"""``.lac`` to audio, as a stream: memory does not grow with length, and any span can be decoded."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from codec.audio.pieces import Progress, cut, no_progress
from codec.audio.resampling import input_start, resampled, resampled_length
from codec.entropy.coder import SymbolCoder
from codec.errors import AudioError, FormatError
from codec.lac.denoising import Denoiser, Denoising, choose_denoising
from codec.lac.header import LacHeader
from codec.lac.reader import Block, LacReader
from codec.model.blocks import FRAMES_PER_BLOCK, LatentBlock, decode_blocks
from codec.model.latent_codec import LatentCodec


@dataclass
class DecompressionReport:
    """What came out of a file."""

    samples: int = 0
    damaged_seconds: list[tuple[float, float]] = field(default_factory=list)
    """Spans (from, to) of the source that were wanted, were lost and are silence now."""
    coarse_seconds: list[tuple[float, float]] = field(default_factory=list)
    """Those of which only the waveform layer was lost."""
    complete: bool = True
    """Nothing that was wanted lies beyond a lost end of the file."""

    def problems(self) -> list[str]:
        """What is wrong with the result, in words; empty if nothing is."""
        problems = [
            f"{begin:.2f} s to {end:.2f} s are damaged and silent"
            for begin, end in self.damaged_seconds
        ]
        problems += [
            f"{begin:.2f} s to {end:.2f} s lost their waveform layer and are as at a low rate"
            for begin, end in self.coarse_seconds
        ]
        if not self.complete:
            problems.append("the end of the file is damaged or missing")
        return problems


def check_model(codec: LatentCodec, header: LacHeader) -> None:
    """Raises FormatError if the file was made with latents of another meaning or layout."""
    if header.coding_id.hex() != codec.coding_id:
        raise FormatError(
            f"the file was made with the model '{header.model}', coding_id "
            f"{header.coding_id.hex()}; the model at hand is '{codec.config.name}', coding_id "
            f"{codec.coding_id}. Give the right checkpoint: --model PATH, or codec.load(PATH) in "
            f"Python; files of the shipped models need none"
        )
    expected = {
        "coded_channels": codec.coded_channels(header.channels),
        "tokens": codec.config.tokens is not None,
        "latent_dim": codec.tables.latent_dim,
        "frames_per_block": FRAMES_PER_BLOCK,
        "model_sample_rate": codec.sample_rate,
        "hop_length": codec.hop_length,
    }
    if header.layered and not codec.layered:
        raise FormatError(
            f"the file has a waveform layer, which the model '{codec.config.name}' has none of: it "
            f"is forged, or of another version of lacuna-codec"
        )
    for name, value in expected.items():
        if getattr(header, name) != value:
            raise FormatError(
                f"the file's {name} is {getattr(header, name)}, and its model has {value}: it is "
                f"forged, or of another version of lacuna-codec"
            )


def coder_for(codec: LatentCodec, header: LacHeader) -> SymbolCoder:
    """What decodes the symbols of a file.

    Raises:
        FormatError: it is coded with a context model, and the checkpoint has none.
    """
    if not header.context_coded:
        return codec.tables
    if codec.context is None:
        raise FormatError(
            f"the file is coded with a context model, which this checkpoint of "
            f"'{codec.config.name}' lacks: it is forged or damaged"
        )
    return codec.context


def decompress_stream(
    codec: LatentCodec,
    reader: LacReader,
    write: Callable[[np.ndarray], None],
    start: float = 0.0,
    duration: float | None = None,
    progress: Progress = no_progress,
    *,
    steps: int | None = None,
    denoiser: Denoiser | str | Path | None = None,
) -> DecompressionReport:
    """Decode a file, or ``duration`` seconds from ``start`` on, block by block.

    ``write`` is called with float32 (channels, any length) at the file's own sample rate.
    ``steps`` and ``denoiser`` are as for ``choose_denoising``.

    Raises:
        FormatError: the file is of another model, or nothing of it is left.
        LacunaError: there is nothing that could denoise it.
        AudioError: ``start`` and ``duration`` select nothing.
    """
    header = reader.header
    check_model(codec, header)
    rate, model_rate = header.sample_rate, codec.sample_rate
    block_samples = FRAMES_PER_BLOCK * codec.hop_length
    first, last, total = _wanted(reader, start, duration)
    if len(reader.damaged) == reader.block_count:
        raise FormatError(
            f"none of the file's {reader.block_count} blocks is whole; there is nothing to decode"
        )
    report = survey(reader, start, duration)
    # Files with a waveform layer are not denoised: for them the default loads no network.
    unasked = header.layered and steps is None
    denoising = None if unasked else choose_denoising(codec, steps, denoiser)

    # From here on everything is as it would be in a whole decode, to the last bit.
    begin = input_start(first, model_rate, rate)
    first_block = begin // block_samples
    # The right halo and the resampler have to see some of the future: one block, hardly ever more.
    likely_end = last * model_rate // (rate * block_samples) + 2
    # One block to the left as well: its latents are the first block's halo.
    coder, left = coder_for(codec, header), max(0, first_block - 1)
    stored = chain(reader.blocks(coder, left, likely_end), reader.blocks(coder, likely_end))
    blocks = (
        None if block is None else _latent_block(codec, block, index, denoising)
        for index, block in enumerate(stored, start=left)
    )
    decoded = decode_blocks(codec, blocks, header.channels, first_block=left)
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


def _latent_block(
    codec: LatentCodec, block: Block, index: int, denoising: Denoising | None
) -> LatentBlock:
    if denoising is not None:
        return LatentBlock(denoising.latents(codec, block, index), block.silent, block.layer)
    if codec.config.tokens is None:
        return LatentBlock(block.latents, block.silent, block.layer)
    tokens = torch.from_numpy(block.latents).to(codec.device)
    return LatentBlock(codec.latents_of(tokens).cpu().numpy(), block.silent)


def survey(reader: LacReader, start: float, duration: float | None) -> DecompressionReport:
    """What is lost of the wanted part of a file, before anything is decoded.

    Raises:
        FormatError: nothing of the file is left.
        AudioError: ``start`` and ``duration`` select nothing.
    """
    header = reader.header
    first, last, total = _wanted(reader, start, duration)
    rate = header.sample_rate
    block_seconds = header.frames_per_block * header.hop_length / header.model_sample_rate
    report = DecompressionReport(complete=reader.complete or last < total)
    for indices, spans in (
        (reader.damaged, report.damaged_seconds),
        (reader.damaged_layers, report.coarse_seconds),
    ):
        for index in indices:
            lost = (index * block_seconds, min((index + 1) * block_seconds, total / rate))
            if lost[0] < last / rate and lost[1] > first / rate:
                spans.append(lost)
    return report


def _wanted(reader: LacReader, start: float, duration: float | None) -> tuple[int, int, int]:
    """The first wanted sample, the one after the last, and how many the file has."""
    header = reader.header
    held = reader.frames * header.hop_length * header.sample_rate // header.model_sample_rate
    total = held if reader.samples is None else min(held, reader.samples)
    if total == 0:
        raise FormatError("the file holds no sound: it was cut off after its header")
    return *_selection(start, duration, total, header.sample_rate), total


def _selection(
    start: float, duration: float | None, samples: int, sample_rate: int
) -> tuple[int, int]:
    """The first sample of a span in seconds, and the one after its last."""
    for name, seconds in (("start", start), ("duration", duration)):
        if seconds is not None and not (0 <= seconds < math.inf):
            raise AudioError(f"{name} {seconds:g} s, expected 0 or more seconds")
    # A product of huge numbers is infinite, which has no integer.
    first = round(min(start * sample_rate, samples))
    left = samples - first
    last = first + (left if duration is None else round(min(duration * sample_rate, left)))
    if first >= last:
        extent = "to the end" if duration is None else f"for {duration:g} s"
        raise AudioError(
            f"from {start:g} s {extent} there is nothing to decode: the file has "
            f"{samples / sample_rate:.3f} s"
        )
    return first, last


def decompress_array(
    codec: LatentCodec,
    data: bytes | bytearray | memoryview,
    start: float = 0.0,
    duration: float | None = None,
    *,
    steps: int | None = None,
    denoiser: Denoiser | str | Path | None = None,
) -> tuple[np.ndarray, int]:
    """Samples (channels, time) and sample rate of a ``.lac`` file; warns of damage.

    Raises:
        FormatError: not such a file, of another model, or damaged beyond use.
        AudioError: ``start`` and ``duration`` (seconds) select nothing.
        LacunaError: as for ``choose_denoising``, which has ``steps`` and ``denoiser``.
    """
    reader = LacReader(data)
    pieces: list[np.ndarray] = []
    report = decompress_stream(
        codec, reader, pieces.append, start, duration, steps=steps, denoiser=denoiser
    )
    for problem in report.problems():
        warnings.warn(problem, stacklevel=3)
    return np.concatenate(pieces, axis=1), reader.header.sample_rate
