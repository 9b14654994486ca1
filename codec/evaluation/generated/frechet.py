"""How far apart two sets of embeddings are: Frechet distance and kernel distance.

The Frechet distance sees means and covariances only, and is too large for few windows, the more
so the fewer there are; compare it with that of two sets of real audio of the same size. The
kernel distance sees more than two moments and is unbiased: around 0, and often below, for two
sets of one kind.

Embeddings are first divided by the reference's standard deviation, dimension by dimension:
latents, levels in dB and their movements have different units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.covariance import oas
from torch import Tensor

from codec.errors import AudioError
from codec.evaluation.estimate import Estimate
from codec.evaluation.generated.embeddings import STATISTICS, Clip

MIN_FILES = 4
"""With fewer, no two halves are alike."""
BOOTSTRAPS = 60
KERNEL_ROWS = 1024
"""Rows of the kernel matrix that are computed at once."""
LEAST_SCALE = 0.3
"""Share of the median scale below which none falls: what hardly varies in the reference must not
decide alone."""


@dataclass(frozen=True)
class Distances:
    """The distances between two sets of clips in one embedding."""

    frechet: Estimate
    kernel: Estimate


@dataclass(frozen=True)
class Scale:
    """Makes the dimensions of an embedding comparable: (dimensions,) each."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, windows: Tensor) -> Scale:
        """That of a set of (windows, dimensions) of one embedding."""
        std = windows.double().std(dim=0).view(STATISTICS, -1)
        least = LEAST_SCALE * std.median(dim=1, keepdim=True).values
        std = torch.maximum(std, least).clamp(min=1e-9)
        return cls(windows.double().mean(dim=0), std.flatten())

    def __call__(self, windows: Tensor) -> Tensor:
        return (windows.double() - self.mean) / self.std


@dataclass(frozen=True)
class WindowSet:
    """Embeddings and the file that each comes from: (windows, dimensions) and (windows,)."""

    values: Tensor
    file: Tensor

    @classmethod
    def of(cls, clips: Sequence[Clip], embedding: str, scale: Scale) -> WindowSet:
        parts = [clip.embeddings[embedding] for clip in clips]
        numbers = torch.arange(len(parts))
        counts = torch.tensor([len(part) for part in parts])
        return cls(scale(torch.cat(parts)), numbers.repeat_interleave(counts))

    @property
    def files(self) -> int:
        return int(self.file[-1]) + 1

    def of_files(self, chosen: np.ndarray) -> Tensor:
        """The windows of some files, of one that is chosen twice twice."""
        return torch.cat([self.values[self.file == number] for number in chosen.tolist()])


def check_files(sample: Sequence[Clip], reference: Sequence[Clip]) -> None:
    """Raises AudioError if one of the sets has fewer than MIN_FILES files."""
    for clips, what in ((sample, "set to be judged"), (reference, "reference")):
        if len(clips) < MIN_FILES:
            raise AudioError(
                f"the {what} has {len(clips)} usable audio files, expected {MIN_FILES} or more "
                f"(dozens, for intervals that tell something); add files"
            )


def compare_sets(sample: Sequence[Clip], reference: Sequence[Clip]) -> dict[str, Distances]:
    """The distances of two sets of clips, for each embedding.

    Intervals are of the normal kind, 1.96 standard errors either way, from resampled files (Efron
    1979). Percentiles would be wrong: a resample has fewer different files than the set, which
    raises a Frechet distance, so that the interval need not hold the value.

    Raises:
        AudioError: fewer than MIN_FILES files in one of them.
    """
    check_files(sample, reference)
    return {
        embedding: _compare(sample, reference, embedding) for embedding in reference[0].embeddings
    }


