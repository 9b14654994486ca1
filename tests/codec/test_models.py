"""Which of several shipped models a bit rate is coded with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from codec import checkpoint, models
from codec.models import DEFAULT_MODEL, model_for_rate
from codec.rate import UsefulRange


@pytest.fixture
def two_models(tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 1 to 2 kbps per channel, and one of 1.5 to 4."""
    loaded = checkpoint.load(tiny_path)
    for name, low, high in (("few", 1.0, 2.0), ("many", 1.5, 4.0)):
        useful = UsefulRange(100, 200, low, high)
        checkpoint.save(replace(loaded, useful=useful), tmp_path / f"{name}.safetensors")
    monkeypatch.setattr(models, "WEIGHTS_DIR", tmp_path)


@pytest.mark.usefixtures("two_models")
@pytest.mark.parametrize(
    ("kbps", "name"),
    [(0.5, "few"), (1.0, "few"), (1.5, "few"), (1.51, "many"), (3.0, "many"), (9.0, "many")],
)
def test_fewer_latents_until_they_near_their_limit(kbps: float, name: str) -> None:
    assert model_for_rate(kbps) == name


def test_without_shipped_models_it_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "WEIGHTS_DIR", tmp_path)
    assert model_for_rate(3.0) == DEFAULT_MODEL
