"""Are the partials of the original still there? What mel bands and noise cannot tell.

A partial is a peak over frequency in a window of 93 ms, between 100 Hz and 5 kHz. White noise at
the right level in every band keeps about one in twenty, by chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.metrics.spectra import MEASURING_RATE, check_pair, magnitudes

WINDOW, HOP = 4096, 2048
LOWEST_BIN, BINS = 9, 480
"""From 97 Hz to 5.2 kHz."""
AROUND = 21
"""Bins whose median a peak stands out of: 226 Hz."""
CLEAR_DB, PRESENT_DB = 15.0, 9.0
"""How far a partial stands out that is looked for, and one that counts as there."""
RANGE_DB = 60.0
"""Below the loudest bin of the recording; what is softer is no clear partial."""
MIN_PARTIALS = 50
"""Fewest partials, over all frames, that a share is given of."""


@dataclass(frozen=True)
class Tonal:
    """Shares from 0 to 1; None where there are fewer than MIN_PARTIALS to take the share of."""

    recall: float | None
    """Share of the original's clear partials that the decoded sound has within one bin."""
    precision: float | None
    """Share of the decoded sound's clear partials that the original has within one bin."""


@dataclass(frozen=True)
class Partials:
    """Clear partials of one signal, each joined over frames as long as it is within one bin."""

    per_second: float
    """How many begin."""
    frames: float
    """How long they last on average, in frames of 46 ms; nan where there are none."""


def partials(signal: Tensor) -> Partials:
    """What notes a sound has, with nothing to compare it with.

    Shape: (time,) at 44.1 kHz, time above 2048
    """
    clear = _peaks(_levels(signal), CLEAR_DB)
    near = F.max_pool1d(clear.T.float(), 3, stride=1, padding=1).T > 0
    begins = clear.clone()
    begins[:, 1:] &= ~near[:, :-1]
    count = int(begins.sum())
    seconds = clear.shape[1] * HOP / MEASURING_RATE
    return Partials(count / seconds, int(clear.sum()) / count if count else math.nan)


def tonal(decoded: Tensor, original: Tensor) -> Tonal:
    """Compare the partials of two signals at 44.1 kHz.

    Shape: two of (time,), time above 2048
    """
    check_pair(decoded, original)
    levels = [_levels(signal) for signal in (decoded, original)]
    return Tonal(recall=_share(levels[1], levels[0]), precision=_share(levels[0], levels[1]))


def _levels(signal: Tensor) -> Tensor:
    return 20 * (magnitudes(signal[None], WINDOW, HOP)[0, :BINS] + 1e-4).log10()


def _share(looked_for: Tensor, looked_in: Tensor) -> float | None:
    clear, present = _peaks(looked_for, CLEAR_DB), _peaks(looked_in, PRESENT_DB)
    near = F.max_pool1d(present.T.float(), 3, stride=1, padding=1).T > 0
    count = int(clear.sum())
    return int((clear & near).sum()) / count if count >= MIN_PARTIALS else None


def _peaks(levels: Tensor, over: float) -> Tensor:
    """Local maxima over frequency that stand out by ``over`` dB: (bins, frames), both."""
    half = AROUND // 2
    around = F.pad(levels.T, (half, half), value=-80.0).unfold(1, AROUND, 1).median(-1).values.T
    peak = torch.zeros_like(levels, dtype=torch.bool)
    peak[1:-1] = (levels[1:-1] >= levels[:-2]) & (levels[1:-1] >= levels[2:])
    peak &= (levels > around + over) & (levels > levels.max() - RANGE_DB)
    peak[:LOWEST_BIN] = False
    return peak
