"""Are generated sounds copies? The distance of latents to the nearest piece of the training data.

A model that was trained for long on little gives back what it was trained on. Its latents then
lie much nearer to the training data than those of recordings that it never saw.

The distance of two pieces q and w is |q - w| / sqrt(|q|^2 + |w|^2): 0 for equal ones, about 1
for unrelated ones with mean zero, and the same whatever the units.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from codec.errors import AudioError
from codec.evaluation.generated.embeddings import Clip

QUERIES_AT_ONCE = 256
"""With a track of 20 minutes their distances take 50 MB."""
SHOWN = 5


@dataclass(frozen=True)
class Nearest:
    """For each query, (queries,): distance, number of the track, and first frame in it."""

    distance: Tensor
    track: Tensor
    frame: Tensor


@torch.inference_mode()
def nearest(queries: Tensor, tracks: Iterable[Tensor]) -> Nearest:
    """The nearest piece of the tracks to each query, at any offset.

    As |q - w|^2 = |q|^2 + |w|^2 - 2 q.w, all offsets of a track are one convolution.

    Args:
        queries: (queries, latent_dim, frames).
        tracks: (latent_dim, any number of frames) each; those shorter than a query are passed
            over. Without any, distances are infinite and tracks -1.
    """
    count, _, frames = queries.shape
    device = queries.device
    queries = queries.float()
    energy = queries.square().sum(dim=(1, 2))
    squared = torch.full((count,), torch.inf, device=device)
    track = torch.full((count,), -1, dtype=torch.int64, device=device)
    frame = torch.full((count,), -1, dtype=torch.int64, device=device)
    for number, whole in enumerate(tracks):
        if whole.shape[1] < frames:
            continue
        values = whole.to(device, torch.float32)
        powers = values.square().sum(dim=0).unfold(0, frames, 1).sum(dim=1)
        for part in torch.arange(count, device=device).split(QUERIES_AT_ONCE):
            energies = energy[part, None] + powers
            products = F.conv1d(values[None], queries[part])[0]
            # Silence beside silence: equal, and no division by zero.
            ratio = (energies - 2 * products).clamp(min=0) / energies.clamp(min=1e-12)
            least, where = ratio.min(dim=1)
            nearer = part[least < squared[part]]
            chosen = least < squared[part]
            squared[nearer] = least[chosen]
            frame[nearer] = where[chosen]
            track[nearer] = number
    return Nearest(squared.sqrt(), track, frame)


@dataclass(frozen=True)
class Match:
    """A piece of a generated file and the piece of a training file that is nearest to it."""

    file: str
    seconds: float
    distance: float
    train_file: str
    train_seconds: float


@dataclass(frozen=True)
class Memorisation:
    """Distances to the training data: of generated pieces and of a reference's."""

    generated_pieces: int
    reference_pieces: int
    generated_median: float
    reference_median: float
    generated_least: float
    reference_least: float
    share_near: float
    """Share of generated pieces that are nearer than 95 % of the reference's; 0.05 is no news."""
    nearest: tuple[Match, ...]
    """The SHOWN generated files that come nearest, the nearest piece of each."""

    @property
    def suspicious(self) -> bool:
        """Nearer than real recordings are by chance, often or by far."""
        return self.share_near > 0.25 or self.generated_least < 0.5 * self.reference_least


def memorisation(
    generated: Sequence[Clip], reference: Sequence[Clip], train: Sequence[Clip], frame_rate: float
) -> Memorisation:
    """Compare what was generated with real sounds that were not trained on.

    Args:
        train: clips with tracks.
        frame_rate: of the latents, in Hz.

    Raises:
        AudioError: all of a set is silent, or too short to be looked for.
    """
    tracks = [(clip.name, track) for clip in train for track in clip.tracks]
    distances = []
    for clips, what in ((generated, "generated"), (reference, "reference")):
        queries = torch.cat([clip.queries for clip in clips])
        neighbors = nearest(queries, (track for _, track in tracks))
        if not len(queries) or bool(neighbors.distance.isinf().any()):
            raise AudioError(
                f"no copies can be looked for: the {what} or the training files are silent or "
                f"shorter than 1.5 s; leave --train out, or give longer files"
            )
        distances.append(neighbors)
    of_generated, of_reference = distances
    pieces = [(clip.name, start) for clip in generated for start in clip.starts]
    matches: dict[str, Match] = {}
    for number in of_generated.distance.argsort().tolist():
        name, seconds = pieces[number]
        if name not in matches and len(matches) < SHOWN:
            matches[name] = Match(
                file=name,
                seconds=seconds,
                distance=float(of_generated.distance[number]),
                train_file=tracks[int(of_generated.track[number])][0],
                train_seconds=float(of_generated.frame[number]) / frame_rate,
            )
    threshold = np.percentile(of_reference.distance.numpy(), 5)
    return Memorisation(
        generated_pieces=len(of_generated.distance),
        reference_pieces=len(of_reference.distance),
        generated_median=float(of_generated.distance.median()),
        reference_median=float(of_reference.distance.median()),
        generated_least=float(of_generated.distance.min()),
        reference_least=float(of_reference.distance.min()),
        share_near=float((of_generated.distance < threshold).float().mean()),
        nearest=tuple(matches.values()),
    )
