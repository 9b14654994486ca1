"""Does a sound pass for what it is labelled as? A small classifier of embeddings.

Multinomial logistic regression on the windows of both embeddings, with a quadratic penalty and
every label weighing the same. A clip's label is decided by the mean of its windows' log
probabilities. Judged on real clips that it was not fitted to first: what it cannot tell of real
sound it cannot tell of generated sound either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from codec.errors import LacunaError
from codec.evaluation.generated.embeddings import Clip
from codec.evaluation.generated.frechet import Scale

PENALTY = 0.03
"""Weight of half the squared weights, beside a window's mean loss. Between .01 and .1 unseen real
files are recognised best."""
ITERATIONS = 1000
FOLDS = 5
MIN_CLIPS = 2
"""Fewest clips of a label: of a single one none is left to be held out."""


@dataclass(frozen=True)
class Recognition:
    """Shares of clips recognised as their label, as means over labels of the shares of each."""

    clips: int
    labels: int
    """That the clips have."""
    top1: float
    top3: float


@dataclass(frozen=True)
class LabelClassifier:
    """A fitted regression and the scales of the embeddings that it takes."""

    scales: dict[str, Scale]
    """The scale of each embedding."""
    regression: LogisticRegression

    @property
    def labels(self) -> list[str]:
        """In the order of ``log_probabilities``."""
        return self.regression.classes_.tolist()

    def log_probabilities(self, clip: Clip) -> np.ndarray:
        """(labels,): means over the clip's windows."""
        return self.regression.predict_log_proba(_features(clip, self.scales)).mean(axis=0)

    def recognised(self, clip: Clip) -> tuple[bool, bool]:
        """Whether the clip's own label is the likeliest, and among the three likeliest."""
        order = (-self.log_probabilities(clip)).argsort(kind="stable")
        best = [self.labels[place] for place in order[:3]]
        return best[0] == clip.label, clip.label in best


def fit(clips: Sequence[Clip]) -> LabelClassifier:
    """A classifier of the labels of some real clips; clips without one are left out."""
    clips = [clip for clip in clips if clip.label is not None]
    scales = {
        name: Scale.of(torch.cat([clip.embeddings[name] for clip in clips]))
        for name in clips[0].embeddings
    }
    features = [_features(clip, scales) for clip in clips]
    x = np.concatenate(features)
    labels = np.repeat([clip.label or "" for clip in clips], [len(f) for f in features])
    regression = LogisticRegression(
        C=1 / (PENALTY * len(x)), class_weight="balanced", max_iter=ITERATIONS
    )
    return LabelClassifier(scales, regression.fit(x, labels))


def usable(clips: Sequence[Clip]) -> list[Clip]:
    """Those whose labels have enough clips to learn from and to hold out.

    Raises:
        LacunaError: less than two labels are left.
    """
    labels = check_labels([clip.label for clip in clips])
    return [clip for clip in clips if clip.label in labels]


def check_labels(of_clips: Sequence[str | None]) -> set[str]:
    """The labels that enough of the training clips have.

    Raises:
        LacunaError: less than two labels are left.
    """
    counts = Counter(label for label in of_clips if label is not None)
    enough = {label for label, count in counts.items() if count >= MIN_CLIPS}
    if len(enough) < 2:
        counted = ", ".join(f"{label} ({count})" for label, count in sorted(counts.items()))
        raise LacunaError(
            f"the {len(of_clips)} training files have these labels: {counted or 'none'}; expected "
            f"two labels or more with {MIN_CLIPS} files each. Put them in folders named by their "
            f"label, or give a --manifest with a 'class' column"
        )
    return enough


def cross_validate(clips: Sequence[Clip]) -> Recognition:
    """How well real clips are recognised by classifiers that were not fitted to them.

    Every clip is held out once; a label's clips are dealt out to the folds one by one, so that
    each fold lacks some of every label and none lacks all of them.
    """
    dealt: dict[str | None, int] = {}
    fold = []
    for clip in clips:
        fold.append(dealt.setdefault(clip.label, 0) % FOLDS)
        dealt[clip.label] += 1
    results: list[tuple[Clip, tuple[bool, bool]]] = []
    for number in range(FOLDS):
        held_out = [clip for clip, f in zip(clips, fold, strict=True) if f == number]
        if held_out:
            model = fit([clip for clip, f in zip(clips, fold, strict=True) if f != number])
            results += [(clip, model.recognised(clip)) for clip in held_out]
    return _summary(results)


def recognise(model: LabelClassifier, clips: Sequence[Clip]) -> Recognition | None:
    """How the clips whose label the classifier knows are recognised; None if there are none."""
    labelled = [clip for clip in clips if clip.label in model.labels]
    return _summary([(clip, model.recognised(clip)) for clip in labelled]) if labelled else None


def _summary(results: Sequence[tuple[Clip, tuple[bool, bool]]]) -> Recognition:
    hits: dict[str | None, list[tuple[bool, bool]]] = {}
    for clip, hit in results:
        hits.setdefault(clip.label, []).append(hit)
    shares = [np.mean(of_label, axis=0) for of_label in hits.values()]
    top1, top3 = np.mean(shares, axis=0).tolist()
    return Recognition(len(results), len(hits), top1, top3)


def _features(clip: Clip, scales: dict[str, Scale]) -> np.ndarray:
    """(windows, dimensions of all embeddings)"""
    parts = [scale(clip.embeddings[name]) for name, scale in scales.items()]
    return torch.cat(parts, dim=1).numpy()
