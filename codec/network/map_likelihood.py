"""How unlikely the views of a recording are, given a map.

Every bin of a view is a complex value whose variance the map says. Its likelihood is a complex
Student t with few degrees of freedom rather than a Gaussian: a partial that the map misses by
30 dB is a mistake of a few nats and not of a thousand, so that early training is not ruled by the
loudest of them (docs/TRAINING_LOG.md has both). Bins count as much as their share of an
equivalent rectangular bandwidth (Glasberg and Moore 1990, eq. 3), as they do to the ear. As the
views overlap, the sum over them is a composite likelihood (Varin, Reid and Firth 2011, "An
overview of composite likelihood methods"), not a likelihood of the waveform.

A clean tone is three bins of hundreds, and a likelihood that counts all of them hardly hears that
it is 10 dB too quiet. So the power of bands is judged too, each as its share of the frame's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from codec.network.spectral_map import SpectralMap
from codec.network.views import (
    FLOOR,
    LONG_BINS,
    LONG_WINDOW,
    MEDIUM_BINS,
    MEDIUM_FRAMES,
    MEDIUM_WINDOW,
    SHORT_EDGES,
    SHORT_FRAMES,
    SHORT_WINDOW,
    WAVE_BINS,
    Views,
    mean_of_neighbors,
)

DEGREES = 4.0
"""Degrees of freedom of the Student t."""

SHORT_SHARE = 5.0
"""Weight of the short view beside the others: it alone says how loud all of the spectrum is."""

WAVE_SHARE = 1.0
"""Weight of the waveform's likelihood beside those of powers."""

OFFSET_SHARE = 0.5
"""Weight of the frequency offsets' likelihood."""

LEVEL_SHARE = 0.2
"""Weight of the error of the loud bands' levels, in nats."""

LEVEL_EDGES = (
    *(0, 150, 300, 450, 600, 800, 1000, 1250, 1500, 1800, 2150, 2550, 3000, 3500, 4100, 4800, 5600),
)
"""Hz. Bands of fine bins, whose power is judged as one."""

LEAST_POWER = 1e-8
"""Added to the bands' powers, of which white noise of unit variance has 1 a bin."""

WIDEST_SHARE = {"long": 0.3, "medium": 0.5, "short": 2.0}
"""A bin or band never counts as more bandwidths than this: what is below 100 Hz would rule."""

LOUDEST_BIN = 4.0
"""A bin counts in the likelihood of offsets as its power over its neighborhood's, up to this."""

AUDIBLE = 1e-5
"""Share of a frame's loudest power that a neighborhood needs for its offsets to count."""


def equivalent_bandwidth(hz: Tensor) -> Tensor:
    """The ear's equivalent rectangular bandwidth at a frequency, both in Hz."""
    return 24.7 * (4.37 * hz / 1000 + 1)


