"""The base layer's loss: the likelihood of views (codec/network/map_likelihood.py)."""

from __future__ import annotations

import torch
from torch import Tensor

from codec.network.float32 import in_float32
from codec.network.map_likelihood import WAVE_SHARE, MapLikelihood
from codec.network.spectral_map import MapReconstruction, SpectralMap
from codec.network.views import Views
from codec.training.task import Logs, StepLoss

WAVE_FIRST, WAVE_FIRST_STEPS = 3.0, 1500
"""Its weight at first, and over how many steps it falls. A waveform is learned suddenly or, where
everything else pays sooner, not at all; once it is there it stays as far as it pays."""

SCALE = 10.0
"""The loss is so many times the nats per bandwidth, to be of the size of others."""


class MapLoss:
    """The likelihood as the loss of a training step."""

    opponent = None

    def __init__(self, sample_rate: int, device: torch.device) -> None:
        self.likelihood = MapLikelihood(sample_rate, device)

    def __call__(self, reconstruction: MapReconstruction, waveform: Tensor, step: int) -> StepLoss:
        """``waveform`` is what the reconstruction's views are of."""
        losses, logs = self.of_items(reconstruction, step)
        return StepLoss(losses.mean(), logs)

    def of_items(self, reconstruction: MapReconstruction, step: int) -> tuple[Tensor, Logs]:
        """The loss of every item, (batch,), and values to log."""
        with in_float32(reconstruction.views.long):
            terms = self.likelihood.item_terms(reconstruction.views, reconstruction.expected)
        left = max(0.0, 1 - step / WAVE_FIRST_STEPS)
        share = WAVE_SHARE + left * (WAVE_FIRST - WAVE_SHARE)
        logs: Logs = {name: term.detach().mean() for name, term in terms.items()}
        explained = explained_wave(reconstruction.views, reconstruction.expected).detach()
        logs |= {f"explained_wave/{low:02d}": explained[low : low + 6].mean() for low in (0, 6, 12)}
        return SCALE * self.likelihood.total(terms, share), logs

    def validate(self, reconstruction: MapReconstruction, waveform: Tensor) -> dict[str, float]:
        """Terms to log, with the ``score``."""
        terms = self.likelihood.terms(reconstruction.views, reconstruction.expected)
        score = float(self.likelihood.total(terms))
        return {"score": score, **{name: float(term) for name, term in terms.items()}}


def explained_wave(views: Views, expected: SpectralMap) -> Tensor:
    """Share of the whitened waveform's power that the mean explains, (WAVE_BINS,)."""
    error = (views.wave - expected.wave_mean).square().sum(dim=-1).mean(dim=(0, 1, 2))
    return 1 - error / views.wave.square().sum(dim=-1).mean(dim=(0, 1, 2))
