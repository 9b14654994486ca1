"""What a linear probe reads from pooled vectors: cross-validated, beside chance and a control.

A regression that knows half of a folder's labels from pooled latents says little by itself: mel
statistics may know as many. So both are asked, with the same folds (Alain and Bengio 2017,
"Understanding intermediate layers using linear classifier probes"; a control as in Hewitt and
Liang 2019, "Designing and interpreting probes with control tasks").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codec.errors import LacunaError

FOLDS, REPEATS = 5, 4
MIN_FILES = 2
"""Fewest files of a label: of a single one none is left to be held out."""
PENALTY = 1.0
"""Weight of half the squared weights, beside the summed loss; inputs have unit variance."""


@dataclass(frozen=True)
class Probe:
    """Accuracies on files that a probe was not fitted to."""

    files: int
    labels: int
    chance: float
    """The accuracy of always saying the commonest label."""
    accuracy: dict[str, float]
    """Name of the vectors -> share of files recognised, a mean over REPEATS divisions."""

    @property
    def standard_error(self) -> float:
        """That of an accuracy of one half on so many files: smaller differences mean nothing."""
        return 0.5 / self.files**0.5


def usable(labels: Sequence[str | None]) -> np.ndarray:
    """Which files have a label that enough of them have, (files,) bool.

    Raises:
        LacunaError: less than two labels are left.
    """
    counts = Counter(label for label in labels if label is not None)
    enough = {label for label, count in counts.items() if count >= MIN_FILES}
    if len(enough) < 2:
        raise LacunaError(
            f"{len(enough)} labels with {MIN_FILES} files or more, expected at least 2 for a "
            f"probe; put the files of each label into a sub-folder of its name"
        )
    return np.array([label in enough for label in labels])


def probe(vectors: dict[str, np.ndarray], labels: Sequence[str | None]) -> Probe:
    """Probes of each set of vectors (files, dimensions), with the same folds for all.

    Raises:
        LacunaError: less than two labels have enough files.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    keep = usable(labels)
    y = np.array([label or "" for label in labels])[keep]
    counts = Counter(y.tolist())
    folds = RepeatedStratifiedKFold(
        n_splits=min(FOLDS, *counts.values()), n_repeats=REPEATS, random_state=0
    )
    accuracy = {}
    for name, x in vectors.items():
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / PENALTY, max_iter=1000))
        # A mean over files, not over folds, which may differ in size.
        shares = cross_val_score(model, x[keep], y, cv=folds)
        sizes = [len(test) for _, test in folds.split(x[keep], y)]
        accuracy[name] = float(np.average(shares, weights=sizes))
    return Probe(len(y), len(counts), max(counts.values()) / len(y), accuracy)
