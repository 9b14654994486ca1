"""Which of several shipped models a bit rate is coded with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from codec_helpers import music

from codec import load, write
from codec.batch.folders import Job, compress_file
from codec.errors import RateError
from codec.lac.rate import RateTarget
from codec.model import checkpoint
from codec.model import shipped as models
from codec.model.shipped import DEFAULT_MODEL, first_to_reach, models_for_rate
from codec.model.useful_range import UsefulRange


@pytest.fixture
def two_models(tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 1 to 2 kbps per channel, and one of 1.5 to 4."""
    loaded = checkpoint.load(tiny_path)
    for name, low, high in (("few", 1.0, 2.0), ("many", 1.5, 4.0)):
        useful = UsefulRange(100, 200, low, high)
        checkpoint.save(replace(loaded, useful=useful), tmp_path / f"{name}.safetensors")
    monkeypatch.setattr(models, "WEIGHTS_DIR", tmp_path)
    monkeypatch.setattr(models, "NEAREST_UP_TO", {"few": 1.5})


@pytest.mark.usefixtures("two_models")
@pytest.mark.parametrize(
    ("kbps", "name"),
    [(0.5, "few"), (1.0, "few"), (1.5, "few"), (1.51, "many"), (3.0, "many"), (9.0, "many")],
)
def test_fewer_latents_up_to_their_limit(kbps: float, name: str) -> None:
    assert models_for_rate(kbps)[0] == name


@pytest.mark.usefixtures("two_models")
def test_those_with_fewer_latents_are_tried_next() -> None:
    assert models_for_rate(3.0) == ["many", "few"]
    assert models_for_rate(1.0) == ["few"]


def test_the_first_that_reaches_the_rate_is_taken() -> None:
    def attempt(name: str) -> str:
        if name != "coarsest":
            raise RateError(f"{name} is too fine")
        return name

    assert first_to_reach(["fine", "coarser", "coarsest"], attempt) == "coarsest"
    with pytest.raises(RateError, match="coarser is too fine"):
        first_to_reach(["fine", "coarser"], attempt)


@pytest.mark.usefixtures("two_models")
def test_a_file_that_the_best_model_cannot_bring_to_its_rate(
    tiny_path: Path, tmp_path: Path
) -> None:
    """Its latents take more than usual: a model with fewer comes in, and the file is whole."""
    loaded = checkpoint.load(tiny_path)
    fine = replace(loaded, useful=UsefulRange(0, 1, 1.5, 4.0))
    checkpoint.save(fine, tmp_path / "many.safetensors")
    source, target = tmp_path / "in.wav", tmp_path / "out.lac"
    write(source, music(6.0, 16000, 1), 16000)
    rate = RateTarget(kbps=3.2)
    done = compress_file(load, Job(str(source), str(target)), model=None, target=rate, force=False)
    assert done.facts["kbps"] <= 3.2
    with pytest.raises(RateError, match=r"3\.2 kbps is below"):
        compress_file(load, Job(str(source), str(target)), model="many", target=rate, force=True)


def test_without_shipped_models_it_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "WEIGHTS_DIR", tmp_path)
    assert models_for_rate(3.0) == [DEFAULT_MODEL]
