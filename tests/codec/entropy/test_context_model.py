"""Context coder: round trips, pinned bytes, a second decoder, exact arithmetic, bad payloads."""

from __future__ import annotations

import time

import by_the_book
import numpy as np
import pytest
from codec_helpers import cell_bounds
from constriction import stream
from golden_coder import fixed_context, fixed_symbols, fixed_tables

from codec.entropy.context_model import ContextModel
from codec.entropy.context_network import MAX_ACTIVATION, array_shapes, network_inputs
from codec.entropy.context_rows import COLUMNS, PHASES, SCALES, WINDOW
from codec.entropy.quantise import quantise, symbol_limits
from codec.entropy.waves import coding_order, input_count
from codec.errors import CheckpointError, FormatError

MODEL = fixed_context()
INDICES = [0, 100, 240, 400, 620, 1023]
SHAPES = [(2, 4, 40), (1, 4, 9), (6, 4, 5), (2, 4, 1), (1, 4, 1), (0, 4, 7), (2, 4, 0)]


def symbols_at(index: int, shape: tuple[int, int, int] = (2, 4, 40)) -> np.ndarray:
    return fixed_symbols(shape, symbol_limits(MODEL.steps(index)))


def book(index: int, streams: int) -> by_the_book.ContextDecoder:
    sigma_units = fixed_tables(4).sigma_units.tolist()
    return by_the_book.ContextDecoder(MODEL.arrays, sigma_units, index, streams)


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("shape", SHAPES)
def test_round_trip(index: int, shape: tuple[int, int, int]):
    rng = np.random.default_rng(index)
    limit = symbol_limits(MODEL.steps(index))[:, None]
    anything = rng.integers(-limit, limit + 1, shape)
    extremes = np.where(np.indices(shape).sum(0) % 2, limit, -limit)
    for symbols in (symbols_at(index, shape), anything, extremes, np.zeros(shape, np.int16)):
        data = MODEL.encode(symbols, index)
        assert len(data) % 4 == 0
        decoded = MODEL.decode([data], shape, index)
        assert decoded.dtype == np.int16
        assert decoded.shape == (1, *shape)
        assert (decoded[0] == symbols).all()
        assert MODEL.dequantise(symbols, index).shape == shape
    if 0 in shape:
        assert data == b""


@pytest.mark.parametrize("latent_dim", [1, 2, 7, 66])
def test_round_trip_at_other_sizes(latent_dim: int):
    model = fixed_context(latent_dim)
    symbols = fixed_symbols((2, latent_dim, 30), symbol_limits(model.steps(150)))
    data = model.encode(symbols, 150)
    assert (model.decode([data], symbols.shape, 150)[0] == symbols).all()


def test_long_blocks_are_predicted_in_parts_as_in_one(monkeypatch: pytest.MonkeyPatch):
    symbols = symbols_at(240)
    whole = MODEL.predict(symbols, 240)
    monkeypatch.setattr("codec.entropy.context_network.SYMBOLS_AT_ONCE", 100)
    parts = MODEL.predict(symbols, 240)
    for name in ("nearest", "phase", "scale"):
        assert (getattr(whole, name) == getattr(parts, name)).all()


def test_fixed_symbols_take_escapes_and_reach_all_kinds_of_rows():
    """What the tests here stand on: without escapes they would show little."""
    seen = [MODEL.predict(symbols_at(index), index) for index in INDICES]
    away = np.concatenate(
        [(symbols_at(i) - p.nearest).ravel() for i, p in zip(INDICES, seen, strict=True)]
    )
    assert (away > WINDOW).sum() > 20
    assert (away < -WINDOW).sum() > 20
    assert np.abs(away).max() > 300
    assert {int(x) for p in seen for x in p.phase.ravel()} == set(range(PHASES))
    assert {int(x) for p in seen for x in p.scale.ravel()} >= {0, *range(4, 30), SCALES - 1}


@pytest.mark.parametrize("index", [0, 240, 620])
def test_several_payloads_give_what_each_gives(index: int):
    blocks = [symbols_at(index), symbols_at(index)[:, :, ::-1], symbols_at(index) * 0]
    payloads = [MODEL.encode(block, index) for block in blocks]
    assert len(set(map(len, payloads))) > 1
    together = MODEL.decode(payloads, blocks[0].shape, index)
    for block, found in zip(blocks, together, strict=True):
        assert (block == found).all()


def test_every_row_of_frequencies_is_complete():
    assert MODEL.frequencies.shape == (SCALES, PHASES, COLUMNS)
    assert MODEL.frequencies.min() >= 1
    assert (MODEL.frequencies.sum(-1) == 1 << 24).all()
    assert (MODEL.frequencies[..., [0, -1]] == 1).all()


def test_rows_are_the_integers_of_the_format():
    decoder = book(240, 1)
    for scale in range(SCALES):
        for phase in range(PHASES):
            expected = np.diff(decoder.cumulative(phase, scale))
            assert MODEL.frequencies[scale, phase].tolist() == expected.tolist()


def test_rows_lie_where_the_mean_is_and_are_as_wide_as_the_scale():
    symbol = np.arange(COLUMNS) - WINDOW - 2
    share = MODEL.frequencies / (1 << 24)
    for scale in (20, 24):  # scales of 1 and 2 steps: all of the density is in the window
        assert share[scale] @ symbol == pytest.approx((2 * np.arange(PHASES) - 15) / 32, abs=0.005)
    # The fixed shape, (1 + x^2)^-2, has standard deviation 1.
    variance = share[:, 8] @ symbol**2
    assert variance[20] == pytest.approx(1, rel=0.1)
    assert variance[24] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("index", INDICES)
def test_size_is_the_cost(index: int):
    symbols = symbols_at(index)
    real = 8 * len(MODEL.encode(symbols, index))
    assert 0 <= real - MODEL.cost_bits(symbols, index) <= 40
    assert MODEL.cost_bits(symbols[:0], index) == 0


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("shape", [(2, 4, 40), (1, 4, 9), (3, 4, 1)])
def test_payloads_decode_by_the_book(index: int, shape: tuple[int, int, int]):
    symbols = symbols_at(index, shape)
    decoder = book(index, shape[0])
    decoded = decoder.decode(MODEL.encode(symbols, index), shape[2])
    assert decoded == symbols.tolist()
    latents = MODEL.dequantise(symbols, index)
    for place in list(np.ndindex(shape))[:: max(1, symbols.size // 40)]:
        expected = decoder.dequantise(decoded, *place)
        assert latents[place] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_payloads_of_many_channels_decode_by_the_book():
    model = fixed_context(66)
    symbols = fixed_symbols((2, 66, 4), symbol_limits(model.steps(400)))
    sigma_units = fixed_tables(66).sigma_units.tolist()
    decoder = by_the_book.ContextDecoder(model.arrays, sigma_units, 400, 2)
    assert decoder.decode(model.encode(symbols, 400), 4) == symbols.tolist()


# A change here is a new version of the format: it makes files unreadable.
GOLDEN = {
    400: (
        "8105f0ff0cbcf30d969d961a9eaa104245ae3d5c1cd163301c0c163cdd159a8489ea6934e386ab87"
        "f5ad4c823d1191c0a00d7ac20468598c"
    ),
    0: (
        "f3c19cffe41e2f158e6334d809831aa25fb8fc07064cbfec32976aadde637a8786d0460dba0bc895"
        "f888a1b894b4f4a05a57a60e7d23dc4dc6ed1fcdf582f3ff2d4d5d98bc843cff132597aa1d1628bf"
        "55929b52a1ee9d2b"
    ),
}


@pytest.mark.parametrize("index", GOLDEN)
def test_golden_bytes(index: int):
    symbols = symbols_at(index, (2, 4, 6))
    assert MODEL.encode(symbols, index).hex() == GOLDEN[index]
    assert (MODEL.decode([bytes.fromhex(GOLDEN[index])], (2, 4, 6), index)[0] == symbols).all()


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


def test_golden_frequencies():
    row = MODEL.frequencies[22, 5].tolist()
    assert row[:3] == [1, 1, 1]
    assert row[WINDOW : WINDOW + 5] == [1127225, 4224234, 6853622, 2894586, 740437]


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
    inputs = next(network_inputs(symbols_at(0, (1, 4, 40)), model.steps(0)))
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


@pytest.mark.parametrize("index", INDICES)
def test_latents_lie_in_the_cells_of_their_symbols(index: int):
    symbols = symbols_at(index)
    restored = MODEL.dequantise(symbols, index)
    lower, upper = cell_bounds(symbols, MODEL.steps(index))
    assert restored.dtype == np.float32
    assert ((lower - 1e-5 <= restored) & (restored <= upper + 1e-5)).all()
    assert (restored != (symbols * MODEL.steps(index)[:, None]).astype(np.float32)).any()


def test_latents_lean_towards_the_prediction():
    """In coarse cells the mean of a peaked density lies on the side of its peak."""
    symbols = symbols_at(500)
    found = MODEL.predict(symbols, 500)
    step = MODEL.steps(500)[:, None]
    middle = symbols * step
    for side in (1, -1):
        above = side * (symbols - found.nearest)
        beyond = (above > 0) & (above < 4) & (found.scale >= 8) & (found.scale <= 16)
        assert beyond.sum() > 10
        lean = (MODEL.dequantise(symbols, 500) - middle)[beyond]
        assert (side * lean < 0).all()


def test_wrong_step_shape_or_model_is_a_format_error():
    symbols = symbols_at(240)
    data = MODEL.encode(symbols, 240)
    wrong = {**MODEL.arrays, "bias3": MODEL.arrays["bias3"] + (1 << 20)}
    other = ContextModel(wrong, fixed_tables(4))
    for model, shape, index in (
        (MODEL, (2, 4, 40), 140),
        (MODEL, (2, 4, 40), 900),
        (MODEL, (2, 4, 10), 240),
        (MODEL, (1, 4, 40), 240),
        (MODEL, (2, 4, 200), 240),
        (MODEL, (0, 4, 40), 240),
        (other, (2, 4, 40), 240),
    ):
        with pytest.raises(FormatError, match="do not decode"):
            model.decode([data], shape, index)
    good = MODEL.encode(symbols[:, :, ::-1], 240)
    with pytest.raises(FormatError, match="do not decode"):
        MODEL.decode([good, data[:-8]], (2, 4, 40), 240)
    with pytest.raises(FormatError, match="multiple of 4"):
        MODEL.decode([good, data[:-1]], (2, 4, 40), 240)


def test_any_bytes_decode_or_raise_in_the_same_time():
    rng = np.random.default_rng(1)
    refused = 0
    began = time.perf_counter()
    for trial in range(60):
        size = 4 * int(rng.integers(0, 200))
        data = (b"\0" * size, b"\xff" * size, rng.bytes(size))[trial % 3]
        index = int(rng.integers(0, 1024))
        try:
            decoded = MODEL.decode([data], (2, 4, 20), index)
        except FormatError:
            refused += 1
            continue
        limit = symbol_limits(MODEL.steps(index))[:, None]
        assert (np.abs(decoded.astype(np.int64)) <= limit).all()
    assert refused > 40
    assert time.perf_counter() - began < 10


def test_columns_and_escapes_that_are_never_coded_are_refused():
    # A model that always predicts the middle of cell 0.
    arrays = {name: array * 0 for name, array in MODEL.arrays.items() if name != "shape"}
    model = ContextModel({**arrays, "shape": MODEL.arrays["shape"]}, fixed_tables(4))
    found = model.predict(np.zeros((1, 4, 1), np.int16), 0)
    assert (found.nearest == 0).all()
    assert (found.phase == 8).all()
    scale, *rest = found.scale[0, :, 0].tolist()

    def payload(column: int, *escapes: int) -> bytes:
        encoder = stream.queue.RangeEncoder()
        row = stream.model.Categorical(perfect=False)

        def put(column: int, scale: int) -> None:
            probabilities = (model.frequencies[scale, 8] - 1).astype(np.float64)
            encoder.encode(np.array([column], np.int32), row, probabilities[None])

        put(column, scale)
        for number in escapes:
            encoder.encode(np.array([number], np.int32), stream.model.Uniform(1 << 13))
        for other in rest:
            put(WINDOW + 2, other)
        return encoder.get_compressed().astype("<u4").tobytes()

    def decode(data: bytes) -> list[int]:
        return model.decode([data], (1, 4, 1), 0)[0, 0, :, 0].tolist()

    assert decode(payload(WINDOW + 2)) == [0, 0, 0, 0]
    assert decode(payload(COLUMNS - 2, 1)) == [WINDOW + 1, 0, 0, 0]
    assert decode(payload(1, 60)) == [-WINDOW - 60, 0, 0, 0]
    limit = int(symbol_limits(model.steps(0))[0])
    assert decode(payload(COLUMNS - 2, limit - WINDOW)) == [limit, 0, 0, 0]
    for data in (
        payload(0, 1),
        payload(COLUMNS - 1, 1),
        payload(1, 0),
        payload(COLUMNS - 2, 0),
        payload(COLUMNS - 2, limit - WINDOW + 1),
        payload(COLUMNS - 2, 8191),
    ):
        with pytest.raises(FormatError, match="do not decode"):
            decode(data)


def test_bad_symbols_are_named():
    for call in (MODEL.encode, MODEL.cost_bits):
        with pytest.raises(ValueError, match=r"expected \(streams, 4, frames\)"):
            call(np.zeros((2, 5, 3), np.int16), 240)
        with pytest.raises(ValueError, match=r"expected \(streams, 4, frames\)"):
            call(np.zeros((4, 3), np.int16), 240)
        with pytest.raises(ValueError, match="within the limits"):
            call(np.full((2, 4, 3), 500, np.int16), 240)
        with pytest.raises(ValueError, match=r"step_index 1024"):
            call(np.zeros((2, 4, 3), np.int16), 1024)


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


def test_a_symbol_costs_what_the_row_says():
    """One symbol alone: -log2 of its frequency, escapes 13 bits more."""
    for index, k in ((240, 0), (240, 3), (0, 300)):
        symbols = np.zeros((1, 4, 1), np.int16)
        symbols[0, 3, 0] = k
        found = MODEL.predict(symbols, index)
        assert coding_order(1, 4, 1)[0].tolist() == [0, 1, 2, 3]
        expected = 0.0
        for d in range(4):
            away = int(symbols[0, d, 0] - found.nearest[0, d, 0])
            column = min(max(away, -WINDOW - 1), WINDOW + 1) + WINDOW + 2
            row = MODEL.frequencies[found.scale[0, d, 0], found.phase[0, d, 0]]
            expected += 24 - np.log2(row[column]) + 13 * (abs(away) > WINDOW)
        assert MODEL.cost_bits(symbols, index) == pytest.approx(expected)


def test_quantised_latents_come_back_within_a_step():
    latents = np.random.default_rng(2).normal(size=(2, 4, 50)).astype(np.float32)
    for index in (50, 240, 430):
        step = MODEL.steps(index)
        restored = MODEL.dequantise(quantise(latents, step), index)
        assert (np.abs(restored - latents) <= 1.0001 * step[:, None]).all()
