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
import torch.nn.functional as F
from torch import Tensor

from codec.errors import LacunaError
from codec.evaluation.generated.embeddings import Clip
from codec.evaluation.generated.frechet import Scale

PENALTY = 0.03
"""Of the squared weights. Between .01 and .1 unseen real files are recognised best."""
ITERATIONS = 100
FOLDS = 5
MIN_CLIPS = 2
"""Of a label: of a single clip none is left to be held out."""


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
    """``labels`` in the order of the columns of ``weight`` (dimensions, labels)."""

    labels: tuple[str, ...]
    scales: dict[str, Scale]
    """Of each embedding."""
    weight: Tensor
    bias: Tensor

    def log_probabilities(self, clip: Clip) -> Tensor:
        """(labels,): means over the clip's windows."""
        logits = _features(clip, self.scales) @ self.weight + self.bias
        return logits.log_softmax(dim=1).mean(dim=0)

    def recognised(self, clip: Clip) -> tuple[bool, bool]:
        """Whether the clip's own label is the likeliest, and among the three likeliest."""
        best = self.log_probabilities(clip).topk(min(3, len(self.labels))).indices.tolist()
        place = self.labels.index(clip.label or "")
        return best[0] == place, place in best


def fit(clips: Sequence[Clip]) -> LabelClassifier:
    """A classifier of the labels of some real clips; clips without one are left out."""
    clips = [clip for clip in clips if clip.label is not None]
    labels = tuple(sorted({clip.label for clip in clips if clip.label is not None}))
    scales = {
        name: Scale.of(torch.cat([clip.embeddings[name] for clip in clips]))
        for name in clips[0].embeddings
    }
    features = [_features(clip, scales) for clip in clips]
    x = torch.cat(features)
    places = torch.tensor([labels.index(clip.label or "") for clip in clips])
    y = places.repeat_interleave(torch.tensor([len(f) for f in features]))
    shares = 1 / torch.bincount(y, minlength=len(labels)).double()[y] / len(labels)

    weight = torch.zeros(x.shape[1], len(labels), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(labels), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=ITERATIONS, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        losses = F.cross_entropy(x @ weight + bias, y, reduction="none")
        total = (shares * losses).sum() + PENALTY / 2 * weight.square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimiser.step(loss)  # type: ignore[arg-type]
    return LabelClassifier(labels, scales, weight.detach(), bias.detach())


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
        found = ", ".join(f"{label} ({count})" for label, count in sorted(counts.items()))
        raise LacunaError(
            f"the {len(of_clips)} training files have these labels: {found or 'none'}; expected "
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
    """Of the clips with a label that the classifier knows; None if there is none."""
    known = [clip for clip in clips if clip.label in model.labels]
    return _summary([(clip, model.recognised(clip)) for clip in known]) if known else None


def _summary(results: Sequence[tuple[Clip, tuple[bool, bool]]]) -> Recognition:
    hits: dict[str | None, list[tuple[bool, bool]]] = {}
    for clip, hit in results:
        hits.setdefault(clip.label, []).append(hit)
    shares = [np.mean(of_label, axis=0) for of_label in hits.values()]
    top1, top3 = np.mean(shares, axis=0).tolist()
    return Recognition(len(results), len(hits), top1, top3)


def _features(clip: Clip, scales: dict[str, Scale]) -> Tensor:
    """(windows, dimensions of all embeddings)"""
    return torch.cat([scale(clip.embeddings[name]) for name, scale in scales.items()], dim=1)
