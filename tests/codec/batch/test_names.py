"""Which files of a folder are taken, and that nothing is written over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import soundfile
from codec_helpers import Lacuna, music, write_wav
from folder_helpers import GOOD, files, lacs

from codec.batch.folders import find_audio, find_files
from codec.errors import AudioError
from codec.lac.reader import LacReader


def test_nothing_is_written_over_by_a_name_that_clashes(
    lacuna: Lacuna, tiny_path: Path, tmp_path: Path
):
    root, out = tmp_path / "in", tmp_path / "out"
    (root / "sub").mkdir(parents=True)
    expected = {
        "song.wav": "song.wav.lac",
        "song.flac": "song.flac.lac",
        "song.wav.wav": "song.wav.wav.lac",  # song.wav.lac is taken
        "SONG.ogg": "SONG.ogg.lac",  # SONG.lac is song.lac on many disks
        "other.wav": "other.lac",
        "sub/song.wav": "sub/song.lac",
        "track.01.wav": "track.01.lac",
        "track.02.wav": "track.02.lac",
    }
    for i, name in enumerate(expected, 1):
        write_wav(root / name, seconds=0.1 * i)
    options = ("--out-dir", out, "-m", tiny_path, "--workers", "1")
    assert lacuna("compress", root, *options).code == 0
    assert files(out) == set(expected.values())
    for i, name in enumerate(expected.values(), 1):
        assert LacReader((out / name).read_bytes()).samples == 1600 * i, name
    result = lacuna("compress", root, *options)
    assert "0 compressed, 8 skipped, 0 failed" in result.stderr


def test_results_inside_the_folder_are_not_compressed_again(
    lacuna: Lacuna, folder: Path, tiny_path: Path
):
    (folder / "deep" / "text.wav").unlink()
    options = ("-m", tiny_path, "--workers", "1")
    out = folder / "deep" / "out"
    out.mkdir()
    write_wav(out / "decoded.wav")
    assert lacuna("compress", folder, "--out-dir", out, *options).code == 0
    assert files(out) == lacs(GOOD) | {"decoded.wav"}
    result = lacuna("compress", folder, "--out-dir", folder, *options)  # beside the sources
    assert "4 compressed" in result.stderr
    assert lacs(GOOD) <= files(folder)


@pytest.mark.parametrize("linked", [False, True])
def test_force_never_replaces_originals(
    lacuna: Lacuna, tiny_path: Path, tmp_path: Path, linked: bool
):
    root = tmp_path / "music"
    (root / "sub").mkdir(parents=True)
    original = write_wav((tmp_path if linked else root / "sub") / "song.wav")
    if linked:
        (root / "sub" / "song.wav").symlink_to(original)
    before = original.read_bytes()
    options = ("--out-dir", root, "-m", tiny_path, "--workers", "1")
    assert lacuna("compress", root, *options).code == 0
    for source, out in ((root, root), (root / "sub" / "song.lac", root / "sub")):
        command = ("decompress", source, "--out-dir", out, "-m", tiny_path, "--force")
        assert "may be their originals" in lacuna.fails(*command)
    assert original.read_bytes() == before
    elsewhere = ("decompress", root, "--out-dir", tmp_path / "out", "-m", tiny_path)
    assert lacuna(*elsewhere, "--workers", "1").code == 0
    assert lacuna(*elsewhere, "--workers", "1", "--force").code == 0
    assert lacuna("compress", root, *options, "--force").code == 0  # .lac files are no originals


def test_links_are_followed_and_what_cannot_be_read_is_counted(
    lacuna: Lacuna, tiny_path: Path, tmp_path: Path
):
    root, elsewhere, out = tmp_path / "in", tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    write_wav(elsewhere / "far.wav", seconds=0.1)
    write_wav(elsewhere / "single.flac", seconds=0.1)
    root.mkdir()
    write_wav(root / "a.wav", seconds=0.1)
    soundfile.write(root / "b.aifc", music(0.1, 16000, 1).T, 16000, format="AIFF")
    (root / "folder").symlink_to(elsewhere)
    (root / "link.flac").symlink_to(elsewhere / "single.flac")
    (root / "around").symlink_to(root)  # would have no end
    (root / "broken.wav").symlink_to(tmp_path / "nowhere.wav")
    (root / "phone.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    result = lacuna("compress", root, "--out-dir", out, "-m", tiny_path, "--workers", "1")
    assert result.code == 1
    assert files(out) == {"a.lac", "b.lac", "folder/far.lac", "folder/single.lac", "link.lac"}
    assert "5 compressed, 0 skipped, 2 failed" in result.stderr
    assert f"{root / 'broken.wav'} is a link to what is not there" in result.stderr
    assert f"{root / 'phone.m4a'} is not audio, or of a format that is not supp" in result.stderr

    with pytest.warns(UserWarning, match=r"2 audio files are left out.*broken\.wav.*phone\.m4a"):
        found = find_audio(root)
    assert [path.name for path in found] == [
        "a.wav",
        "b.aifc",
        "far.wav",
        "single.flac",
        "link.flac",
    ]
    (elsewhere / "only").mkdir()
    (elsewhere / "only" / "x.m4a").touch()
    with pytest.raises(AudioError, match="none of the 1 audio files"):
        find_audio(elsewhere / "only")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path):
    write_wav(tmp_path / "a.wav")
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.warns(UserWarning, match="locked is left out: Permission denied"):
        assert [path.name for path in find_audio(tmp_path)] == ["a.wav"]


@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_what_cannot_be_meant(lacuna: Lacuna, command: str, lac: Path, tmp_path: Path):
    empty, out = tmp_path / "empty", tmp_path / "out"
    (empty / "sub").mkdir(parents=True)
    (empty / "notes.txt").touch()
    (empty / ".hidden.wav").touch()
    (empty / ".hidden.lac").touch()
    for arguments, expected in (
        ((empty,), "--out-dir"),
        ((empty, tmp_path / "a.lac"), "--out-dir"),
        ((empty, "--out-dir", out), f"file below '{empty}'"),
        ((lac,), "--out-dir"),
        ((lac, tmp_path / "x.wav", "--out-dir", out), "give one of them"),
        (("-", "--out-dir", out), "has no name"),
        ((empty, "--out-dir", lac), "is a file; give a folder"),
    ):
        assert expected in lacuna.fails(command, *arguments)
    assert not out.exists()


def test_a_wrong_option_is_one_error(lacuna: Lacuna, folder: Path, tmp_path: Path):
    command = ("compress", folder, "--out-dir", tmp_path / "out")
    assert "no model 'nonesuch'" in lacuna.fails(*command, "-m", "nonesuch")
    assert "cannot use device" in lacuna.fails(*command, "--device", "nonesuch")
    assert files(tmp_path / "out") == set()


def test_a_target_whose_place_is_taken(lacuna: Lacuna, folder: Path, tiny_path, tmp_path: Path):
    out = tmp_path / "out"
    (out / "a.lac").mkdir(parents=True)
    (out / "deep").write_text("a file where a folder should be")
    result = lacuna("compress", folder, "--out-dir", out, "-m", tiny_path, "--workers", "1")
    assert result.code == 1
    assert "1 compressed, 0 skipped, 3 failed" in result.stderr
    assert "a.lac is a folder" in result.stderr


def test_hidden_files_and_other_suffixes_are_left_out(folder: Path):
    found = find_files(folder, {".wav", ".txt"}, "file")
    names = [path.relative_to(folder).as_posix() for path in found]
    assert names == ["a.wav", "deep/text.wav", "notes.txt"]
    soundfile.write(folder / "LOUD.WAV", music(0.1, 16000, 1).T, 16000)
    assert folder / "LOUD.WAV" in find_files(folder, {".wav"}, "file")
