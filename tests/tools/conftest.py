"""A tiny Debian package with one file of each kind that the corpus tool has to tell apart."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from corpus_helpers import RATE, narrow, sound

TOOLS = Path(__file__).parents[2] / "tools"
sys.path.append(str(TOOLS))

if TYPE_CHECKING:
    from corpus.packages import Package

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: toy

Files: *
Copyright: 2010, The Toy Team <toy@example.org>
License: GPL-3+

Files: data/music/*
Copyright: 2011-2012 Ann Author
           2013 Bo Author
License: CC-BY-SA-3.0

Files: data/music/album_a/named.flac
Copyright: 2014 Cy Author
License: GPL-2 or CC-BY-4.0

Files: data/sounds/*
Copyright: Di Author
License: CC0
"""


@pytest.fixture
def toy_package() -> Package:
    from corpus.packages import Package

    return Package(
        "toy-data",
        "toy",
        "usr/share/toy/",
        "data/",
        ((r"/stray", ""), (r"music/", "piano"), (r"album_|^sounds/", "effects")),
        r"album_b/",
    )


@pytest.fixture
def toy_tree(tmp_path: Path) -> Path:
    """The package unpacked: two albums, clips, and everything that has to be left out."""
    tree = tmp_path / "toy-data"
    text = tree / "usr/share/doc/toy-data/copyright"
    text.parent.mkdir(parents=True)
    text.write_text(COPYRIGHT)
    root = tree / "usr/share/toy"
    for folder in ("music/album_a", "music/album_b", "sounds", "gpl"):
        (root / folder).mkdir(parents=True)
    long = sound(1, 30)
    files = {
        "music/album_a/long.flac": long,
        "music/album_a/named.flac": sound(2, 14),
        "music/album_a/same_again.flac": long,
        "music/album_a/excerpt.ogg": long[RATE * 10 : RATE * 24],
        "music/album_a/silent.flac": np.zeros(RATE * 14, np.float32),
        "music/album_a/narrow.flac": narrow(sound(3, 14)),
        "music/album_b/other.flac": sound(4, 14),
        "music/stray.flac": sound(5, 14),
        "gpl/album_c.flac": sound(6, 14),
        **{f"sounds/clip_{n}.wav": sound(10 + n, 1.5) for n in range(4)},
    }
    for name, samples in files.items():
        soundfile.write(root / name, samples, RATE)
    (root / "sounds/broken.wav").write_bytes(b"RIFF no audio")
    return tree


@pytest.fixture(scope="session")
def corpus_tool() -> ModuleType:
    """tools/corpus.py as a module."""
    spec = importlib.util.spec_from_file_location("corpus_tool", TOOLS / "corpus.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
