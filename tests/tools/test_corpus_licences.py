"""tools/corpus/licences.py: what may be learned from, and who is to be named for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from corpus.licences import CopyrightFile, choose
from corpus.packages import Package, Statement


@pytest.mark.parametrize(
    ("statement", "choice"),
    [
        ("GPL-3 or CC-BY-3.0", "CC-BY-3.0"),
        ("GPL-2+ OR CC-BY-SA", "CC-BY-SA"),
        ("CC-BY-SA-3.0 or CC-BY-3.0", "CC-BY-3.0"),
        ("CC-BY-SA-3.0+", "CC-BY-SA-3.0"),
        ("CC-BY-4.0 and CC-BY-SA-3.0", "CC-BY-4.0 AND CC-BY-SA-3.0"),
        ("public-domain", "Public-Domain"),
        ("PD", "Public-Domain"),
        ("CC0", "CC0-1.0"),
        ("zlib or GPL-2", "Zlib"),
        ("http://creativecommons.org/licenses/by-sa/3.0/", "CC-BY-SA-3.0"),
        ("CC-by-sa 3.0", "CC-BY-SA-3.0"),
        ("GPL", None),
        ("GPL-3+", None),
        ("LGPL-2.1+", None),
        ("GPL and CC-BY-SA", None),
        ("CC-BY-NC-3.0", None),
        ("CC-BY-NC-SA-3.0", None),
        ("CC-BY-ND-4.0", None),
        ("http://creativecommons.org/licenses/by-nc-sa/3.0/", None),
        ("http://creativecommons.org/licenses/sampling+/1.0/", None),
        ("All rights reserved", None),
        ("", None),
    ],
)
def test_the_freest_offer_is_taken_and_the_gpl_alone_is_not(
    statement: str, choice: str | None
) -> None:
    assert choose(statement) == choice


def test_an_entry_that_names_the_file_goes_before_folder_and_package(
    toy_tree: Path, toy_package: Package
) -> None:
    copyright_file = CopyrightFile(toy_tree, toy_package)
    folder = copyright_file.licence("data/music/album_a/long.flac", "", "")
    assert (folder.name, folder.author) == ("CC-BY-SA-3.0", "Ann Author; Bo Author")
    named = copyright_file.licence("data/music/album_a/named.flac", "", "")
    assert (named.name, named.author) == ("CC-BY-4.0", "Cy Author")
    assert copyright_file.licence("data/gpl/album_c.flac", "", "").name is None


def test_a_files_own_tag_goes_before_the_folder_but_not_before_its_own_entry(
    toy_tree: Path, toy_package: Package
) -> None:
    copyright_file = CopyrightFile(toy_tree, toy_package)
    tagged = copyright_file.licence("data/gpl/album_c.flac", "Eve", "CC-by-sa 3.0")
    assert (tagged.name, tagged.author) == ("CC-BY-SA-3.0", "Eve")
    assert copyright_file.licence("data/music/album_a/long.flac", "Eve", "GPL").name is None
    named = copyright_file.licence("data/music/album_a/named.flac", "Eve", "GPL")
    assert named.name == "CC-BY-4.0"


def test_patterns_that_begin_with_a_dot_match_too(toy_tree: Path, toy_package: Package) -> None:
    text = toy_tree / "usr/share/doc/toy-data/copyright"
    text.write_text(text.read_text().replace("Files: data/", "Files: ./data/"))
    copyright_file = CopyrightFile(toy_tree, toy_package)
    assert copyright_file.licence("data/music/album_a/named.flac", "", "").name == "CC-BY-4.0"
    assert copyright_file.licence("data/music/x.flac", "", "").name == "CC-BY-SA-3.0"
    assert copyright_file.licence("data/gpl/x.flac", "", "").name is None


def test_of_a_copyright_file_in_prose_only_the_files_tags_count(
    toy_tree: Path, toy_package: Package
) -> None:
    text = toy_tree / "usr/share/doc/toy-data/copyright"
    text.write_text("This package was made by somebody.\nMusic is CC-BY-SA, we think.\n")
    copyright_file = CopyrightFile(toy_tree, toy_package)
    assert copyright_file.licence("data/music/x.flac", "", "").name is None
    tag = "http://creativecommons.org/licenses/by-sa/3.0/"
    assert copyright_file.licence("data/music/x.flac", "Max", tag).name == "CC-BY-SA-3.0"


def test_a_statement_counts_only_while_the_text_it_rests_on_says_so(
    toy_tree: Path, toy_package: Package
) -> None:
    where = "usr/share/toy/gpl/license.txt"
    package = replace(
        toy_package, statements=(Statement("gpl/album", "CC-BY-SA-3.0", "Gil", where),)
    )
    path = "data/gpl/album_c.flac"
    assert CopyrightFile(toy_tree, package).licence(path, "", "").name is None
    (toy_tree / where).write_text("all rights reserved")
    assert CopyrightFile(toy_tree, package).licence(path, "", "").name is None
    (toy_tree / where).write_text("available under CC-BY-SA-3.0 or the GPL")
    licence = CopyrightFile(toy_tree, package).licence(path, "", "")
    assert (licence.name, licence.author) == ("CC-BY-SA-3.0", "Gil")
