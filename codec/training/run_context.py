"""From a trained codec and a folder of audio to its context model: ``lacuna train context``."""

from __future__ import annotations

from collections.abc import Callable
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
from codec.model.shipped import find_checkpoint
from codec.model.useful_range import measure_range
from codec.progress import file_progress
from codec.training.data import find_audio
from codec.training.fit_context import fit_context_model

SECONDS_PER_FILE = 30.0
HELD_OUT = 20
"""Every so-manieth file is left out of the fit, and measured."""


def train_context(
    source: str, data: Path, out: Path, *, updates: int, device: str = "cpu", force: bool = False
) -> None:
    """Fit a context model to the latents of ``data`` and write the checkpoint with it to ``out``.

    The networks stay as they are. ``latent_id`` changes, since files are coded differently.

    Raises:
        LacunaError: a checkpoint or folder that cannot be used, or an output that exists.
    """
    if out.exists() and not force:
        raise LacunaError(f"'{out}' exists; --force overwrites it")
    loaded = checkpoint.load(find_checkpoint(source))
    if isinstance(loaded.tables, TokenTables):
        raise LacunaError(
            f"'{source}' is a model of tokens, which have static tables alone: a context model "
            f"is for continuous latents"
        )
    codec = Codec(loaded).eval().requires_grad_(False).to(device)
    paths = find_audio(data)
    with file_progress("encoding") as progress:
        clips = _latents(codec, paths, progress)
    enough = len(clips) >= HELD_OUT
    tested = clips[::HELD_OUT] if enough else clips
    fitted = [clip for i, clip in enumerate(clips) if i % HELD_OUT] if enough else clips
    finest, coarsest = loaded.useful.finest_step, loaded.useful.coarsest_step
    finer = max(0, finest - STEPS_PER_OCTAVE // 2)
    with file_progress("fitting") as progress:
        context = fit_context_model(
            fitted,
            loaded.tables,
            (finer, coarsest),
            updates,
            torch.device(device),
            lambda done, total: progress("updates", done, total),
        )
    static = measure_range(tested, loaded.tables, codec.frame_rate, finest, coarsest)
    useful = measure_range(tested, context, codec.frame_rate, finest, coarsest)
    provenance = {**loaded.provenance, "context": {"data": str(data), "updates": updates}}
    checkpoint.save(replace(loaded, context=context, useful=useful, provenance=provenance), out)
    Console(stderr=True).print(
        f"{out}: {useful.low_kbps:.2f} to {useful.high_kbps:.2f} kbps per channel, with static "
        f"tables {static.low_kbps:.2f} to {static.high_kbps:.2f}, on {len(tested)} files "
        f"{'held out' if enough else 'that were fitted'}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _latents(
    codec: Codec, paths: list[Path], progress: Callable[[str, int, int], None]
) -> list[np.ndarray]:
    """Standardised latents (streams, latent_dim, frames) of up to 30 s from each file's middle."""
    clips = []
    for done, path in enumerate(paths, 1):
        try:
            with AudioReader(str(path)) as reader:
                info = reader.info
                wanted = round(SECONDS_PER_FILE * info.sample_rate)
                start = max(0, round((info.seconds or 0) * info.sample_rate) - wanted) // 2
                pieces = reader.blocks(CHUNK, start, wanted)
                at_rate = resampled(pieces, info.sample_rate, codec.sample_rate, info.channels)
                blocks = [b.latents for b in encode_blocks(codec, at_rate, skip_silence=False)]
        except LacunaError:
            blocks = []  # what the codec was not trained on either
        if blocks:
            clips.append(np.concatenate(blocks, axis=-1)[:2])
        progress(path.name, done, len(paths))
    if not clips:
        raise LacunaError(f"no usable audio below '{paths[0].parent}'")
    return clips
