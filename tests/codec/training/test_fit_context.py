"""Fitting a context model: it beats the static tables on latents it has not seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from codec.entropy.context_model import ContextModel
from codec.entropy.quantise import nearest_step, quantise
from codec.entropy.static_tables import EntropyTables
from codec.training.fit_context import fit_context_model, logistic_log2

STEPS = (nearest_step(2.0), nearest_step(8.0))
SIGMA = 0.15


def clip(seed: int, streams: int = 2, frames: int = 256) -> np.ndarray:
    """Latents (streams, 4, frames) of unit variance that their past and each other foretell.

    Every channel is a slow walk; the second follows the first, and the second stream the first.
    """
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(streams, 4, frames))
    walk = np.zeros_like(noise)
    for t in range(1, frames):
        walk[..., t] = 0.95 * walk[..., t - 1] + np.sqrt(1 - 0.95**2) * noise[..., t]
    walk[:, 1] = 0.9 * walk[:, 0] + np.sqrt(1 - 0.9**2) * walk[:, 1]
    walk[1:] = 0.9 * walk[:1] + np.sqrt(1 - 0.9**2) * walk[1:]
    return walk.astype(np.float32)


@pytest.fixture(scope="module")
def tables() -> EntropyTables:
    latents = np.concatenate([clip(seed).swapaxes(0, 1).reshape(4, -1) for seed in range(40)], 1)
    return EntropyTables.fit(latents, np.full(4, SIGMA))


def fit(tables: EntropyTables, updates: int, progress: list[tuple[int, int]]) -> ContextModel:
    return fit_context_model(
        [clip(seed) for seed in range(100, 110)],
        tables,
        STEPS,
        updates,
        torch.device("cpu"),
        lambda done, total: progress.append((done, total)),
    )


@pytest.fixture(scope="module")
def fitted(tables: EntropyTables) -> ContextModel:
    return fit(tables, 60, [])


@pytest.mark.parametrize("index", [STEPS[0], sum(STEPS) // 2, STEPS[1]])
@pytest.mark.parametrize("streams", [1, 2])
def test_it_beats_the_static_tables_on_unseen_latents(
    tables: EntropyTables, fitted: ContextModel, index: int, streams: int
):
    static, context = 0, 0
    for seed in range(1000, 1004):
        symbols = quantise(clip(seed, streams), tables.steps(index))
        static += len(tables.encode(symbols, index))
        data = fitted.encode(symbols, index)
        context += len(data)
        assert (fitted.decode([data], [symbols.shape], index)[0] == symbols).all()
    assert context < 0.85 * static


def test_latents_come_back_closer_than_with_static_tables(
    tables: EntropyTables, fitted: ContextModel
):
    latents = clip(1000)
    symbols = quantise(latents, tables.steps(STEPS[1]))
    errors = [
        float(np.mean((coder.dequantise(symbols, STEPS[1]) - latents) ** 2))
        for coder in (tables, fitted)
    ]
    assert errors[1] < 0.95 * errors[0]


def test_the_counted_shape_is_symmetric(fitted: ContextModel):
    shape = fitted.arrays["shape"].astype(np.int64)
    assert np.abs(shape - shape[::-1]).max() <= 2  # rounding
    assert shape[384] > 50 * shape[384 + 128]


def test_two_fits_are_identical(tables: EntropyTables):
    torch.manual_seed(5)
    np.random.seed(5)
    progress: list[tuple[int, int]] = []
    one = fit(tables, 4, progress)
    torch.manual_seed(6)
    state = torch.random.get_rng_state()
    other = fit(tables, 4, [])
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for name, array in one.arrays.items():
        assert (array == other.arrays[name]).all(), name
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's numbers are drawn


def test_it_works_where_gradients_are_off(tables: EntropyTables):
    with torch.inference_mode():
        assert fit(tables, 1, []).latent_dim == 4


def test_no_latents_are_refused(tables: EntropyTables):
    with pytest.raises(ValueError, match="no latents"):
        fit_context_model([], tables, STEPS, 1, torch.device("cpu"))


def test_cell_probabilities_are_those_of_a_logistic():
    values = torch.linspace(-20, 20, 41, dtype=torch.float64)  # the cells of step 1
    one = torch.tensor(1.0, dtype=torch.float64)
    log2 = logistic_log2(values, one, 0.3 * one, -0.5 * one)
    scale = 2.0**-0.5
    edges = (torch.arange(42) - 20.5 - 0.3) / scale
    exact = torch.diff(1 / (1 + torch.exp(-edges.double())))
    assert torch.exp2(log2).sum().item() == pytest.approx(1, abs=1e-3)
    assert torch.allclose(torch.exp2(log2), exact, rtol=1e-3, atol=1e-6)
    far = logistic_log2(1000 * one, one, 0 * one, 0 * one)
    assert -23 < far.item() < -20  # never below what a frequency table can say
