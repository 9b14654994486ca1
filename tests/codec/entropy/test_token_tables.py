"""Static tables of tokens: exact frequencies, blocks to bytes and back, damage told."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.entropy.token_tables import LEFT_OUT, TokenTables
from codec.errors import CheckpointError, FormatError


def tables(books: int = 3, size: int = 20) -> TokenTables:
    rng = np.random.default_rng(0)
    return TokenTables.fit(rng.geometric(0.2, (books, 5000)).clip(1, size) - 1, size)


TABLES = tables()


@given(
    streams=st.integers(0, 3),
    frames=st.integers(1, 40),
    step=st.integers(0, 2),
    seed=st.integers(0, 1000),
)
def test_blocks_come_back(streams: int, frames: int, step: int, seed: int) -> None:
    tokens = np.random.default_rng(seed).integers(0, 20, (streams, 3, frames))
    symbols = TABLES.quantise(tokens, step)
    assert (symbols[:, 3 - step :] == LEFT_OUT).all()
    assert (symbols[:, : 3 - step] == tokens[:, : 3 - step]).all()
    payload = TABLES.encode(symbols, step)
    decoded = TABLES.decode([payload, payload], [symbols.shape] * 2, step)
    assert (np.stack(decoded) == symbols).all()
    assert (TABLES.dequantise(symbols, step) == symbols).all()
    assert abs(len(payload) * 8 - TABLES.cost_bits(symbols, step) - 16) <= 18


def test_frequencies_are_counts() -> None:
    fitted = TokenTables.fit([[0, 0, 0, 1], [2, 2, 2, 2]], 4)
    assert fitted.frequencies.sum(axis=1).tolist() == [1 << 24] * 2
    assert fitted.frequencies[0] / (1 << 24) == pytest.approx([0.75, 0.25, 0, 0], abs=1e-6)
    assert fitted.frequencies.min() == 1
    assert (TokenTables.from_arrays(fitted.to_arrays()).frequencies == fitted.frequencies).all()
    copy = pickle.loads(pickle.dumps(TABLES))
    assert (copy.frequencies == TABLES.frequencies).all()


def test_a_code_that_never_occurred_can_be_coded() -> None:
    fitted = TokenTables.fit(np.zeros((1, 10), int), 1 << 16)
    rare = np.full((1, 1, 3), 65535)
    assert (fitted.decode([fitted.encode(rare, 0)], [(1, 1, 3)], 0)[0] == rare).all()


@pytest.mark.parametrize("value", [-1, 20])
def test_tokens_outside_a_book_are_refused(value: int) -> None:
    with pytest.raises(ValueError, match=f"{value}.*expected 0 to 19"):
        TABLES.encode(np.full((1, 3, 4), value), 0)
    with pytest.raises(ValueError, match="from 0 to 19"):
        TokenTables.fit(np.full((3, 4), value), 20)


def test_bytes_of_others_are_refused() -> None:
    payload = TABLES.encode(np.zeros((1, 3, 40), int), 0)
    with pytest.raises(FormatError, match="do not decode"):
        tables(size=30).decode([payload + payload], [(1, 3, 40)], 0)
    with pytest.raises(FormatError, match="3 books left out of 3"):
        TABLES.decode([payload], [(1, 3, 40)], 3)


@pytest.mark.parametrize(
    "array",
    [
        np.ones((2, 4), np.int32),
        np.array([[0, 1 << 24]], np.int32),
        np.array([[1 << 23, 1 << 23]], np.int64),
        np.zeros((0, 4), np.int32),
    ],
)
def test_damaged_tables_are_refused(array: np.ndarray) -> None:
    with pytest.raises(CheckpointError, match="token tables"):
        TokenTables(array)
    with pytest.raises(CheckpointError, match="lacks their table"):
        TokenTables.from_arrays({})
