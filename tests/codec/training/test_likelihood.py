"""The base layer's loss: least where the map says what is there."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from codec.network.config import FRAME
from codec.network.map_likelihood import MapLikelihood
from codec.network.spectral_map import SpectralMap
from codec.network.views import Views, analyze
from codec.training.likelihood import explained_wave


def true_map(views: Views) -> SpectralMap:
    """A map that says exactly what is there."""
    return SpectralMap(
        long=views.long,
        medium=views.medium,
        short=views.short,
        wave_mean=views.wave,
        wave_logvar=torch.full(views.wave.shape[:-1], -8.0),
        long_offset=views.long_offset,
        medium_offset=views.medium_offset,
        long_spread=torch.full_like(views.long, -4.0),
        medium_spread=torch.full_like(views.medium, -4.0),
    )


@pytest.fixture(scope="module")
def views() -> Views:
    torch.manual_seed(0)
    return analyze(0.1 * torch.randn(2, 8 * FRAME))


@pytest.fixture(scope="module")
def likelihood() -> MapLikelihood:
    return MapLikelihood(44100, torch.device("cpu"))


def test_the_truth_is_most_likely(views: Views, likelihood: MapLikelihood) -> None:
    truth = likelihood.terms(views, true_map(views))
    assert truth["long"] == pytest.approx(0, abs=1e-5)
    for name in ("long", "medium", "short"):
        for change in (-1.0, 1.0):
            wrong = replace(true_map(views), **{name: getattr(views, name) + change})
            assert likelihood.terms(views, wrong)[name] > truth[name] + 0.05
    for name, field in (("wave", "wave_mean"), ("long_offset", "long_offset")):
        wrong = replace(true_map(views), **{field: getattr(true_map(views), field) + 0.5})
        assert likelihood.terms(views, wrong)[name] > truth[name]


def test_not_knowing_is_best_said(views: Views, likelihood: MapLikelihood) -> None:
    """A mean that is not known costs least with the variance that the waveform has."""
    unknown = replace(true_map(views), wave_mean=torch.zeros_like(views.wave))
    nats = {
        logvar: likelihood.terms(
            views, replace(unknown, wave_logvar=torch.full(views.wave.shape[:-1], logvar))
        )["wave"]
        for logvar in (-2.0, 0.0, 2.0)
    }
    assert nats[0.0] < nats[-2.0]
    assert nats[0.0] < nats[2.0]
    assert explained_wave(views, unknown).abs().max() < 1e-6
    assert explained_wave(views, true_map(views)).min() == pytest.approx(1)


def test_a_missed_partial_costs_a_few_nats(views: Views, likelihood: MapLikelihood) -> None:
    """60 dB too little costs no more than six times what 10 dB do: tails are heavy."""

    def cost(nats: float) -> Tensor:
        wrong = replace(true_map(views), long=views.long - nats)
        return likelihood.terms(views, wrong)["long"]

    assert cost(13.8) < 14 * cost(2.3)
    assert cost(13.8) > cost(2.3)


def test_bins_count_by_bandwidth(likelihood: MapLikelihood) -> None:
    """All views together count 1; high bins, of which an ear's band has many, count less each."""
    total = likelihood.long.sum() + 2 * likelihood.medium.sum() + 4 * likelihood.short.sum()
    assert total == pytest.approx(1)
    assert likelihood.long[-1] < likelihood.long[50] / 3


def test_the_level_of_a_clean_tone_counts(likelihood: MapLikelihood) -> None:
    """A clean tone 10 dB too quiet: little of the likelihood, all of the level."""
    time = torch.arange(8 * FRAME, dtype=torch.float64) / 44100
    views = analyze((0.5 * torch.sin(2 * torch.pi * 1000 * time)).float()[None])
    truth = likelihood.terms(views, true_map(views))
    assert truth["level"] < 1e-5
    loud = (views.long > views.long.amax(dim=-1, keepdim=True) - 5) * 2.3
    wrong = likelihood.terms(views, replace(true_map(views), long=views.long - loud))
    assert wrong["long"] < 0.1
    assert 0.6 < wrong["level"] < 0.8
