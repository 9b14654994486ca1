"""The page on generation: what is written by hand stays, and what was measured is replaced."""

from __future__ import annotations

from pathlib import Path

import generation_page as tool
import numpy as np
import pytest

from codec import audio
from codec.errors import LacunaError
from codec.evaluation.generated.labels import Labels


def test_only_what_is_below_the_marker_is_replaced() -> None:
    old = f"# Title\n\nBy hand.\n\n{tool.MARKER}\n\n| old |\n"
    new = tool.page(old, ("| one |\n", "\n| two |\n\n"))
    assert new == f"# Title\n\nBy hand.\n\n{tool.MARKER}\n\n| one |\n\n| two |\n"
    assert tool.page(new, ("| one |\n", "\n| two |\n\n")) == new
    with pytest.raises(LacunaError, match="has no line"):
        tool.page("# Title\n", ("| one |",))


def test_the_page_has_the_marker() -> None:
    page = (Path(__file__).parents[2] / tool.PAGE).read_text(encoding="utf-8")
    assert page.count(tool.MARKER) == 1


def test_paragraphs_are_wrapped_and_tables_are_not() -> None:
    long = "word " * 50
    text = f"{long}\n\n| {long}|\n    command {long}\n"
    first, *_, table, command = tool.wrapped(text).splitlines()
    assert len(first) <= 100
    assert table == f"| {long}|"
    assert command == f"    command {long}"


def test_the_first_files_of_each_class(tmp_path: Path) -> None:
    silence = np.zeros((1, 800), np.float32)
    names = [f"{label}_{n}.wav" for label in ("dog", "rain") for n in range(6)]
    for name in names:
        audio.write(tmp_path / name, silence, 8000)
    lines = [f"{name},{name.split('_')[0]}" for name in names[:7]]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,class", *lines]))
    labels = Labels([tmp_path], tmp_path / "manifest.csv")
    chosen = tool.first_of_each(tmp_path, labels)
    assert [*chosen] == [f"dog/dog_{n}.wav" for n in range(4)] + [
        f"rain/rain_{n}.wav" for n in range(4)
    ]
    folder = tool.link(tmp_path / "links", chosen)
    assert {labels.of(folder / name, folder) for name in chosen} == {"dog", "rain"}
    assert tool.link(folder, {"one/x.wav": tmp_path / "dog_0.wav"}) == folder
    assert [p.name for p in folder.rglob("*.wav")] == ["x.wav"]


def test_what_fails_is_named() -> None:
    assert tool.run("-c", "print('said')") == "said\n"
    with pytest.raises(LacunaError, match="raise SystemExit"):
        tool.run("-c", "raise SystemExit(3)")