class MapLikelihood:
    """Negative log likelihoods of views, each weighted by bandwidth and in nats per bandwidth."""

    def __init__(self, sample_rate: int, device: torch.device) -> None:
        def of_bins(bins: int, window: int, name: str, per_frame: int) -> Tensor:
            width = sample_rate / window
            share = width / equivalent_bandwidth(torch.arange(1, bins + 1) * width)
            return share.clamp(max=WIDEST_SHARE[name]) / per_frame

        edges = torch.as_tensor(SHORT_EDGES) * (sample_rate / SHORT_WINDOW)
        middle = (edges[1:] + edges[:-1]) / 2
        bands = (edges[1:] - edges[:-1]) / equivalent_bandwidth(middle)
        self.long = of_bins(LONG_BINS, LONG_WINDOW, "long", 1)
        self.medium = of_bins(MEDIUM_BINS, MEDIUM_WINDOW, "medium", MEDIUM_FRAMES)
        self.short = (bands.clamp(max=WIDEST_SHARE["short"]) / SHORT_FRAMES).float()
        total = self.long.sum() + MEDIUM_FRAMES * self.medium.sum()
        total = total + SHORT_FRAMES * self.short.sum()
        for name in ("long", "medium", "short"):
            setattr(self, name, (getattr(self, name) / total).to(device))
        self.bands = tuple(
            sums.to(device)
            for sums in (
                _bands(LONG_BINS, sample_rate / LONG_WINDOW),
                _bands(MEDIUM_BINS, sample_rate / MEDIUM_WINDOW),
                ((edges[1:] - edges[:-1]) / (edges[-1] - edges[0])).float().diag(),
            )
        )

    def terms(self, views: Views, expected: SpectralMap) -> dict[str, Tensor]:
        """Every part of the loss, unweighted, as means over items and frames."""
        return {name: term.mean() for name, term in self.item_terms(views, expected).items()}

    def item_terms(self, views: Views, expected: SpectralMap) -> dict[str, Tensor]:
        """The same of every item, as means over frames: (batch,) each."""
        wave_error = (views.wave - expected.wave_mean).square().sum(dim=-1)
        wave = expected.wave_logvar + wave_error * (-expected.wave_logvar).exp()
        return {
            "long": _mean(_student(views.long - expected.long), self.long),
            "medium": _mean(_student(views.medium - expected.medium), self.medium),
            "short": _mean(_student(views.short - expected.short), self.short),
            "wave": _mean(wave, self.medium[:WAVE_BINS]),
            "long_offset": _mean(
                _offset(views.long, views.long_offset, expected.long_offset, expected.long_spread),
                self.long,
            ),
            "medium_offset": _mean(
                _offset(
                    views.medium,
                    views.medium_offset,
                    expected.medium_offset,
                    expected.medium_spread,
                ),
                self.medium,
            ),
            "level": self.level(views, expected),
        }

    def level(self, views: Views | SpectralMap, expected: Views | SpectralMap) -> Tensor:
        """Absolute errors of bands' log powers at their share of the frame's power, (batch,).

        The share is that in ``views``.
        """
        total = views.long.new_zeros(len(views.long))
        for name, sums in zip(("long", "medium", "short"), self.bands, strict=True):
            wanted, said = (
                getattr(each, name).clamp(max=20).exp() @ sums for each in (views, expected)
            )
            share = wanted / (wanted.sum(dim=-1, keepdim=True) + LEAST_POWER)
            error = ((said + LEAST_POWER) / (wanted + LEAST_POWER)).log().abs()
            total = total + (share * error).sum(dim=-1).mean(dim=(1, 2)) / len(self.bands)
        return total

    def total(self, terms: dict[str, Tensor], wave_share: float = WAVE_SHARE) -> Tensor:
        """The loss: all parts at their weights."""
        offsets = terms["long_offset"] + terms["medium_offset"]
        rest = OFFSET_SHARE * offsets + LEVEL_SHARE * terms["level"]
        return powers(terms) + wave_share * terms["wave"] + rest


def powers(terms: dict[str, Tensor]) -> Tensor:
    """The part of the loss that says how near the map is to the spectra."""
    return terms["long"] + terms["medium"] + SHORT_SHARE * terms["short"]


def _bands(bins: int, width: float) -> Tensor:
    """Which of the bins above the lowest, ``width`` Hz each, are in which band: (bins, bands)."""
    hz = (torch.arange(1, bins + 1) * width)[:, None]
    edges = torch.tensor(LEVEL_EDGES)
    return ((hz >= edges[:-1]) & (hz < edges[1:])).float()


def _mean(nats: Tensor, weight: Tensor) -> Tensor:
    """Sum over bins at their weights and over a frame's hops; mean over frames: (batch,)."""
    return (nats * weight).sum(dim=(-2, -1)).mean(dim=1)


def _student(excess: Tensor) -> Tensor:
    """A complex Student t's negative log likelihood, over its least value.

    ``excess`` is the log of the power over its scale. With n degrees of freedom a complex value
    of power p at scale v has the density proportional to 1 / v (1 + 2 p / (n v))^-(1 + n / 2).
    Written for log p, which adds log p: so it is least, and 0, where scale and power agree.
    """
    slope, n = 1 + DEGREES / 2, DEGREES
    least = slope * math.log1p(2 / n)
    return slope * torch.log1p(2 / n * excess.clamp(max=30).exp()) - excess - least


def _offset(power: Tensor, offset: Tensor, expected: Tensor, log_spread: Tensor) -> Tensor:
    """Laplacian negative log likelihood of frequency offsets, by how much a bin stands out."""
    level = power.exp()
    around = mean_of_neighbors(level, 9)
    audible = (level > 30 * FLOOR) & (around > AUDIBLE * around.amax(dim=-1, keepdim=True))
    weight = (level / (around + 1e-12)).clamp(max=LOUDEST_BIN) * audible
    return ((offset - expected).abs() * (-log_spread).exp() + log_spread) * weight
