"""Static coder: pinned tables and bytes, a second decoder, real sizes, centroids."""

from __future__ import annotations

import by_the_book
import numpy as np
import pytest
from codec_helpers import cell_bounds
from golden_coder import fixed_symbols, fixed_tables

from codec.entropy.quantise import dequantise, quantise
from codec.entropy.static_tables import EntropyTables
from codec.errors import CheckpointError, FormatError


def latents(rng: np.random.Generator, n: int) -> np.ndarray:
    """A Gaussian, a heavy-tailed and a skewed channel, (3, n)."""
    return np.stack(
        [rng.normal(size=n), rng.laplace(scale=0.7, size=n), rng.exponential(size=n) - 1]
    ).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> EntropyTables:
    return EntropyTables.fit(latents(np.random.default_rng(0), 100_000), [0.05, 0.3, 0.9])


@pytest.mark.parametrize("index", [0, 192, 401, 600, 1023])
def test_tables_are_complete(fitted, index):
    at = fitted.at(index)
    for frequency, limit in zip(at.frequencies, at.limit, strict=True):
        assert len(frequency) == 2 * limit + 1
        assert frequency.min() >= 1
        assert frequency.sum() == 1 << 24


@pytest.mark.parametrize("index", [0, 77, 308, 600, 1023])
def test_frequencies_are_the_integers_of_the_format(index: int):
    tables = fixed_tables(3)
    at = tables.at(index)
    for channel in range(3):
        step = by_the_book.step_units(int(tables.sigma_units[channel]), index)
        assert at.step[channel] * 2**20 == step
        assert at.limit[channel] == by_the_book.largest_symbol(step)
        cum = by_the_book.static_cumulative(tables.histogram[channel].tolist(), step)
        assert at.frequencies[channel].tolist() == np.diff(cum).tolist()


def test_golden_frequencies():
    at = fixed_tables().at(800)
    assert [f.tolist() for f in at.frequencies] == [
        [24801, 100114, 391741, 15737284, 397439, 100895, 24942],
        [16728, 16743651, 16837],
    ]


@pytest.mark.parametrize(
    ("index", "expected"),
    [(240, "6269eadb07c0d44ead1b2cb674354aa1"), (800, "1234b3f0cdea7531248595c2c7b63096")],
)
def test_golden_bytes(index: int, expected: str):
    tables = fixed_tables()
    limit = tables.at(index).limit[:, None]
    symbols = np.array([[[0, 1, -1, 2, 0, -3, 99, -999], [0, 0, 5, -4, 1, -99, 3, 0]]])
    symbols = np.clip(symbols, -limit, limit)
    assert tables.encode(symbols, index).hex() == expected
    assert (tables.decode([bytes.fromhex(expected)], [(1, 2, 8)], index)[0] == symbols).all()


@pytest.mark.parametrize("index", [0, 123, 480, 720, 1023])
@pytest.mark.parametrize("shape", [(1, 3, 50), (3, 3, 9), (2, 3, 1)])
def test_bytes_decode_by_the_book(index: int, shape: tuple[int, int, int]):
    tables = fixed_tables(3)
    symbols = fixed_symbols(shape, tables.at(index).limit)
    data = tables.encode(symbols, index)
    decoded = by_the_book.decode_static(data, shape, index, tables.to_arrays())
    assert decoded == symbols.tolist()


@pytest.mark.parametrize("index", [0, 192, 384, 520, 1023])
@pytest.mark.parametrize(("streams", "frames"), [(1, 0), (0, 5), (1, 1), (6, 7), (2, 1000)])
def test_round_trip_of_likely_and_unlikely_symbols(fitted, index, streams, frames):
    rng = np.random.default_rng(frames)
    limit = fitted.at(index).limit[:, None]
    shape = (streams, 3, frames)
    likely = np.stack([latents(rng, frames) for _ in range(streams)] or [np.zeros((3, frames))])
    likely = quantise(likely[:streams], fitted.steps(index))
    anything = rng.integers(-limit, limit + 1, shape)
    for symbols in (likely, anything):
        data = fitted.encode(symbols, index)
        for decoded in fitted.decode([data, data], [shape, shape], index):
            assert decoded.dtype == np.int16
            assert np.array_equal(decoded, symbols)


@pytest.mark.parametrize("index", [80, 240, 400, 560])
def test_size_is_the_information(fitted, index):
    symbols = quantise(latents(np.random.default_rng(2), 2000), fitted.steps(index))
    real = 8 * len(fitted.encode(symbols[None], index))
    assert 0 <= real - fitted.cost_bits(symbols[None], index) <= 40
    empirical = 0.0
    for row in symbols:
        _, counts = np.unique(row, return_counts=True)
        empirical -= (counts * np.log2(counts / len(row))).sum()
    if index >= 240:  # finer symbols are too many for 2,000 samples to show their entropy
        assert real == pytest.approx(empirical, rel=0.03)


