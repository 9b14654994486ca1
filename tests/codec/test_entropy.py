import numpy as np
import pytest

from codec.entropy import EntropyTables, cost_bits, decode_symbols, encode_symbols
from codec.errors import CheckpointError, FormatError
from codec.quantise import cell_bounds, dequantise, quantise


def fixed_tables(latent_dim: int = 2) -> EntropyTables:
    """Tables from integers alone, so that golden vectors do not hang on a random generator."""
    x = np.arange(-384, 384)
    histogram = np.stack([4000 * 200 // (200 + (x * (c + 1)) ** 2 // 16) + 1 for c in range(9)])
    histogram[:, 384] += (1 << 22) - histogram.sum(axis=1)
    sigma_units = np.array([52429, 314573, 943718] * 3)
    return EntropyTables(
        sigma_units[:latent_dim].astype(np.int32), histogram[:latent_dim].astype(np.int32)
    )


def latents(rng: np.random.Generator, n: int) -> np.ndarray:
    """A Gaussian, a heavy-tailed and a skewed channel, (3, n)."""
    return np.stack(
        [rng.normal(size=n), rng.laplace(scale=0.7, size=n), rng.exponential(size=n) - 1]
    ).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> EntropyTables:
    return EntropyTables.fit(latents(np.random.default_rng(0), 100_000), [0.05, 0.3, 0.9])


@pytest.mark.parametrize("index", [0, 48, 100, 150, 255])
def test_tables_are_complete(fitted, index):
    at = fitted.at(index)
    for frequency, limit in zip(at.frequencies, at.limit, strict=True):
        assert len(frequency) == 2 * limit + 1
        assert frequency.min() >= 1
        assert frequency.sum() == 1 << 24


def test_frequencies_are_the_integers_of_the_format():
    # The derivation of docs/FORMAT.md once more, in Python integers, one symbol at a time.
    tables = fixed_tables()
    for index in (0, 77, 150, 255):
        at = tables.at(index)
        for c in range(2):
            histogram = tables.histogram[c].tolist()
            units = int(at.step[c] * 2**20)
            limit = int(at.limit[c])

            def below(position: int, histogram: list[int] = histogram) -> int:
                cell, inside = divmod(position, 65536)
                return sum(histogram[:cell]) * 65536 + (
                    histogram[cell] * inside if cell < 768 else 0
                )

            n = 2 * limit + 1
            for k in {-limit, -limit + 1, -1, 0, 1, limit}:
                edges = [12 * 2**21 + (2 * k + side) * units for side in (-1, 1)]
                low = 0 if k == -limit else below(edges[0])
                high = 2**38 if k == limit else below(edges[1])
                scaled = [m * (2**24 - n) // 2**38 for m in (low, high)]
                assert at.frequencies[c][k + limit] == scaled[1] - scaled[0] + 1


def test_golden_frequencies():
    at = fixed_tables().at(200)
    assert [f.tolist() for f in at.frequencies] == [
        [24801, 100114, 391741, 15737284, 397439, 100895, 24942],
        [16728, 16743651, 16837],
    ]


@pytest.mark.parametrize(
    ("index", "expected"),
    [(60, "6269eadb07c0d44ead1b2cb674354aa1"), (200, "1234b3f0cdea7531248595c2c7b63096")],
)
def test_golden_bytes(index, expected):
    tables = fixed_tables()
    limit = tables.at(index).limit[:, None]
    symbols = np.array([[0, 1, -1, 2, 0, -3, 99, -999], [0, 0, 5, -4, 1, -99, 3, 0]])
    symbols = np.clip(symbols, -limit, limit)
    assert encode_symbols(symbols, index, tables).hex() == expected
    assert (decode_symbols(bytes.fromhex(expected), 8, index, tables) == symbols).all()


def decode_by_the_book(data: bytes, counts: list[tuple[np.ndarray, int]]) -> list[list[int]]:
    """The range decoder of docs/FORMAT.md, in plain integers."""
    words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
    full = 2**64 - 1
    words += [0, 0]
    point, following = words[0] << 32 | words[1], 2
    low, span = 0, full
    decoded = []
    for frequency, n in counts:
        cumulative = [0, *np.cumsum(frequency).tolist()]
        row = []
        for _ in range(n):
            scale = span >> 24
            target = (point - low & full) // scale
            k = int(np.searchsorted(cumulative, target, side="right")) - 1
            row.append(k)
            low = low + scale * cumulative[k] & full
            span = scale * (cumulative[k + 1] - cumulative[k])
            if span < 2**32:
                span, low = span << 32, low << 32 & full
                word = words[following] if following < len(words) else 0
                point, following = (point << 32 | word) & full, following + 1
        decoded.append(row)
    return decoded


@pytest.mark.parametrize("index", [30, 120, 180])
def test_bytes_decode_by_the_book(fitted, index):
    at = fitted.at(index)
    symbols = quantise(latents(np.random.default_rng(1), 150), at.step)
    data = encode_symbols(symbols, index, fitted)
    rows = decode_by_the_book(data, [(f, 150) for f in at.frequencies])
    assert (np.array(rows) - at.limit[:, None] == symbols).all()


@pytest.mark.parametrize("index", [0, 48, 96, 130, 255])
@pytest.mark.parametrize("n", [0, 1, 2000])
def test_round_trip_of_likely_and_unlikely_symbols(fitted, index, n):
    rng = np.random.default_rng(n)
    at = fitted.at(index)
    anything = np.stack([rng.integers(-m, m + 1, n) for m in at.limit])
    for symbols in (quantise(latents(rng, n), at.step), anything):
        data = encode_symbols(symbols, index, fitted)
        decoded = decode_symbols(data, n, index, fitted)
        assert decoded.dtype == np.int16
        assert (decoded == symbols).all()


@pytest.mark.parametrize("index", [20, 60, 100, 140])
def test_size_is_the_information(fitted, index):
    symbols = quantise(latents(np.random.default_rng(2), 2000), fitted.at(index).step)
    real = 8 * len(encode_symbols(symbols, index, fitted))
    assert real == pytest.approx(cost_bits(symbols, index, fitted), rel=0.01)
    empirical = 0.0
    for row in symbols:
        _, counts = np.unique(row, return_counts=True)
        empirical -= (counts * np.log2(counts / len(row))).sum()
    if index >= 60:  # finer symbols are too many for 2,000 samples to show their entropy
        assert real == pytest.approx(empirical, rel=0.03)


def test_tables_survive_storage_unchanged(fitted):
    arrays = fitted.to_arrays()
    assert sum(a.nbytes for a in arrays.values()) < 100_000 * 3 / 16
    again = EntropyTables.from_arrays({k: v.copy() for k, v in arrays.items()})
    symbols = quantise(latents(np.random.default_rng(3), 500), fitted.at(90).step)
    assert encode_symbols(symbols, 90, again) == encode_symbols(symbols, 90, fitted)
    for one, other in zip(fitted.at(90).frequencies, again.at(90).frequencies, strict=True):
        assert (one == other).all()
    assert (fitted.at(90).centroids == again.at(90).centroids).all()


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
    for index in (70, 110, 150, 200):
        at = fitted.at(index)
        symbols = quantise(z, at.step)
        restored = dequantise(symbols, at.centroids)
        lower, upper = cell_bounds(symbols, at.step)
        assert ((lower <= restored) & (restored <= upper)).all()
        midpoints = symbols * at.step[:, None]
        assert (((restored - z) ** 2).mean(1) <= ((midpoints - z) ** 2).mean(1) * 1.001).all()


def test_centroids_are_the_means_of_the_histogram():
    tables = fixed_tables()
    fine = (np.arange(768 * 64) + 0.5) / (32 * 64) - 12
    for index in (60, 110, 150):
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
    at = tables.at(72)
    assert at.step.tolist() == [2.0]
    middle = at.centroids.shape[1] // 2
    assert at.centroids[0, middle + 1] == pytest.approx(1.5100, abs=0.005)


def test_bytes_that_are_not_ours_are_a_format_error(fitted):
    symbols = quantise(latents(np.random.default_rng(6), 400), fitted.at(100).step)
    data = encode_symbols(symbols, 100, fitted)
    with pytest.raises(FormatError, match="multiple of 4"):
        decode_symbols(data[:-1], 400, 100, fitted)
    with pytest.raises(FormatError, match="do not decode"):
        decode_symbols(data, 100, 100, fitted)  # most of the bytes are left over
    with pytest.raises(FormatError, match="do not decode"):
        decode_symbols(b"\xff" * 64, 400, 100, fitted)


def test_bad_calls_are_named(fitted):
    with pytest.raises(ValueError, match=r"expected \(3, n\)"):
        encode_symbols(np.zeros((2, 5), dtype=np.int16), 0, fitted)
    with pytest.raises(ValueError, match="within the limits"):
        encode_symbols(np.full((3, 5), 9999, dtype=np.int16), 0, fitted)
    with pytest.raises(ValueError, match="n > 0"):
        EntropyTables.fit(np.zeros((3, 0)), [0.1] * 3)
    with pytest.raises(ValueError, match="sigma from"):
        EntropyTables.fit(np.zeros((3, 9)), [0.1, 0.0, 0.1])
    with pytest.raises(ValueError, match="NaN"):
        EntropyTables.fit(np.full((3, 9), np.nan), [0.1] * 3)
