"""What a kind of model wants of the quantiser: a coarser side, and the middles of cells."""

from __future__ import annotations

import numpy as np
import pytest
from context_helpers import MODEL
from golden_coder import fixed_tables

from codec.entropy.context_model import ContextModel
from codec.entropy.quantise import STEP_INDICES, Rules
from codec.entropy.static_tables import EntropyTables

RULES = Rules(side_steps=96, midpoints=True)
INDEX = 300
DIM = MODEL.latent_dim


def coders(rules: Rules) -> list[EntropyTables | ContextModel]:
    plain = fixed_tables(DIM)
    tables = EntropyTables(plain.sigma_units, plain.histogram, rules)
    return [tables, ContextModel(MODEL.arrays, tables)]


@pytest.fixture(scope="module")
def latents() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, DIM, 60)).astype(np.float32)


def test_side_has_a_coarser_step_and_others_do_not() -> None:
    assert RULES.step_indices(INDEX, 2) == [INDEX, INDEX + 96]
    assert RULES.step_indices(INDEX, 1) == [INDEX]
    assert RULES.step_indices(INDEX, 6) == [INDEX] * 6
    assert RULES.step_indices(STEP_INDICES - 5, 2) == [STEP_INDICES - 5, STEP_INDICES - 1]


@pytest.mark.parametrize("coder", coders(RULES), ids=["static", "context"])
def test_two_streams_round_trip_at_their_own_steps(coder, latents: np.ndarray) -> None:
    symbols = coder.quantise(latents, INDEX)
    data = coder.encode(symbols, INDEX)
    assert (coder.decode([data], [symbols.shape], INDEX)[0] == symbols).all()
    assert 0 <= 8 * len(data) - coder.cost_bits(symbols, INDEX) <= 40
    restored = coder.dequantise(symbols, INDEX)
    steps = coder.stream_steps(INDEX, 2)
    assert steps[1] == pytest.approx(2 * steps[0], rel=1e-4)
    inner = np.abs(symbols) < 3  # the outermost cells are open
    for stream in range(2):
        error = np.abs(restored - latents)[stream] / steps[stream][:, None]
        assert error[inner[stream]].max() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("number", [0, 1], ids=["static", "context"])
def test_side_takes_fewer_bits_than_at_the_same_step(number: int, latents: np.ndarray) -> None:
    coarse, even = (coders(rules)[number] for rules in (RULES, Rules(midpoints=True)))
    bits = [coder.cost_bits(coder.quantise(latents, INDEX), INDEX) for coder in (coarse, even)]
    assert bits[0] < 0.9 * bits[1]
    mono = [coder.encode(coder.quantise(latents[:1], INDEX), INDEX) for coder in (coarse, even)]
    assert mono[0] == mono[1]


@pytest.mark.parametrize("coder", coders(RULES), ids=["static", "context"])
def test_midpoints_are_multiples_of_the_step(coder, latents: np.ndarray) -> None:
    symbols = coder.quantise(latents, INDEX)
    expected = symbols * coder.stream_steps(INDEX, 2)[..., None]
    np.testing.assert_allclose(coder.dequantise(symbols, INDEX), expected, rtol=1e-6)
