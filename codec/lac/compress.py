"""Audio to ``.lac``, as a stream: memory does not grow with length.

A file is coded in three passes, one after the other: the latents of all blocks go to a temporary
file (draft.py), the step for the wanted bit rate is found on them (choose_step.py), and the symbols
are written; for a decoder that denoises, with a word on each block (for_denoising.py). Where
latents are all that a file has, better ones are searched for once the step is known (search.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from codec.audio.pieces import Counted, Progress, no_progress, pieces_of
from codec.audio.resampling import resampled
from codec.audio.waveform import MAX_CHANNELS, as_array, check_finite, checked_rate
from codec.errors import AudioError, LacunaError, RateError
from codec.lac.choose_step import (
    LAYER_ABOVE_KBPS,
    LAYER_ABOVE_QUALITY,
    LayerPlan,
    choose_layer,
    choose_step,
)
from codec.lac.denoising import Denoiser, choose_denoising
from codec.lac.draft import Draft, LatentSpool
from codec.lac.for_denoising import choose_blocks
from codec.lac.header import MAX_LAYER_CHANNELS, LacHeader, portable_name
from codec.lac.layered_draft import CoefficientSpool, LayeredDraft
from codec.lac.rate import RateTarget
from codec.lac.search import DEFAULT_SEARCH, searched_blocks
from codec.lac.spool import ArraySpool
from codec.lac.writer import ByteSink
from codec.model.blocks import FRAMES_PER_BLOCK, LatentBlock, encode_blocks
from codec.model.latent_codec import LatentCodec
from codec.model.layered_blocks import Coefficients, encode_layered_blocks

DEFAULT_TARGET = RateTarget()

ENCODED_SHARE, LAYERED_SHARE = 0.1, 0.5
"""What goes before a search, of the time to compress a file; and before the rest, where most likely
there is a waveform layer in its place."""

MAX_TAG_CHARACTERS = 100
"""Longer tags are shortened: a comment must not outweigh the sound."""


@dataclass(frozen=True)
class CompressionReport:
    """What compressing gave."""

    seconds: float
    samples: int
    bytes: int
    step_index: int
    at_finest: bool
    """The finest useful step was taken: more bytes would not have helped."""

    @property
    def kbps(self) -> float:
        return self.bytes * 8 / self.seconds / 1000


def compress_stream(
    codec: LatentCodec,
    chunks: Iterable[np.ndarray],
    sample_rate: int,
    channels: int,
    output: ByteSink,
    target: RateTarget = DEFAULT_TARGET,
    tags: dict[str, str] | None = None,
    progress: Progress = no_progress,
    *,
    for_denoising: int | None = None,
    denoiser: Denoiser | str | Path | None = None,
) -> CompressionReport:
    """Compress float32 chunks (channels, any length) into a binary file.

    ``for_denoising`` is the number of steps in which it will be denoised, ``denoiser`` what will do
    that (``choose_denoising``): where a block comes out worse, the file says not to.

    Raises:
        AudioError: no samples, a sample rate outside 1,000..768,000 Hz, or more channels than the
            format or the model can code.
        CheckpointError: the model was not calibrated.
        RateError: the model cannot reach so low a rate, or files of this one are not denoised.
        LacunaError: there is no such denoiser, or nobody says in how many steps.
    """
    coder, coded = codec.coder, codec.coded_channels(channels)
    sample_rate = checked_rate(sample_rate)
    if channels > MAX_CHANNELS:
        raise AudioError(
            f"{channels} channels, expected at most {MAX_CHANNELS}; split them into several files"
        )
    layer, best_quality = None, 10.0
    if codec.layered and coded <= MAX_LAYER_CHANNELS:
        best_quality = LAYER_ABOVE_QUALITY
        layer = LayerPlan.of(codec.useful, target, channels)
    if denoiser is not None and for_denoising is None:
        raise LacunaError("a denoiser, and no steps for it; give for_denoising as well, such as 1")
    denoising = choose_denoising(codec, for_denoising or 0, denoiser)
    if denoising is not None and layer is not None:
        if not layer.only_sparse:
            raise RateError(
                f"files of more than {LAYER_ABOVE_KBPS:g} kbps per channel, or of a quality above "
                f"{LAYER_ABOVE_QUALITY:g}, say the waveform itself, and are not denoised: give a "
                f"lower rate or quality, or leave --for-denoising out"
            )
        layer = None
    searching = _searches(codec, target, layer)
    alone = layer is None or layer.only_sparse
    encoded_share = (ENCODED_SHARE if alone else LAYERED_SHARE) if searching else 1.0
    taken, sound = Counted(chunks), ArraySpool()
    spool, coefficients, found = LatentSpool(), CoefficientSpool(), LatentSpool()
    try:
        at_model_rate = resampled(taken, sample_rate, codec.sample_rate, channels)
        tokens = codec.config.tokens is not None
        if searching:
            at_model_rate = sound.through(at_model_rate)
        for block, own in _encoded(codec, at_model_rate, layer):
            spool.append(block)
            if own is not None:
                coefficients.append(own)
            else:
                layer = None
            coded_seconds = len(spool) * FRAMES_PER_BLOCK / codec.frame_rate
            progress(min(taken.samples / sample_rate, coded_seconds) * encoded_share)
        if taken.samples == 0:
            raise AudioError("the audio has no samples; there is nothing to compress")
        header = LacHeader(
            sample_rate=sample_rate,
            channels=channels,
            coded_channels=coded,
            latent_dim=coder.latent_dim,
            frames_per_block=FRAMES_PER_BLOCK,
            model_sample_rate=codec.sample_rate,
            hop_length=codec.hop_length,
            coding_id=bytes.fromhex(codec.coding_id),
            model=portable_name(codec.config.name),
            tags={key: text[:MAX_TAG_CHARACTERS] for key, text in (tags or {}).items()},
            context_coded=codec.context is not None,
            tokens=tokens,
        )
        size, choice = 0, None
        if layer is not None:
            spools, with_layer = (spool, coefficients), replace(header, layered=True)
            draft_args = coder, with_layer, spools, taken.samples, layer.base_step
            with closing(LayeredDraft(*draft_args)) as layers:
                choice = choose_layer(layers, target)
                if choice is not None:
                    size = layers.write(output, choice.step_index)
        if choice is None:
            draft = Draft(coder, header, spool, taken.samples)
            choice = choose_step(draft, codec.useful, target, best_quality)
            if searching:
                steps = [max(choice.step_index, least) for least in draft.least_steps]
                for block in searched_blocks(codec, sound, spool, steps, searching):
                    found.append(block)
                    done = encoded_share + (1 - encoded_share) * len(found) / len(spool)
                    progress(taken.samples / sample_rate * done)
                better = Draft(coder, header, found, taken.samples)
                better.denoise = [False] * len(found)  # that expects what an encoder alone gives
                with suppress(RateError):  # at the coarsest step they may take a little more
                    choice = choose_step(better, codec.useful, target, best_quality)
                    draft = better
            if denoising is not None:
                choose_blocks(codec, draft, spool, choice.step_index, denoising)
            size = draft.write(output, choice.step_index)
    finally:
        for file in (sound, spool, coefficients, found):
            file.close()
    seconds = taken.samples / sample_rate
    progress(seconds)
    return CompressionReport(seconds, taken.samples, size, choice.step_index, choice.at_finest)


def _searches(codec: LatentCodec, target: RateTarget, layer: LayerPlan | None) -> int:
    """The steps of a search for latents, of a file that may turn out to have nothing else."""
    if not codec.layered or (layer is not None and target.quality is not None):
        return 0
    return DEFAULT_SEARCH if target.search is None else target.search


def _encoded(
    codec: LatentCodec, chunks: Iterable[np.ndarray], layer: LayerPlan | None
) -> Iterator[tuple[LatentBlock, Coefficients | None]]:
    """Blocks, and their coefficients as far as a layer is planned."""
    if layer is None:
        tokens = codec.config.tokens is not None
        for block in encode_blocks(codec, chunks, tokens=tokens):
            yield block, None
        return
    coder, step = codec.coder, layer.base_step

    def requantised(block: LatentBlock) -> np.ndarray:
        latents = np.zeros_like(block.latents)
        symbols = coder.quantise(block.latents[~block.silent], step)
        latents[~block.silent] = coder.dequantise(symbols, step)
        return latents

    yield from encode_layered_blocks(codec, chunks, requantised, layer.only_sparse)


def compress_array(
    codec: LatentCodec,
    waveform: np.ndarray | Tensor,
    sample_rate: int,
    output: ByteSink,
    target: RateTarget = DEFAULT_TARGET,
    *,
    for_denoising: int | None = None,
    denoiser: Denoiser | str | Path | None = None,
) -> CompressionReport:
    """Compress (channels, time), or (time,), held in memory.

    Raises:
        AudioError: a wrong shape, no samples, integers, or values that are not finite; and as for
            ``compress_stream``.
        RateError: the model cannot reach so low a rate.
    """
    array, sample_rate = as_array(waveform), checked_rate(sample_rate)
    check_finite(array, 0, sample_rate, "the waveform")
    return compress_stream(
        codec,
        pieces_of(array),
        sample_rate,
        len(array),
        output,
        target,
        for_denoising=for_denoising,
        denoiser=denoiser,
    )
