"""From a converted model and a folder of audio to one that makes files: ``lacuna calibrate``.

What a training run measures at its end is measured here on its own: the statistics that make
latents standard, the entropy coder's tables, the steps that are of use, and the context model.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codec.batch.folders import find_audio
from codec.errors import LacunaError
from codec.files import atomic_path
from codec.model import checkpoint
from codec.model.checkpoint import Checkpoint
from codec.model.shipped import find_checkpoint
from codec.network.config import ModelConfig
from codec.progress import file_progress
from codec.training.config import DataConfig, NoiseConfig
from codec.training.data import AudioFile, AudioSource
from codec.training.decoded import SHORTEST, SILENT_PEAK, as_int16
from codec.training.export import fit_checkpoint
from codec.training.run_context import add_context, middle, say_in_full

LISTENED_FILES = 256
"""Statistics are measured on crops of so many files at most, spread over the folder: 1.4 GB."""

CROPS = DataConfig(crop_seconds=1.5)

NOISE = NoiseConfig()
"""With steps of up to 12 sigmas. A decoder that was trained on samples of the posterior, as Stable
Audio's was, has heard as much noise as a step of 3.5 sigmas makes (its deviation is one), and bears
somewhat more; the rate decides."""


@torch.inference_mode()
def calibrate(
    source: str, data: Path, out: Path, *, updates: int, device: str = "cpu", force: bool = False
) -> None:
    """Fit statistics, tables and a context model to ``data``; write the checkpoint to ``out``.

    The networks stay as they are. With ``updates`` 0 there is no context model.

    Raises:
        LacunaError: a checkpoint or folder that cannot be used, or an output that exists.
    """
    loaded = checkpoint.load(find_checkpoint(source))
    if loaded.config.tokens is not None:
        raise LacunaError(
            f"'{source}' is a model of tokens, whose tables are a part of its training; expected "
            f"one with continuous latents"
        )
    paths = find_audio(data)
    with atomic_path(out, force=force) as partial:  # refuses before the work
        fitted, rates = _fitted(loaded, paths, updates, device)
        calibrated = {"data": str(data), "files": len(paths), "updates": updates}
        provenance = {**loaded.provenance, "calibrated": calibrated}
        checkpoint.save(replace(fitted, provenance=provenance), partial)
    say_in_full(f"{out}: latent_id {fitted.latent_id}, coding_id {fitted.coding_id}, {rates}")


def _fitted(
    loaded: Checkpoint, paths: list[Path], updates: int, device: str
) -> tuple[Checkpoint, str]:
    """The checkpoint with all that files need, and its bit rates in words."""
    audio, where = _middles(paths, loaded.config), torch.device(device)
    network = loaded.autoencoder.to(where)
    with file_progress("measuring") as progress:
        measured = fit_checkpoint(
            network,
            audio,
            where,
            NOISE,
            loaded.provenance,
            lambda done, total: progress("crops", done, total),
        )
    fitted = replace(measured, weights_dtype=loaded.weights_dtype)
    if updates:
        return add_context(fitted, paths, updates, device)
    _, useful = fitted.fitted()
    return fitted, f"{useful.low_kbps:.2f} to {useful.high_kbps:.2f} kbps per coded channel"


def _middles(paths: list[Path], model: ModelConfig) -> AudioSource:
    """The middles of files, in memory.

    Raises:
        LacunaError: none of them can be used.
    """
    chosen = paths[:: -(-len(paths) // LISTENED_FILES)]
    files: list[AudioFile] = []
    samples: list[Tensor] = []
    with file_progress("reading") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a truncated file is used as far as it goes
        for done, path in enumerate(chosen, 1):
            try:
                sound = np.concatenate(list(middle(path, model.sample_rate)), axis=1)[:2]
            except (LacunaError, ValueError):  # unreadable, or without samples
                sound = np.zeros((1, 0), np.float32)
            if sound.shape[1] >= SHORTEST * model.sample_rate and np.abs(sound).max() > SILENT_PEAK:
                files.append(AudioFile(path, sound.shape[1], len(sound), {}))
                samples.append(torch.from_numpy(as_int16(sound)))
            progress(path.name, done, len(chosen))
    if not files:
        raise LacunaError(f"no usable audio among the {len(chosen)} files, such as '{chosen[0]}'")
    if len(files) < len(chosen):
        warnings.warn(
            f"{len(chosen) - len(files)} of {len(chosen)} files cannot be read, are silent or "
            f"shorter than {SHORTEST} s, and are left out",
            stacklevel=2,
        )
    return AudioSource(files, samples, model, CROPS, seed=0)
