"""A folder of audio as a map of its latents, and as what a probe reads from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codec.errors import AudioError
from codec.evaluation.generated.embeddings import Clip, Progress, embed_folder
from codec.evaluation.generated.labels import Labels
from codec.latent_space.plane import MIN_FILES, by_principal_components, by_umap, draw, has_umap
from codec.model.latent_codec import LatentCodec

LATENTS, MEL = "pooled latents", "mel statistics"


@dataclass(frozen=True)
class Folder:
    """The files of a folder as vectors."""

    names: list[str]
    labels: list[str | None]
    """The sub-folders that they lie in."""
    vectors: dict[str, np.ndarray]
    """LATENTS and MEL -> (files, dimensions): mean, deviation and mean change over time."""
    skipped: list[str]
    """Files that are no use, with the reason."""


def read_folder(
    codec: LatentCodec, folder: Path, progress: Progress = lambda name, done, total: None
) -> Folder:
    """Encode all audio below a folder: up to four windows of 3 s of each file.

    Raises:
        AudioError: no such folder, or less than MIN_FILES files that can be used.
    """
    clips, skipped = embed_folder(codec, folder, Labels([folder]), progress=progress)
    if len(clips) < MIN_FILES:
        raise AudioError(
            f"'{folder}' has {len(clips)} usable audio files, expected {MIN_FILES} or more to map"
        )
    vectors = {LATENTS: _vectors(clips, "latents"), MEL: _vectors(clips, "log_mel")}
    return Folder([clip.name for clip in clips], [clip.label for clip in clips], vectors, skipped)


def _vectors(clips: Sequence[Clip], embedding: str) -> np.ndarray:
    """A file is the mean of its windows."""
    return np.stack([clip.embeddings[embedding].mean(dim=0).numpy() for clip in clips])


def draw_folder(folder: Folder, title: str, path: str | Path, *, force: bool) -> float:
    """Write the map as a PNG; returns the share of variance that its first panel shows.

    Raises:
        LacunaError: the file cannot be written there, or exists and ``force`` is off.
    """
    latents = folder.vectors[LATENTS]
    plane, share = by_principal_components(latents)
    planes = {f"principal components, {share:.0%} of the variance": plane}
    if has_umap() and len(latents) > MIN_FILES:
        planes["UMAP: neighbors, no distances"] = by_umap(latents)
    draw(planes, folder.labels, title, path, force=force)
    return share
