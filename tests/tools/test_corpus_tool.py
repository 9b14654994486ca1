"""tools/corpus.py from .deb to manifest: what stays, what goes, and that a rerun goes on."""

from __future__ import annotations

import csv
import errno
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import soundfile
from corpus import debian, joining, recordings
from corpus.packages import PACKAGES, Package
from corpus.recordings import read_folder
from corpus_helpers import RATE, sound
from cyclopts import App

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb here")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


@pytest.fixture
def run(
    corpus_tool: ModuleType,
    toy_package: Package,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., SimpleNamespace]:
    """``run(out, *options)``: the command, where toy-data is the only package there is."""
    monkeypatch.setattr(corpus_tool, "PACKAGES", (toy_package,))
    app = App(default_command=corpus_tool.main, result_action="return_value")

    def invoke(*words: object) -> SimpleNamespace:
        capsys.readouterr()
        code = 0
        try:
            app([str(word) for word in words])
        except SystemExit as ended:
            code = ended.code or 0
        return SimpleNamespace(exit_code=code, output="".join(capsys.readouterr()))

    return invoke


@pytest.fixture
def unpacked(tmp_path: Path, toy_tree: Path) -> Path:
    """OUT with the package unpacked in it already, and a .deb that need not be read."""
    out = tmp_path / "out"
    deb = out / "debs" / "toy-data_1_all.deb"
    deb.parent.mkdir(parents=True)
    deb.touch()
    shutil.copytree(toy_tree, out / "unpacked/toy-data")
    (out / "unpacked/toy-data/.unpacked").write_text(deb.name)
    return out


def test_only_what_may_and_can_be_learned_from_stays(
    unpacked: Path, run: Callable[..., object]
) -> None:
    result = run(unpacked)
    assert result.exit_code == 0, result.output
    rows = {row["path"]: row for row in rows_of(unpacked / "manifest.csv")}
    joined = next(path for path in rows if "effects" in path)
    assert set(rows) == {
        "train/piano/toy_album_a_long.flac",
        "train/piano/toy_album_a_named.flac",
        "dev/piano/toy_album_b_other.flac",
        joined,
    }
    for path, row in rows.items():
        info = soundfile.info(unpacked / path)
        assert float(row["seconds"]) == pytest.approx(info.duration, abs=1e-3)
        assert (int(row["sample_rate"]), int(row["channels"])) == (info.samplerate, info.channels)
        assert path.startswith(f"{row['split']}/{row['class']}/")
    named = rows["train/piano/toy_album_a_named.flac"]
    assert (named["licence"], named["author"]) == ("CC-BY-4.0", "Cy Author")
    assert named["source"] == "toy-data: usr/share/toy/music/album_a/named.flac"
    said = " ".join(result.output.split())
    for reason in ("near-duplicate", "duplicate", "silence", "narrower than", "licence: GPL-3+"):
        assert f"| {reason}" in said, reason
    assert "sounds/broken.wav cannot be decoded" in said


def test_short_clips_are_joined_and_every_one_can_be_found_again(
    unpacked: Path, run: Callable[..., object]
) -> None:
    run(unpacked)
    clips = rows_of(unpacked / "clips.csv")
    assert [row["source"].rpartition("/")[2] for row in clips] == [
        f"clip_{n}.wav" for n in range(4)
    ]
    samples, _ = soundfile.read(unpacked / clips[0]["path"], dtype="float32")
    for number, row in enumerate(clips):
        start = round(float(row["start"]) * RATE)
        clip = sound(10 + number, 1.5)
        first = np.flatnonzero(np.abs(clip) > 1e-3 * np.abs(clip).max())[0]
        taken = samples[start : start + RATE]
        assert np.abs(taken - clip[first : first + RATE]).max() < 1e-3


