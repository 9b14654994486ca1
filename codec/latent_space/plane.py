"""Vectors of many dimensions as points in a plane, and a picture of them."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from codec.files import atomic_path

MIN_FILES = 3
"""Two points lie on a line whatever they are."""

UNLABELLED = "no label"


def by_principal_components(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """The plane in which (n, dimensions) vary most: (n, 2), and its share of the variance.

    Dimensions are brought to unit variance before, so that none counts for its unit.
    """
    deviation = vectors.std(axis=0)
    centred = (vectors - vectors.mean(axis=0)) / np.where(deviation > 1e-9, deviation, 1)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    power = singular**2
    return (left * singular)[:, :2], float(power[:2].sum() / max(power.sum(), 1e-12))


def has_umap() -> bool:
    return importlib.util.find_spec("umap") is not None


def by_umap(vectors: np.ndarray) -> np.ndarray:
    """A plane that keeps neighbors (McInnes et al. 2018, "UMAP"): (n, 2), the same every time.

    Distances between groups, and their sizes, mean nothing.
    """
    from umap import UMAP

    scaled = (vectors - vectors.mean(axis=0)) / np.maximum(vectors.std(axis=0), 1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed makes it use one thread
        neighbors = min(15, len(vectors) - 1)
        plane = UMAP(n_neighbors=neighbors, random_state=0, init="pca").fit_transform(scaled)
    return np.asarray(plane)


def draw(
    planes: dict[str, np.ndarray],
    labels: Sequence[str | None],
    title: str,
    path: str | Path,
    *,
    force: bool,
) -> None:
    """Write a PNG with a panel for each plane, (n, 2), its points colored by label.

    Raises:
        LacunaError: the file cannot be written there, or exists and ``force`` is off.
    """
    figure = Figure(figsize=(6.5 * len(planes), 6), layout="constrained")
    figure.suptitle(title, parse_math=False)
    names = [label if label is not None else UNLABELLED for label in labels]
    distinct = sorted(set(names))
    colors = matplotlib.colormaps["tab10"](np.arange(10))
    for number, (axis, (name, plane)) in enumerate(
        zip(figure.subplots(1, len(planes), squeeze=False)[0], planes.items(), strict=True)
    ):
        for place, label in enumerate(distinct):
            points = plane[np.array([other == label for other in names])]
            marker = "os^Dv"[place // len(colors) % 5]
            color = colors[place % len(colors)]
            axis.scatter(*points.T, s=36, color=color, marker=marker, label=label)
        axis.set_title(name)
        axis.set_xticks([])
        axis.set_yticks([])
        if number == 0 and len(distinct) > 1:
            for text in axis.legend().get_texts():
                text.set_parse_math(False)  # a folder may be called $x$
    with atomic_path(path, force=force) as partial:
        figure.savefig(partial, dpi=120, format="png")
