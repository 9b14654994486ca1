"""tools/fuzz_lac.py, lac_mutants.py: a short run, and that it would notice what it looks for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from codec.lac import header, locate, trailer
from codec.lac.header import LacHeader

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its limits are those of Linux")


@pytest.fixture(scope="module")
def fuzz() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        # As Python does for a script; it is how the tool finds lac_mutants.
        patch.syspath_prepend(Path(__file__).parents[3] / "tools")
        yield importlib.import_module("fuzz_lac")


@pytest.fixture(scope="module")
def mutants(fuzz: ModuleType) -> ModuleType:
    return importlib.import_module("lac_mutants")


def test_no_mutant_breaks_the_reader(fuzz, mutants):
    # The last two decode sound; the reader once believed in more samples than 11,800 holds.
    seeds = [*range(1, 300), 400_000, 11_800]
    results = list(fuzz.run(seeds))
    assert [r for r in results if r.outcome in fuzz.FAILURES] == []
    assert sorted(r.seed for r in results) == sorted(seeds)
    assert {mutants.make_mutant(seed).kind for seed in seeds} == set(mutants.KINDS)
    assert {r.outcome for r in results} == set(fuzz.OUTCOMES)


def test_a_seed_gives_the_same_mutant(mutants):
    before = [mutants.make_mutant(seed).data for seed in range(100)]
    samples = importlib.import_module("lac_samples")
    samples.small_samples.cache_clear()
    samples.network_samples.cache_clear()
    samples.tiny_codec.cache_clear()
    assert [mutants.make_mutant(seed).data for seed in range(100)] == before
    assert len(set(before)) > 95


def _spin() -> None:
    while True:
        pass


PLANTED: list[tuple[str, Callable[[], object]]] = [
    ("crash", lambda: [][1]),
    ("crash", lambda: np.float64(1e308) * 10),  # a warning of numpy's
    # Far above the limit, which counts memory that pytest has freed and not given back.
    ("memory", lambda: np.zeros(4 * 10**9, np.uint8)),
    ("hang", _spin),
]


@pytest.mark.parametrize(("outcome", "bug"), PLANTED)
def test_a_planted_bug_is_found(fuzz, mutants, monkeypatch, outcome, bug):
    samples = importlib.import_module("lac_samples")
    originals = {sample.data for sample in samples.small_samples() + samples.network_samples()}
    parse = LacHeader.parse
    unlucky = mutants.make_mutant(3).data
    assert unlucky not in originals

    def parse_with_bug(data: bytes) -> object:
        if data == unlucky:
            bug()
        return parse(data)

    monkeypatch.setattr(LacHeader, "parse", staticmethod(parse_with_bug))
    results = {r.seed: r.outcome for r in fuzz.run([1, 2, 3, 4, 5], cpu_seconds=0.3)}
    assert results.pop(3) == outcome
    assert len(results) == 4
    assert not set(results.values()) & set(fuzz.FAILURES)


def test_a_failure_is_saved_and_ends_with_an_error(fuzz, mutants, monkeypatch, tmp_path, capsys):
    unlucky = mutants.make_mutant(3).data
    list(fuzz.run([1]))  # fills the caches before the reader breaks
    monkeypatch.setattr(fuzz, "examine", lambda mutant: 1 // (mutant.data != unlucky) and "whole")
    with pytest.raises(SystemExit) as exit_:
        fuzz.main(count=5, seed=0, workers=2, replay=None, out=tmp_path)
    assert exit_.value.code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["3.lac"]
    assert (tmp_path / "3.lac").read_bytes() == unlucky
    assert "ZeroDivisionError" in capsys.readouterr().out
    with pytest.raises(SystemExit) as exit_:
        fuzz.main(replay=4, out=tmp_path)
    assert exit_.value.code == 0


@pytest.mark.parametrize(
    ("modules", "name", "answer"),
    [
        ([header, locate, trailer], "crc_holds", lambda data: True),  # damage is taken for sound
        ([locate], "BLOCK_SYNC", b"\xa5M"),  # nothing is found
    ],
)
def test_a_reader_that_is_wrong_is_found_out(fuzz, mutants, monkeypatch, modules, name, answer):
    made = map(mutants.make_mutant, range(1, 150))
    honest = [mutant for mutant in made if mutants.KINDS[mutant.kind].honest]
    for module in modules:
        monkeypatch.setattr(module, name, answer)
    found = 0
    for mutant in honest:
        try:
            fuzz.examine(mutant)
        except fuzz.WrongResultError:
            found += 1
    assert found > 10