def test_a_second_run_measures_nothing_and_says_the_same(
    unpacked: Path, run: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(unpacked)
    before = (unpacked / "manifest.csv").read_bytes(), (unpacked / "clips.csv").read_bytes()

    def measured_twice(path: Path) -> None:
        raise AssertionError(f"{path} was measured twice")

    monkeypatch.setattr(recordings, "measure", measured_twice)
    second = run(unpacked)
    assert second.exit_code == 0, second.output
    assert second.output == first.output
    assert before == (
        (unpacked / "manifest.csv").read_bytes(),
        (unpacked / "clips.csv").read_bytes(),
    )


def test_a_line_that_a_stopped_run_left_half_written_is_measured_again(
    unpacked: Path, run: Callable[..., object]
) -> None:
    run(unpacked)
    ledger = unpacked / "measured.jsonl"
    before = (unpacked / "manifest.csv").read_bytes()
    ledger.write_bytes(ledger.read_bytes()[:-100])
    assert run(unpacked).exit_code == 0
    assert run(unpacked).exit_code == 0
    assert (unpacked / "manifest.csv").read_bytes() == before


def test_what_an_earlier_run_left_and_this_one_does_not_want_is_deleted(
    unpacked: Path, run: Callable[..., object]
) -> None:
    run(unpacked)
    stray = unpacked / "train/piano/mine.flac"
    soundfile.write(stray, sound(0, 1), RATE)
    gone = unpacked / "train/piano/toy_album_a_named.flac"
    (unpacked / "unpacked/toy-data/usr/share/toy/music/album_a/named.flac").unlink()
    run(unpacked)
    assert not gone.exists()
    assert stray.exists()  # no manifest ever named it


def test_a_folder_that_is_not_of_this_program_is_left_alone(
    tmp_path: Path, run: Callable[..., object]
) -> None:
    (tmp_path / "train").mkdir()
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "not of this program" in result.output
    assert not (tmp_path / "manifest.csv").exists()


@needs_dpkg
def test_a_deb_is_unpacked_with_the_recordings_in_its_archives(
    tmp_path: Path, toy_tree: Path, run: Callable[..., object]
) -> None:
    album = toy_tree / "usr/share/toy/music/album_b"
    with zipfile.ZipFile(album.parent / "album.zip", "w") as archive:
        archive.write(album / "other.flac", "album_b/other.flac")
        archive.writestr("readme.txt", "nothing to hear")
    shutil.rmtree(album)
    control = toy_tree / "DEBIAN/control"
    control.parent.mkdir()
    control.write_text(
        "Package: toy-data\nVersion: 1\nArchitecture: all\n"
        "Maintainer: A <a@example.org>\nDescription: toy\n"
    )
    debs = tmp_path / "cache"
    debs.mkdir()
    build = ["dpkg-deb", "--root-owner-group", "-b", str(toy_tree), str(debs / "toy-data_1.deb")]
    subprocess.run(build, check=True, capture_output=True)
    result = run(tmp_path / "out", "--debs", debs)
    assert result.exit_code == 0, result.output
    paths = {row["path"] for row in rows_of(tmp_path / "out/manifest.csv")}
    assert "dev/piano/toy_album_b_other.flac" in paths
    assert len(paths) == 4
    assert not list((tmp_path / "out/unpacked").rglob("readme.txt"))


@needs_dpkg
def test_packages_that_are_damaged_or_not_there_are_named_and_the_rest_goes_on(
    unpacked: Path,
    run: Callable[..., object],
    corpus_tool: ModuleType,
    toy_package: Package,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    absent, damaged = PACKAGES[0], PACKAGES[1]
    (unpacked / "debs" / f"{damaged.name}_1_all.deb").write_bytes(b"not a package")
    monkeypatch.setattr(corpus_tool, "PACKAGES", (absent, damaged, toy_package))

    def no_such_package(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        error = f"E: Unable to locate package {command[-1]}\n"
        return subprocess.CompletedProcess(command, 100, "", error)

    monkeypatch.setattr(debian.subprocess, "run", no_such_package)
    monkeypatch.setattr(debian.shutil, "which", lambda name: f"/usr/bin/{name}")
    result = run(unpacked)
    said = " ".join(result.output.split())
    assert result.exit_code == 0, result.output
    assert f"{absent.name}: E: Unable to locate package" in said
    assert f"{damaged.name}_1_all.deb is damaged" in said
    assert len(rows_of(unpacked / "manifest.csv")) == 4


def test_a_package_without_a_copyright_file_gives_nothing_and_is_named(
    unpacked: Path, run: Callable[..., object]
) -> None:
    (unpacked / "unpacked/toy-data/usr/share/doc/toy-data/copyright").unlink()
    result = run(unpacked)
    assert result.exit_code == 1
    assert "toy-data: its copyright file cannot be read" in " ".join(result.output.split())
    assert not rows_of(unpacked / "manifest.csv")


def test_without_apt_or_ffmpeg_the_way_to_get_them_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian.shutil, "which", lambda name: None)
    with pytest.raises(debian.PackageError, match=r"put toy-data_\*\.deb"):
        debian.fetch("toy-data", tmp_path)
    with pytest.raises(debian.PackageError, match="apt-get install ffmpeg"):
        debian._decode_g722([tmp_path / "prompt.g722"])


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here")
def test_g722_becomes_wav_and_what_is_not_g722_does_not_stop_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.g722").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "empty.g722").touch()
    debian._decode_g722(sorted(tmp_path.glob("*.g722")))
    for name in ("one", "two"):
        info = soundfile.info(tmp_path / f"{name}.wav")
        assert (info.samplerate, info.frames) == (16_000, 256 * 20 * 2)


def test_a_full_disk_gives_one_sentence_and_leaves_no_half_manifest(
    unpacked: Path, run: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(joining.soundfile, "write", full)
    result = run(unpacked)
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "is full" in result.output
    assert "goes on where it stopped" in result.output
    assert not (unpacked / "manifest.csv").exists()
    assert not list(unpacked.rglob("*.part*"))
    monkeypatch.undo()


def folder_with_manifest(folder: Path) -> Path:
    whole = sound(1, 30)  # the package's album_a/long.flac
    files = {
        "train/piano/free.flac": (sound(20, 6), "CC0-1.0"),
        "train/piano/gpl.flac": (sound(21, 6), "GPL-2.0+"),
        "valid/piano/cut.flac": (whole[RATE * 5 : RATE * 15], "CC-BY-SA-4.0"),
        "valid/piano/own.flac": (sound(22, 10), "GPL-3.0+"),
    }
    lines = ["path,class,group,licence,attribution,source"]
    for path, (samples, licence) in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / path, samples, RATE)
        lines.append(f"{path},piano,oldpiano,{licence},,orig/{Path(path).name}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_an_added_folder_gives_its_free_files_and_holds_out_its_validation_files(
    unpacked: Path, tmp_path: Path, run: Callable[..., object]
) -> None:
    folder = folder_with_manifest(tmp_path / "mine")
    text = tmp_path / "ATTRIBUTION.md"
    result = run(unpacked, "--add", folder, "--attribution", text)
    assert result.exit_code == 0, result.output
    paths = {row["path"] for row in rows_of(unpacked / "manifest.csv")}
    assert "train/piano/oldpiano_piano_free.flac" in paths
    assert not any("gpl" in path or "cut" in path or "own" in path for path in paths)
    # the track that a validation file is cut from must not be trained on
    assert "train/piano/toy_album_a_long.flac" not in paths
    held_out = {row["path"]: row["where"] for row in rows_of(unpacked / "held_out.csv")}
    cut = held_out["valid/piano/cut.flac"]
    assert cut.startswith("cut from Debian package toy-data: usr/share/toy/music/album_a/long.flac")
    assert cut.endswith((", from 5.0 s", ", from 4.9 s"))
    assert "cannot be fetched by this program" in held_out["valid/piano/own.flac"]
    said = text.read_text()
    assert "Piotr Barcz" in said
    assert "| toy | Debian package toy-data | CC-BY-4.0 | Cy Author |" in said
    assert "gpl" not in said.lower().replace("under the gpl alone", "")


@pytest.mark.parametrize(
    ("manifest", "complaint"),
    [
        (None, "a folder needs a manifest"),
        ("path,class\n", "lacks the columns group, licence"),
        ("path,class,group,licence\nx.wav,a,b,CC0\n", "x.wav for one"),
        ("path,class,group,licence\n../x.wav,a,b,CC0\n", "has to be inside the folder"),
        ("path,class,group,licence\nx.wav,../../a,b,CC0\n", "a class a plain word"),
    ],
)
def test_a_folder_without_a_proper_manifest_is_refused_in_one_sentence(
    tmp_path: Path, run: Callable[..., object], manifest: str | None, complaint: str
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    if manifest is not None:
        (folder / "manifest.csv").write_text(manifest)
    with pytest.raises(ValueError, match=complaint):
        read_folder(folder)
    result = run(tmp_path / "out", "--add", folder)
    assert result.exit_code == 1
    assert complaint in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_an_unknown_package_is_refused_and_the_known_ones_named(
    tmp_path: Path, run: Callable[..., object]
) -> None:
    result = run(tmp_path / "out", "--package", "toi-data")
    assert result.exit_code == 2
    assert "toy-data" in result.output
    assert not (tmp_path / "out").exists()


def test_nothing_from_a_file_reaches_the_terminal_raw(
    unpacked: Path, run: Callable[..., object]
) -> None:
    text = unpacked / "unpacked/toy-data/usr/share/doc/toy-data/copyright"
    text.write_text(text.read_text().replace("GPL-3+", "GPL-3+\x1b[31m[bold]"))
    broken = unpacked / "unpacked/toy-data/usr/share/toy/sounds"
    (broken / "broken.wav").rename(broken / "bro\x1b[31mken.wav")
    result = run(unpacked)
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    assert "licence: GPL-3+?[31m[bold]" in " ".join(result.output.split())


def test_every_package_leaves_something_out_for_the_dev_split() -> None:
    with_dev = [package for package in PACKAGES if package.dev != "^$"]
    speech = [package for package in PACKAGES if package.group.startswith("asterisk_")]
    assert sum(package in with_dev for package in speech) == 1  # one speaker of five packages
    assert len(with_dev) == len(PACKAGES) - len(speech) + 1
