"""The names that ship beside the weights, and docs/DATA.md beside the list of packages."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from corpus.licences import choose
from corpus.packages import PACKAGES

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (files("codec") / "weights/ATTRIBUTION.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ")
][1:]


def test_everybody_is_named_and_nothing_is_under_the_gpl_alone() -> None:
    for group, source, licence, authors, minutes in ROWS:
        assert group
        assert source
        assert choose(licence) == licence
        assert authors not in ("", "not named")
        assert float(minutes) >= 0


def test_every_package_is_in_the_attribution_and_in_the_document() -> None:
    document = (Path(__file__).parents[2] / "docs/DATA.md").read_text(encoding="utf-8")
    groups = {row[0] for row in ROWS}
    for package in PACKAGES:
        assert package.group in groups
        assert f"| {package.group} |" in document
        assert re.sub("-(en|es|fr|it|ru)-", "-*-", package.name) in document
