"""constriction's words are those of docs/FORMAT.md: another release may not change files."""

from __future__ import annotations

import random

import by_the_book
import numpy as np
from constriction import stream


def random_table(rng: random.Random) -> list[int]:
    """Cumulative frequencies that sum to 2^24; most symbols are rare, down to 1."""
    sizes = [rng.choice([1, 1, 5, 1_000, 2**20]) for _ in range(rng.choice([2, 3, 8]))]
    sizes[rng.randrange(len(sizes))] += 2**24 - sum(sizes)
    return [sum(sizes[:j]) for j in range(len(sizes) + 1)]


def test_words_are_those_of_the_second_coder():
    rng, endings = random.Random(0), set()
    for _ in range(2_000):
        coder, book = stream.queue.RangeEncoder(), by_the_book.RangeEncoder()
        things = []
        for _ in range(rng.randint(1, 40)):
            cum = random_table(rng)
            sizes = np.diff(cum)
            j = rng.randrange(len(sizes)) if rng.random() < 0.5 else int(sizes.argmax())
            model = stream.model.Categorical((sizes - 1).astype(np.float64), perfect=False)
            coder.encode(np.array([j], np.int32), model)
            book.encode(cum, j)
            things.append((cum, j))
        words = coder.get_compressed().tolist()
        assert words == book.words()
        data = np.array(words, "<u4").tobytes()
        decoder = by_the_book.RangeDecoder(data)
        assert [decoder.decode(cum) for cum, _ in things] == [j for _, j in things]
        assert decoder.at_end
        endings.add(words[-1] == 0)
    assert endings == {False, True}, "both ways to end were seen"


def test_no_symbols_are_no_words():
    assert stream.queue.RangeEncoder().get_compressed().tolist() == []
