"""From a trained codec and a folder of audio to its context model: ``lacuna train context``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from codec.api import Codec
from codec.audio import AudioReader
from codec.audio.pieces import CHUNK
from codec.audio.resampling import resampled
from codec.entropy.quantise import STEPS_PER_OCTAVE
from codec.entropy.token_tables import TokenTables
from codec.errors import LacunaError
from codec.model import checkpoint
from codec.model.blocks import encode_blocks
from codec.model.checkpoint import Checkpoint
from codec.model.shipped import find_checkpoint
from codec.model.useful_range import measure_range
from codec.progress import file_progress
from codec.training.data import find_audio
from codec.training.fit_context import fit_context_model

SECONDS_PER_FILE = 30.0
HELD_OUT = 20
"""One file in so many is held out of the fit, and measured."""


def train_context(
    source: str, data: Path, out: Path, *, updates: int, device: str = "cpu", force: bool = False
) -> None:
    """Fit a context model to the latents of ``data`` and write the checkpoint with it to ``out``.

    The networks stay as they are. ``coding_id`` changes, since files are coded differently;
    ``latent_id`` does not, and stored latents and diffusion weights stay valid.

    Raises:
        LacunaError: a checkpoint or folder that cannot be used, or an output that exists.
    """
    if out.exists() and not force:
        raise LacunaError(f"'{out}' exists; --force overwrites it")
    loaded = checkpoint.load(find_checkpoint(source))
    with_context, rates = add_context(loaded, find_audio(data), updates, device)
    provenance = {**loaded.provenance, "context": {"data": str(data), "updates": updates}}
    checkpoint.save(replace(with_context, provenance=provenance), out)
    say_in_full(f"{out}: {rates}")


def add_context(
    loaded: Checkpoint, paths: list[Path], updates: int, device: str
) -> tuple[Checkpoint, str]:
    """The checkpoint with a context model fitted to files, and its bit rates in words.

    Raises:
        LacunaError: no usable audio, or the model was not calibrated.
    """
    tables, useful = loaded.fitted()
    if isinstance(tables, TokenTables):
        raise LacunaError(
            f"'{loaded.config.name}' is a model of tokens, which have static tables alone: a "
            f"context model is for continuous latents"
        )
    codec = Codec(loaded).eval().requires_grad_(False).to(device)
    with file_progress("encoding") as progress:
        clips = _latents(codec, paths, progress)
    enough = len(clips) >= HELD_OUT
    tested = clips[::HELD_OUT] if enough else clips
    fitted = [clip for i, clip in enumerate(clips) if i % HELD_OUT] if enough else clips
    finest, coarsest = useful.finest_step, useful.coarsest_step
    finer = max(0, finest - STEPS_PER_OCTAVE // 2)
    with file_progress("fitting") as progress:
        context = fit_context_model(
            fitted,
            tables,
            (finer, coarsest),
            updates,
            torch.device(device),
            lambda done, total: progress("updates", done, total),
        )
    static = measure_range(tested, tables, codec.frame_rate, finest, coarsest)
    useful = measure_range(tested, context, codec.frame_rate, finest, coarsest)
    rates = (
        f"{useful.low_kbps:.2f} to {useful.high_kbps:.2f} kbps per coded channel, with static "
        f"tables {static.low_kbps:.2f} to {static.high_kbps:.2f}, on {len(tested)} files "
        f"{'held out' if enough else 'that were fitted'}"
    )
    return replace(loaded, context=context, useful=useful), rates


def say_in_full(message: str) -> None:
    """One line on standard error, however long."""
    Console(stderr=True).print(message, highlight=False, markup=False, soft_wrap=True)


def middle(path: Path, sample_rate: int) -> Iterator[np.ndarray]:
    """Up to 30 s from the middle of a file, at ``sample_rate``: (channels, any length) pieces.

    Raises:
        LacunaError: it cannot be read.
    """
    with AudioReader(str(path)) as reader:
        info = reader.info
        wanted = round(SECONDS_PER_FILE * info.sample_rate)
        start = max(0, round((info.seconds or 0) * info.sample_rate) - wanted) // 2
        pieces = reader.blocks(CHUNK, start, wanted)
        yield from resampled(pieces, info.sample_rate, sample_rate, info.channels)


def _latents(
    codec: Codec, paths: list[Path], progress: Callable[[str, int, int], None]
) -> list[np.ndarray]:
    """Standardised latents (streams, latent_dim, frames) of each file's middle."""
    clips = []
    for done, path in enumerate(paths, 1):
        try:
            pieces = middle(path, codec.sample_rate)
            blocks = [b.latents for b in encode_blocks(codec, pieces, skip_silence=False)]
        except LacunaError:
            blocks = []  # what the codec was not trained on either
        if blocks:
            clips.append(np.concatenate(blocks, axis=-1)[:2])
        progress(path.name, done, len(paths))
    if not clips:
        raise LacunaError(f"no usable audio below '{paths[0].parent}'")
    return clips
