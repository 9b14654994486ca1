"""Which of several shipped models a bit rate is coded with."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from codec.model import shipped
from codec.model.shipped import BEST_UP_TO, DEFAULT_MODEL, models_for_rate, shipped_models


@pytest.fixture
def two_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one more, which no rate chooses."""
    for name in ("few", "many", "apart"):
        (tmp_path / f"{name}.safetensors").touch()
    monkeypatch.setattr(shipped, "WEIGHTS_DIR", tmp_path)
    monkeypatch.setattr(shipped, "BEST_UP_TO", {"few": 1.5, "absent": 2.0, "many": math.inf})


@pytest.mark.usefixtures("two_models")
@pytest.mark.parametrize(
    ("kbps", "names"),
    [
        (0.5, ["few"]),
        (1.5, ["few"]),
        (1.51, ["many", "few"]),
        (9.0, ["many", "few"]),
        (math.inf, ["many", "few"]),
    ],
)
def test_fewer_latents_up_to_their_limit_and_as_the_next_to_try(
    kbps: float, names: list[str]
) -> None:
    assert models_for_rate(kbps) == names


def test_without_shipped_models_it_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "WEIGHTS_DIR", tmp_path)
    assert models_for_rate(3.0) == [DEFAULT_MODEL]


def test_the_table_names_the_default_for_every_rate() -> None:
    assert set(BEST_UP_TO) <= set(shipped_models())
    assert list(BEST_UP_TO) == [DEFAULT_MODEL]
    limits = list(BEST_UP_TO.values())
    assert limits == sorted(limits)
    assert limits[-1] == math.inf
