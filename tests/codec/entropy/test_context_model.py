"""Context coder: round trips, pinned bytes, a second decoder, exact arithmetic, bad payloads."""

from __future__ import annotations

import time

import by_the_book
import numpy as np
import pytest
from codec_helpers import cell_bounds
from constriction import stream
from context_helpers import INDICES, MODEL, book, symbols_at
from golden_coder import fixed_context, fixed_symbols, fixed_tables

from codec.entropy.context_model import ContextModel
from codec.entropy.context_rows import COLUMNS, PHASES, SCALES, WINDOW
from codec.entropy.quantise import quantise, symbol_limits
from codec.entropy.waves import coding_order
from codec.errors import FormatError

SHAPES = [(2, 4, 40), (1, 4, 9), (6, 4, 5), (2, 4, 1), (1, 4, 1), (0, 4, 7), (2, 4, 0)]


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("shape", SHAPES)
def test_round_trip(index: int, shape: tuple[int, int, int]):
    rng = np.random.default_rng(index)
    limit = symbol_limits(MODEL.stream_steps(index, 1)[0])[:, None]
    anything = rng.integers(-limit, limit + 1, shape)
    extremes = np.where(np.indices(shape).sum(0) % 2, limit, -limit)
    for symbols in (symbols_at(index, shape), anything, extremes, np.zeros(shape, np.int16)):
        data = MODEL.encode(symbols, index)
        assert len(data) % 4 == 0
        (decoded,) = MODEL.decode([data], [shape], index)
        assert decoded.dtype == np.int16
        assert decoded.shape == shape
        assert (decoded == symbols).all()
        assert MODEL.dequantise(symbols, index).shape == shape
    if 0 in shape:
        assert data == b""


@pytest.mark.parametrize("latent_dim", [1, 2, 7, 66])
def test_round_trip_at_other_sizes(latent_dim: int):
    model = fixed_context(latent_dim)
    symbols = fixed_symbols((2, latent_dim, 30), symbol_limits(model.stream_steps(150, 1)[0]))
    data = model.encode(symbols, 150)
    assert (model.decode([data], [symbols.shape], 150)[0] == symbols).all()


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
    own = symbols_at(index)
    blocks = [own[..., :3], own, own[..., ::-1], own * 0, own[..., :1], own[..., 5:20]]
    payloads = [MODEL.encode(block, index) for block in blocks]
    assert len(set(map(len, payloads))) > 1
    together = MODEL.decode(payloads, [block.shape for block in blocks], index)
    for block, found in zip(blocks, together, strict=True):
        assert np.array_equal(block, found)


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
    symbols = fixed_symbols((2, 66, 4), symbol_limits(model.stream_steps(400, 1)[0]))
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
    assert (MODEL.decode([bytes.fromhex(GOLDEN[index])], [(2, 4, 6)], index)[0] == symbols).all()


@pytest.mark.parametrize("index", INDICES)
def test_latents_lie_in_the_cells_of_their_symbols(index: int):
    symbols = symbols_at(index)
    restored = MODEL.dequantise(symbols, index)
    lower, upper = cell_bounds(symbols, MODEL.stream_steps(index, 1)[0])
    assert restored.dtype == np.float32
    assert ((lower - 1e-5 <= restored) & (restored <= upper + 1e-5)).all()
    middles = symbols * MODEL.stream_steps(index, 1)[0][:, None]
    assert (restored != middles.astype(np.float32)).any()


def test_latents_lean_towards_the_prediction():
    """In coarse cells the mean of a peaked density lies on the side of its peak."""
    symbols = symbols_at(500)
    found = MODEL.predict(symbols, 500)
    step = MODEL.stream_steps(500, 1)[0][:, None]
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
            model.decode([data], [shape], index)
    good = MODEL.encode(symbols[:, :, ::-1], 240)
    with pytest.raises(FormatError, match="do not decode"):
        MODEL.decode([good, data[:-8]], [(2, 4, 40)] * 2, 240)
    with pytest.raises(FormatError, match="multiple of 4"):
        MODEL.decode([good, data[:-1]], [(2, 4, 40)] * 2, 240)


def test_any_bytes_decode_or_raise_in_the_same_time():
    rng = np.random.default_rng(1)
    refused = 0
    began = time.perf_counter()
    for trial in range(60):
        size = 4 * int(rng.integers(0, 200))
        data = (b"\0" * size, b"\xff" * size, rng.bytes(size))[trial % 3]
        index = int(rng.integers(0, 1024))
        try:
            (decoded,) = MODEL.decode([data], [(2, 4, 20)], index)
        except FormatError:
            refused += 1
            continue
        limit = symbol_limits(MODEL.stream_steps(index, 1)[0])[:, None]
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
        return model.decode([data], [(1, 4, 1)], 0)[0][0, :, 0].tolist()

    assert decode(payload(WINDOW + 2)) == [0, 0, 0, 0]
    assert decode(payload(COLUMNS - 2, 1)) == [WINDOW + 1, 0, 0, 0]
    assert decode(payload(1, 60)) == [-WINDOW - 60, 0, 0, 0]
    limit = int(symbol_limits(model.stream_steps(0, 1)[0])[0])
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
        step = MODEL.stream_steps(index, 1)[0]
        restored = MODEL.dequantise(quantise(latents, step), index)
        assert (np.abs(restored - latents) <= 1.0001 * step[:, None]).all()
