"""Decoded audio, in memory and in the cache: equal, decoded once, and kept when a run is killed."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from codec.errors import LacunaError
from codec.network.config import ModelConfig
from codec.training import decoded
from codec.training.ahead import computed_ahead, computed_in_processes
from codec.training.config import DataConfig
from codec.training.data import AudioSource, open_source
from codec.training.decoded import AudioCache, decode_into_memory

RATE = 16_000


def ignore(what: str, done: int, total: int) -> None:
    """No progress."""


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Mono, stereo of another rate, silence, and stereo that is mono."""
    rng = np.random.default_rng(0)
    sounds = {
        "mono.wav": (0.1 * rng.standard_normal((RATE, 1)), RATE),
        "stereo.flac": (0.1 * rng.standard_normal((22_050, 2)), 22_050),
        "silent.wav": (np.zeros((RATE, 1)), RATE),
        "twice.wav": (np.repeat(0.1 * rng.standard_normal((2 * RATE, 1)), 2, axis=1), RATE),
    }
    folder = tmp_path / "audio"
    folder.mkdir()
    for name, (sound, rate) in sounds.items():
        soundfile.write(folder / name, sound, rate)
    return [folder / name for name in sounds]


@pytest.fixture
def decoding(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that are decoded from now on."""
    names: list[str] = []
    original = decoded.decode

    def decode(path: Path, sample_rate: int) -> Any:
        names.append(path.name)
        return original(path, sample_rate)

    monkeypatch.setattr(decoded, "decode", decode)
    return names


def assert_same(one: tuple[Any, Any], other: tuple[Any, Any]) -> None:
    assert one[1] == other[1]
    for mine, theirs in zip(one[0], other[0], strict=True):
        assert torch.equal(mine, theirs)


def test_cache_gives_what_memory_gives_and_decodes_once(
    paths: list[Path], tmp_path: Path, decoding: list[str]
) -> None:
    in_memory = decode_into_memory(paths, RATE, ignore)
    assert [s.shape[0] for s in in_memory[0]] == [1, 2, 1, 1]
    assert [bool(problem) for problem in in_memory[1]] == [False, False, True, False]
    for start in range(2):
        decoding.clear()
        assert_same(AudioCache(tmp_path / "cache", RATE).load(paths, ignore), in_memory)
        assert len(decoding) == (0 if start else 4)


def test_only_new_and_changed_files_are_decoded(
    paths: list[Path], tmp_path: Path, decoding: list[str]
) -> None:
    cache = AudioCache(tmp_path / "cache", RATE)
    cache.load(paths[:2], ignore)
    decoding.clear()
    soundfile.write(paths[0], 0.2 * np.ones((2 * RATE, 1)), RATE)
    assert_same(cache.load(paths, ignore), decode_into_memory(paths, RATE, ignore))
    assert sorted(decoding[:3]) == ["mono.wav", "silent.wav", "twice.wav"]


def test_a_killed_run_keeps_what_it_decoded(
    paths: list[Path], tmp_path: Path, decoding: list[str]
) -> None:
    """Killed while it wrote samples, or the line of the index that tells of them."""
    cache = AudioCache(tmp_path / "cache", RATE)
    cache.load(paths, ignore)
    index, values = tmp_path / "cache" / "16000.jsonl", tmp_path / "cache" / "16000.int16"
    os.truncate(index, index.stat().st_size - 10)
    decoding.clear()
    assert_same(cache.load(paths, ignore), decode_into_memory(paths, RATE, ignore))
    assert decoding[0] == "twice.wav"
    assert decoding.count("mono.wav") == 1  # in memory alone

    os.truncate(values, values.stat().st_size - 10)
    decoding.clear()
    cache.load(paths, ignore)
    assert decoding == ["twice.wav"]


def test_full_disk_is_told_with_a_remedy(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(decoded, "decode_all", full)
    with pytest.raises(LacunaError, match=r"cache'.*No space left on device.*what is decoded is"):
        AudioCache(tmp_path / "cache", RATE).load(paths, ignore)


def test_cache_that_is_a_file(paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    with pytest.raises(LacunaError, match="name another folder with --cache"):
        AudioCache(tmp_path / "cache", RATE).load(paths, ignore)


def test_more_than_memory_holds_names_the_cache(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=50_000))
    monkeypatch.setattr(decoded, "psutil", memory)
    with pytest.raises(LacunaError, match=r"memory that are free.*--cache DIR"):
        decode_into_memory(paths, RATE, ignore)


def test_crops_of_the_cache_equal_those_of_memory(
    paths: list[Path], tmp_path: Path, tiny_model: ModelConfig
) -> None:
    def opened(cache: Path | None) -> AudioSource:
        with pytest.warns(UserWarning, match="silent"):
            return open_source(
                paths,
                tiny_model,
                DataConfig(crop_seconds=0.2),
                seed=0,
                device=torch.device("cpu"),
                cache=cache,
            )

    one, other = (opened(cache).batch(range(50)).waveform for cache in (None, tmp_path / "cache"))
    assert torch.equal(one, other)


# -- work done ahead ---------------------------------------------------------------------------


def test_ahead_keeps_the_order_and_does_not_run_away() -> None:
    begun: list[int] = []
    endless = iter(range(10**9))

    def double(x: int) -> int:
        begun.append(x)
        return 2 * x

    results = computed_ahead(double, endless, depth=3)
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    results.close()  # type: ignore[attr-defined]
    assert len(begun) <= 5 + 3
    assert threading.active_count() < 50


def test_ahead_overlaps() -> None:
    """The second call runs while the first result is being used."""
    second = threading.Event()

    def compute(x: int) -> int:
        if x == 1:
            second.set()
        return x

    results = computed_ahead(compute, range(2))
    assert next(results) == 0
    assert second.wait(10)
    assert list(results) == [1]


def test_ahead_raises_when_the_result_is_due() -> None:
    results = computed_ahead(lambda x: 1 // x, [1, 0])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_processes_keep_the_order_too() -> None:
    results = list(computed_in_processes(_square_and_process, iter(range(6)), processes=2))
    assert [int(square) for square, _ in results] == [0, 1, 4, 9, 16, 25]
    processes = {process for _, process in results}
    assert len(processes) == 2
    assert os.getpid() not in processes


def test_processes_raise_when_the_result_is_due() -> None:
    results = computed_in_processes(_inverse, [1, 0], processes=1)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def _square_and_process(x: int) -> tuple[torch.Tensor, int]:
    return torch.tensor(x * x), os.getpid()


def _inverse(x: int) -> int:
    return 1 // x
