"""Files are written whole or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from codec.errors import LacunaError
from codec.files import atomic_path, output_file, read_bytes


def write_half(target: Path, error: type[BaseException]) -> None:
    with atomic_path(target, force=True) as temporary:
        temporary.write_bytes(b"half")
        raise error


def test_file_appears_only_after_success(tmp_path: Path) -> None:
    target = tmp_path / "a.lac"
    with atomic_path(target, force=False) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.suffix == ".lac"
        assert temporary.parent == tmp_path
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.lac"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        write_half(tmp_path / "a.lac", error)
    assert os.listdir(tmp_path) == []


def test_failure_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.lac"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_half(target, KeyboardInterrupt)
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.lac"]


def test_replaces_only_with_force(tmp_path: Path) -> None:
    target = tmp_path / "a.lac"
    target.write_bytes(b"old")
    with pytest.raises(LacunaError, match="--force"), atomic_path(target, force=False):
        pytest.fail("the body must not run")
    with atomic_path(target, force=True) as temporary:
        temporary.write_bytes(b"new")
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "is a folder"), ("missing/a.lac", "no folder"), ("file/a.lac", "no folder")],
)
def test_impossible_targets_are_refused_at_once(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LacunaError, match=message), atomic_path(tmp_path / name, force=True):
        pytest.fail("the body must not run")


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="needs a device file")
def test_device_is_not_replaced() -> None:
    with pytest.raises(LacunaError, match="ordinary file"), atomic_path("/dev/null", force=True):
        pytest.fail("the body must not run")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_read_only_folder_is_refused_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(LacunaError, match="cannot write"):
            atomic_path(tmp_path / "a.lac", force=False).__enter__()
    finally:
        tmp_path.chmod(0o700)


def test_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    with atomic_path(tmp_path / "a.lac", force=False):
        pass
    assert (tmp_path / "a.lac").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_symbolic_link_survives(tmp_path: Path) -> None:
    (tmp_path / "real.lac").write_bytes(b"old")
    link = tmp_path / "link.lac"
    link.symlink_to(tmp_path / "real.lac")
    with atomic_path(link, force=True) as temporary:
        temporary.write_bytes(b"new")
    assert link.is_symlink()
    assert (tmp_path / "real.lac").read_bytes() == b"new"


def test_a_file_that_appears_meanwhile_is_left_alone(tmp_path: Path):
    """Two runs have one target and no --force: the later one does not replace the other's."""
    target = tmp_path / "out.bin"
    later = atomic_path(target, force=False)
    later.__enter__().write_bytes(b"later")
    with atomic_path(target, force=False) as first:
        first.write_bytes(b"first")
    with pytest.raises(LacunaError, match=r"made by another program.*--force"):
        later.__exit__(None, None, None)
    assert target.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_a_disk_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "out.bin"
    with atomic_path(target, force=False) as partial:
        partial.write_bytes(b"first")
    with (
        pytest.raises(LacunaError, match="made by another program"),
        atomic_path(tmp_path / "new", force=False) as partial,
    ):
        (tmp_path / "new").write_bytes(b"theirs")
    assert target.read_bytes() == b"first"
    assert (tmp_path / "new").read_bytes() == b"theirs"
    assert sorted(os.listdir(tmp_path)) == ["new", "out.bin"]


def test_closed_streams_are_named(monkeypatch: pytest.MonkeyPatch):
    """Python sets them to None where a program is started with them closed."""
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(LacunaError, match=r"standard input .* is closed"):
        read_bytes("-")
    with (
        pytest.raises(LacunaError, match=r"standard output .* is closed"),
        output_file("-", force=False),
    ):
        pytest.fail("the work was done before it was known that it is in vain")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_a_name_that_is_not_unicode_reaches_a_message_without_its_bytes(tmp_path: Path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/g\xe9\x1b[31m.lac")
    with pytest.raises(LacunaError, match=r"g\?\?\[31m\.lac not found"):
        read_bytes(name)
    with atomic_path(name, force=False) as partial:
        partial.write_bytes(b"x")
    with (
        pytest.raises(LacunaError, match=r"g\?\?\[31m\.lac already exists"),
        atomic_path(name, force=False),
    ):
        pass
    assert read_bytes(name) == b"x"
