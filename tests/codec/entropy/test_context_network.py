"""The context model's network: pinned predictions, exact arithmetic, arrays that are none."""

from __future__ import annotations

import by_the_book
import numpy as np
import pytest
from context_helpers import MODEL, symbols_at
from golden_coder import fixed_tables

from codec.entropy.context_model import ContextModel
from codec.entropy.context_network import MAX_ACTIVATION, array_shapes, network_inputs
from codec.entropy.waves import input_count
from codec.errors import CheckpointError


def test_long_blocks_are_predicted_in_parts_as_in_one(monkeypatch: pytest.MonkeyPatch):
    symbols = symbols_at(240)
    whole = MODEL.predict(symbols, 240)
    monkeypatch.setattr("codec.entropy.context_network.SYMBOLS_AT_ONCE", 100)
    parts = MODEL.predict(symbols, 240)
    for name in ("nearest", "phase", "scale"):
        assert (getattr(whole, name) == getattr(parts, name)).all()


def test_golden_predictions():
    found = MODEL.predict(symbols_at(400, (1, 4, 6)), 400)
    assert found.nearest[0].tolist() == [
        [-3, -16, -27, -3, 6, 0],
        [0, -1, 0, 0, 1, 1],
        [0, -1, 0, 0, 0, -1],
        [9, 1, 11, 4, -3, -16],
    ]
    assert found.phase[0].tolist() == [
        [12, 14, 7, 6, 11, 3],
        [4, 13, 8, 9, 12, 6],
        [10, 6, 13, 4, 4, 1],
        [11, 1, 14, 7, 3, 14],
    ]
    assert found.scale[0].tolist() == [
        [28, 17, 24, 32, 32, 31],
        [21, 24, 18, 19, 18, 14],
        [14, 0, 18, 11, 12, 0],
        [27, 32, 32, 24, 20, 28],
    ]


def extreme_model(sign: int) -> ContextModel:
    """Weights and biases at the ends of their types, with signs that add up."""
    arrays = {}
    for name, (kind, shape) in array_shapes(4).items():
        if name != "shape":
            ends = np.iinfo(kind)
            signs = np.arange(np.prod(shape)).reshape(shape) % 3 == (0 if sign > 0 else 1)
            arrays[name] = np.where(signs, ends.min, ends.max).astype(kind)
    return ContextModel({**arrays, "shape": MODEL.arrays["shape"]}, fixed_tables(4))


@pytest.mark.parametrize("model", [MODEL, extreme_model(1), extreme_model(-1)])
def test_float64_gives_what_big_integers_give(model: ContextModel):
    largest = 20 * 1024  # what a symbol at the end of its range stands for
    rng = np.random.default_rng(0)
    n = input_count(4)
    inputs = np.stack(
        [np.full(n, largest), np.full(n, -largest), np.arange(n) % 2 * 2 * largest - largest]
        + [rng.integers(-largest, largest + 1, n) for _ in range(5)]
    )
    sigma_units = fixed_tables(4).sigma_units.tolist()
    exact = by_the_book.ContextDecoder(model.arrays, sigma_units, 240, 1)
    found = model.network(np.tile(inputs, (4, 1, 1)).astype(np.float64))
    expected = [[exact.network(d, x) for x in inputs.tolist()] for d in range(4)]
    assert found.tolist() == expected


def test_order_of_summation_and_batching_do_not_matter():
    """The same inputs one by one, all at once, and with the terms of each sum in another order."""
    model = extreme_model(1)
    inputs = next(network_inputs(symbols_at(0, (1, 4, 40)), model.stream_steps(0, 1)[0]))[:, 0]
    together = model.network(inputs.copy())
    for i in range(0, 40, 7):
        assert (model.network(inputs[:, i : i + 1].copy()) == together[:, i : i + 1]).all()
    turned = np.random.default_rng(0).permutation(inputs.shape[-1])
    arrays = {**model.arrays, "weight1": model.arrays["weight1"][:, turned]}
    other = ContextModel(arrays, fixed_tables(4))
    assert (other.network(inputs[..., turned]) == together).all()


def test_activations_are_clamped():
    outputs = extreme_model(1).network(np.full((4, 1, input_count(4)), 1e5))
    assert (np.abs(outputs) <= 32 * MAX_ACTIVATION * 8 + (1 << 19)).all()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("weight1", lambda a: a.astype(np.int32)),
        ("weight1", lambda a: a[:, :-1]),
        ("weight2", lambda a: a.astype(np.float32)),
        ("bias3", lambda a: a[:3]),
        ("bias1", lambda a: a.astype(np.int64)),
        ("shape", lambda a: a[:-1]),
        ("shape", lambda a: a + 1),
        ("shape", lambda a: a - a.min()),
    ],
)
def test_arrays_that_are_not_a_models_are_refused(name: str, change):
    arrays = MODEL.arrays | {name: change(MODEL.arrays[name])}
    with pytest.raises(CheckpointError, match=rf"{name}.*expected.*fetch the checkpoint again"):
        ContextModel(arrays, fixed_tables(4))


def test_missing_further_or_too_many_arrays_are_refused():
    arrays = dict(MODEL.arrays)
    with pytest.raises(CheckpointError, match="weight4"):
        ContextModel({**arrays, "weight4": arrays["weight3"]}, fixed_tables(4))
    with pytest.raises(CheckpointError, match="weight1"):
        ContextModel(arrays, fixed_tables(5))
    del arrays["bias2"]
    with pytest.raises(CheckpointError, match="bias2"):
        ContextModel(arrays, fixed_tables(4))
