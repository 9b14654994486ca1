"""What pyproject.toml promises to those who install the package."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [Requirement(text) for text in sum(EXTRAS.values(), PROJECT["dependencies"])]


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_a_dependency_has_a_lower_bound(requirement: Requirement) -> None:
    """`make matrix` installs it; without one, any release since the first would be a promise."""
    operators = {bound.operator for bound in requirement.specifier}
    assert operators & {">=", "=="} or requirement.name == PROJECT["name"]


def test_a_dependency_is_bounded_alike_wherever_it_stands() -> None:
    bounds: dict[str, set[str]] = {}
    for requirement in REQUIREMENTS:
        if requirement.name not in ("torch", PROJECT["name"]):  # training pins torch
            bounds.setdefault(requirement.name, set()).add(str(requirement.specifier))
    assert [name for name, several in bounds.items() if len(several) > 1] == []


def test_tools_whose_releases_find_other_faults_are_pinned() -> None:
    pinned = {Requirement(text).name for text in EXTRAS["dev"] if "==" in text}
    assert {"ruff", "mypy"} <= pinned


@pytest.mark.parametrize("room", ["codec", "diffusion"])
def test_types_and_licences_lie_beside_the_code(room: str) -> None:
    assert (REPOSITORY / room / "py.typed").exists()
    assert "CC BY-SA 4.0" in (REPOSITORY / room / "weights" / "LICENSE.txt").read_text()


def test_every_licence_is_in_the_wheel() -> None:
    packed = {path for pattern in PROJECT["license-files"] for path in REPOSITORY.glob(pattern)}
    names = ("LICENSE*", "ATTRIBUTION*")
    there = {path for name in names for path in REPOSITORY.glob(f"*/weights/{name}")}
    assert there | {REPOSITORY / "LICENSE"} == packed
    assert PROJECT["license"] == "MIT AND CC-BY-SA-4.0"
