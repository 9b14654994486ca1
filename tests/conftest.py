"""Fixtures that all tests share: the tiny model's config, recordings, logs of runs, a browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from browsing import open_browser
from hypothesis import settings

from codec.network.config import ModelConfig, load_model_config

if TYPE_CHECKING:
    from playwright.sync_api import Browser

settings.register_profile("however_slow", deadline=None)
settings.load_profile("however_slow")


@pytest.fixture(scope="session")
def tiny_model() -> ModelConfig:
    return load_model_config("tiny")


@pytest.fixture(scope="session")
def audio_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six 16 kHz recordings of one second, three of them stereo: tones in noise."""
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    time = np.arange(16_000) / 16_000
    for number in range(6):
        channels = 1 + number % 2
        pitches = 200 + 150 * number + 90 * np.arange(channels)
        sound = 0.3 * np.sin(2 * np.pi * np.outer(time, pitches))
        sound += 0.03 * rng.standard_normal(sound.shape)
        soundfile.write(folder / f"{number}.wav", sound, 16_000)
    return folder


@pytest.fixture
def read_log() -> Callable[..., list[dict[str, Any]]]:
    """``read_log(run, kind)``: the values in log.jsonl without those of the clock."""
    clock = ("minutes", "steps_per_second")

    def read(run: Path, kind: str = "train") -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        return [
            {key: value for key, value in line.items() if key not in ("kind", *clock)}
            for line in lines
            if line["kind"] == kind
        ]

    return read


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser
