"""docs/STABILITY.md names the versions, formats and public names that the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import codec
import codec.model.checkpoint
import diffusion
import diffusion.latents.sets
import diffusion.model.adapter
import diffusion.model.checkpoint
from codec.entropy.quantise import Rules
from codec.lac.header import VERSION
from codec.model.blocks import FRAMES_PER_BLOCK
from codec.model.checkpoint import rules_for
from codec.network.config import load_model_config
from codec.network.layer_quantiser import LEAST_STEP, SHRINK
from codec.network.waveform_layer import CORNER, FILL, FREQUENCY_EXPONENT, LEVEL_EXPONENT, SIDE

PAGE = (Path(__file__).parent.parent / "docs" / "STABILITY.md").read_text(encoding="utf-8")


def test_the_versions_are_those_of_the_code() -> None:
    assert f"| version {VERSION} in the header" in PAGE
    for module in (
        codec.model.checkpoint,
        diffusion.model.checkpoint,
        diffusion.model.adapter,
        diffusion.latents.sets,
    ):
        assert f"`{module.FORMAT}`" in PAGE


@pytest.mark.parametrize("package", [codec, diffusion], ids=["codec", "diffusion"])
def test_the_public_names_are_those_of_the_package(package) -> None:
    listed = re.search(rf"^`{package.__name__}`: (.*?)\.$", PAGE, re.DOTALL | re.MULTILINE)
    assert listed is not None
    assert sorted(re.findall(r"`(\w+)`", listed[1])) == sorted(package.__all__)


@pytest.mark.parametrize(
    ("config", "rules"),
    [
        ("small", Rules(side_steps=144, midpoints=True)),
        ("tokens", Rules(side_steps=0, midpoints=False)),
        ("stable_audio", Rules(side_steps=0, midpoints=False)),
    ],
)
def test_what_is_in_no_id_is_pinned(config: str, rules: Rules) -> None:
    """A file of version 3 means something else with any other values."""
    assert VERSION == 3
    assert FRAMES_PER_BLOCK == 256
    of_layers = (LEVEL_EXPONENT, FREQUENCY_EXPONENT, CORNER, SIDE, FILL, SHRINK, LEAST_STEP)
    assert of_layers == (0.6, 0.7, 23.2, 1.4, 0.25, 0.05, -12)
    assert rules_for(load_model_config(config)) == rules