def _compare(sample: Sequence[Clip], reference: Sequence[Clip], embedding: str) -> Distances:
    scale = Scale.of(torch.cat([clip.embeddings[embedding] for clip in reference]))
    x, y = (WindowSet.of(clips, embedding, scale) for clips in (sample, reference))
    kernels = KernelSums.of(x, y)

    def measured(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
        return (
            frechet_of_samples(x.of_files(first), y.of_files(second)),
            kernels.distance(_counts(first, x.files), _counts(second, y.files)),
        )

    rng = np.random.default_rng(0)
    frechet, kernel = measured(np.arange(x.files), np.arange(y.files))
    resampled = [
        measured(_resample(rng, x.files), _resample(rng, y.files)) for _ in range(BOOTSTRAPS)
    ]
    frechet_reach, kernel_reach = (1.96 * np.std(resampled, axis=0, ddof=1)).tolist()
    return Distances(
        Estimate(frechet, max(0.0, frechet - frechet_reach), frechet + frechet_reach),
        Estimate(kernel, kernel - kernel_reach, kernel + kernel_reach),
    )


def _counts(chosen: np.ndarray, files: int) -> Tensor:
    return torch.from_numpy(np.bincount(chosen, minlength=files)).double()


def _resample(rng: np.random.Generator, files: int) -> np.ndarray:
    """As many files, of which at least two are different: pairs of them are needed."""
    while True:
        chosen = rng.integers(files, size=files)
        if (chosen != chosen[0]).any():
            return chosen


def frechet_distance(mean_x: Tensor, cov_x: Tensor, mean_y: Tensor, cov_y: Tensor) -> float:
    """|m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)) (Heusel et al. 2017, eq. 6).

    The trace of the root is that of the symmetric (C_x^(1/2) C_y C_x^(1/2))^(1/2), whose
    eigenvalues are real and not negative whatever the rank.

    Shape: (dimensions,) and (dimensions, dimensions), twice
    """
    values, vectors = torch.linalg.eigh(cov_x)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_y @ root).clamp(min=0).sqrt().sum()
    distance = (mean_x - mean_y).square().sum() + cov_x.trace() + cov_y.trace() - 2 * cross
    return max(0.0, float(distance))


def shrunk_covariance(x: Tensor) -> Tensor:
    """The covariance of (windows, dimensions), drawn towards a multiple of the identity.

    With fewer windows than dimensions the sample covariance says that most directions do not
    vary at all, and two sets of one kind seem to lie in different subspaces. The weight of the
    identity is that of the oracle approximating estimator (Chen et al. 2010), about 1 / windows
    when there are many. Unlike a reduction to the reference's principal components this drops no
    direction: what only generated sound does lies outside of them.
    """
    return torch.from_numpy(oas(x.numpy())[0])


def frechet_of_samples(x: Tensor, y: Tensor) -> float:
    """The Frechet distance of two sets of (windows, dimensions), covariances shrunk."""
    x, y = x.double(), y.double()
    return frechet_distance(
        x.mean(dim=0), shrunk_covariance(x), y.mean(dim=0), shrunk_covariance(y)
    )


@dataclass(frozen=True)
class KernelSums:
    """Sums of the kernel over the windows of two files, for all pairs of files.

    The squared maximum mean discrepancy with the kernel (x.y / dimensions + 1)^3, unbiased (KID:
    Binkowski et al. 2018, section 4.1), but for one difference. Windows of one file are not
    independent draws, so pairs of them count as little as a window with itself: all pairs of
    windows within a set are of different files. All of them are used, not those of random
    blocks, which varies less; only sums over pairs of files are kept.
    """

    xx: Tensor
    yy: Tensor
    xy: Tensor
    x_windows: Tensor
    """(files,): the number of windows of each."""
    y_windows: Tensor

    @classmethod
    def of(cls, x: WindowSet, y: WindowSet) -> KernelSums:
        return cls(
            *(_kernel_sums(a, b) for a, b in ((x, x), (y, y), (x, y))),
            *(torch.bincount(s.file).double() for s in (x, y)),
        )

    def distance(self, x_weights: Tensor, y_weights: Tensor) -> float:
        """With each file as often as its weight; (files,) each, two or more above 0."""
        within = [
            _mean_of_pairs(sums, weights, windows)
            for sums, weights, windows in (
                (self.xx, x_weights, self.x_windows),
                (self.yy, y_weights, self.y_windows),
            )
        ]
        pairs = (x_weights @ self.x_windows) * (y_weights @ self.y_windows)
        return float(sum(within) - 2 * (x_weights @ self.xy @ y_weights) / pairs)


def _kernel_sums(x: WindowSet, y: WindowSet) -> Tensor:
    """(files of x, files of y)"""
    sums = torch.zeros(x.files, y.files, dtype=torch.float64)
    for rows, files in zip(x.values.split(KERNEL_ROWS), x.file.split(KERNEL_ROWS), strict=True):
        kernel = (rows @ y.values.T / y.values.shape[1] + 1) ** 3
        by_file = torch.zeros(len(rows), y.files, dtype=torch.float64)
        by_file.index_add_(1, y.file, kernel)
        sums.index_add_(0, files, by_file)
    return sums


def _mean_of_pairs(sums: Tensor, weights: Tensor, windows: Tensor) -> Tensor:
    """The mean of the kernel over all pairs of windows of different files of one set."""
    total = weights @ sums @ weights - weights.square() @ sums.diagonal()
    counts = weights * windows
    return total / (counts.sum() ** 2 - counts.square().sum())