def test_tables_survive_storage_unchanged(fitted):
    arrays = fitted.to_arrays()
    assert sum(a.nbytes for a in arrays.values()) < 100_000 * 3 / 16
    again = EntropyTables.from_arrays({k: v.copy() for k, v in arrays.items()})
    symbols = quantise(latents(np.random.default_rng(3), 500)[None], fitted.steps(360))
    assert again.encode(symbols, 360) == fitted.encode(symbols, 360)
    for one, other in zip(fitted.at(360).frequencies, again.at(360).frequencies, strict=True):
        assert (one == other).all()
    assert (fitted.at(360).centroids == again.at(360).centroids).all()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("histogram", lambda a: a.astype(np.float32)),
        ("histogram", lambda a: a[:, :-1]),
        ("histogram", lambda a: a + 1),
        ("sigma_units", lambda a: a * 0),
    ],
)
def test_tables_that_were_tampered_with_are_refused(fitted, name, change):
    arrays = fitted.to_arrays()
    with pytest.raises(CheckpointError, match="expected"):
        EntropyTables.from_arrays(arrays | {name: change(arrays[name])})
    del arrays[name]
    with pytest.raises(CheckpointError, match=name):
        EntropyTables.from_arrays(arrays)


def test_centroids_lie_in_their_cells_and_beat_midpoints(fitted):
    z = latents(np.random.default_rng(4), 20_000)
    for index in (280, 440, 600, 800):
        at = fitted.at(index)
        symbols = quantise(z, at.step)
        restored = fitted.dequantise(symbols[None], index)[0]
        assert (restored == dequantise(symbols, at.centroids)).all()
        lower, upper = cell_bounds(symbols, at.step)
        assert ((lower - 1e-6 <= restored) & (restored <= upper + 1e-6)).all()
        midpoints = symbols * at.step[:, None]
        assert (((restored - z) ** 2).mean(1) <= ((midpoints - z) ** 2).mean(1) * 1.001).all()


def test_centroids_are_the_means_of_the_histogram():
    tables = fixed_tables()
    fine = (np.arange(768 * 64) + 0.5) / (32 * 64) - 12
    for index in (240, 440, 600):
        at = tables.at(index)
        for c in range(2):
            density = np.repeat(tables.histogram[c].astype(float), 64)
            symbols = quantise(np.stack([fine] * 2), at.step)[c] + at.limit[c]
            mass = np.bincount(symbols, density)
            means = np.bincount(symbols, density * fine) / mass
            middle = at.centroids.shape[1] // 2
            own = at.centroids[c, middle - at.limit[c] : middle + at.limit[c] + 1]
            assert own == pytest.approx(means, abs=1 / 2048)


def test_centroid_of_a_known_density():
    # A Gaussian of step 2 sigma: symbol 1 covers 1..3, whose mean is the textbook ratio.
    tables = EntropyTables.fit(np.random.default_rng(5).normal(size=(1, 400_000)), [1.0])
    at = tables.at(288)
    assert at.step.tolist() == [2.0]
    middle = at.centroids.shape[1] // 2
    assert at.centroids[0, middle + 1] == pytest.approx(1.5100, abs=0.005)


def test_bytes_that_are_not_ours_are_a_format_error(fitted):
    shape = (1, 3, 400)
    symbols = quantise(latents(np.random.default_rng(6), 400)[None], fitted.steps(400))
    data = fitted.encode(symbols, 400)
    with pytest.raises(FormatError, match="multiple of 4"):
        fitted.decode([data[:-1]], [shape], 400)
    for payload, other, index in (
        (data, (1, 3, 100), 400),  # most of the bytes are left over
        (data, (0, 3, 400), 400),
        (data, shape, 100),
        (b"\xff" * 64, shape, 400),
    ):
        with pytest.raises(FormatError, match="do not decode"):
            fitted.decode([payload], [other], index)
        with pytest.raises(FormatError, match="do not decode"):
            fitted.decode([data, payload], [other] * 2, index)


def test_bad_calls_are_named(fitted):
    for call in (fitted.encode, fitted.cost_bits):
        with pytest.raises(ValueError, match=r"expected \(streams, 3, frames\)"):
            call(np.zeros((1, 2, 5), dtype=np.int16), 0)
        with pytest.raises(ValueError, match=r"expected \(streams, 3, frames\)"):
            call(np.zeros((3, 5), dtype=np.int16), 0)
        with pytest.raises(ValueError, match="within the limits"):
            call(np.full((1, 3, 5), 9999, dtype=np.int16), 0)
    with pytest.raises(ValueError, match="n > 0"):
        EntropyTables.fit(np.zeros((3, 0)), [0.1] * 3)
    with pytest.raises(ValueError, match="sigma from"):
        EntropyTables.fit(np.zeros((3, 9)), [0.1, 0.0, 0.1])
    with pytest.raises(ValueError, match="NaN"):
        EntropyTables.fit(np.full((3, 9), np.nan), [0.1] * 3)
