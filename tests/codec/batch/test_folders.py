"""Whole folders through ``lacuna compress`` and ``decompress``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import soundfile
from codec_helpers import Lacuna, Result, music, write_wav

import codec.batch.work
from codec.api import Codec
from codec.audio import AudioWriter, probe
from codec.batch.folders import Job, find_audio, find_files
from codec.batch.work import Outcome, compress_file
from codec.batch.workers import STOP_SECONDS
from codec.errors import AudioError
from codec.files import output_file
from codec.lac.reader import LacReader

GOOD = ["a.wav", "deep/er/b c [1].flac", "ünï/日本.ogg"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three recordings, a text that pretends to be one, and what nobody wants compressed."""
    root = tmp_path / "in"
    for i, name in enumerate(GOOD, 1):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_wav(root / name, seconds=0.25 * i)
    (root / "deep" / "text.wav").write_text("This is a shopping list. " * 20)
    (root / "notes.txt").write_text("not audio, and does not say so")
    (root / "._a.wav").write_text("what a Mac leaves on other people's disks")
    (root / ".trash").mkdir()
    write_wav(root / ".trash" / "old.wav")
    return root


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def lacs(names: list[str]) -> set[str]:
    return {str(Path(name).with_suffix(".lac").as_posix()) for name in names}


def json_lines(result: Result) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The objects of the files, by the name of the source, and the summary."""
    objects = [json.loads(line) for line in result.stdout.splitlines()]
    assert [list(o) == ["summary"] for o in objects] == [False] * (len(objects) - 1) + [True]
    return {Path(o["source"]).name: o for o in objects[:-1]}, objects[-1]["summary"]


def test_a_folder_keeps_its_structure(
    lacuna: Lacuna, folder: Path, tiny_path: Path, tmp_path: Path
):
    out = tmp_path / "new" / "out"
    result = lacuna("compress", folder, "--out-dir", out, "-m", tiny_path, "--workers", "1")
    assert result.code == 1
    assert files(out) == lacs(GOOD)
    error, summary = result.stderr.splitlines()
    assert error.startswith(f"lacuna: error: {folder / 'deep' / 'text.wav'} is not audio")
    size = sum((out / name).stat().st_size for name in files(out))
    assert summary == (
        f"3 compressed, 0 skipped, 1 failed; {size:,} bytes, "
        f"{size * 8 / 1.5 / 1000:.2f} kbps on average"
    )
    assert result.stdout == b""


def test_each_file_is_what_it_would_be_alone(
    lacuna: Lacuna, folder: Path, tiny_path: Path, tmp_path: Path
):
    out, options = tmp_path / "out", ("-m", tiny_path, "--kbps", "2")
    lacuna("compress", folder, "--out-dir", out, "--workers", "1", *options)
    for name in GOOD:
        assert lacuna("compress", folder / name, tmp_path / "one.lac", "-f", *options).code == 0
        alone = (tmp_path / "one.lac").read_bytes()
        assert (out / name).with_suffix(".lac").read_bytes() == alone


def test_a_second_run_does_what_is_missing(
    lacuna: Lacuna, folder: Path, tiny_path: Path, tmp_path: Path
):
    out = tmp_path / "out"
    command = ("compress", folder, "--out-dir", out, "-m", tiny_path, "--workers", "1")
    (folder / "deep" / "text.wav").unlink()
    (out / "deep" / "er").mkdir(parents=True)
    (out / "a.lac").write_bytes(b"there already")
    result = lacuna(*command)
    assert result.code == 0
    assert "2 compressed, 1 skipped, 0 failed" in result.stderr
    assert files(out) == lacs(GOOD)
    assert (out / "a.lac").read_bytes() == b"there already"
    result = lacuna(*command)
    assert (result.code, result.stderr) == (0, "0 compressed, 3 skipped, 0 failed\n")
    result = lacuna(*command, "--force")
    assert result.code == 0
    assert "3 compressed, 0 skipped, 0 failed" in result.stderr
    assert (out / "a.lac").read_bytes().startswith(b"LAC")


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


def test_a_single_file(lacuna: Lacuna, folder: Path, tiny_path: Path, tmp_path: Path):
    out = tmp_path / "out"
    options = ("--out-dir", out, "-m", tiny_path)
    assert lacuna("compress", folder / GOOD[1], *options).code == 0
    assert files(out) == {"b c [1].lac"}
    assert lacuna("decompress", out / "b c [1].lac", *options).code == 0
    assert files(out) == {"b c [1].lac", "b c [1].wav"}
    result = lacuna("compress", folder / "missing.wav", *options)
    assert result.code == 1
    assert result.stderr.count("missing.wav not found") == 1


def test_decompress_tells_damage_from_failure(
    lacuna: Lacuna, lac: Path, tiny_path: Path, tmp_path: Path
):
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    data = bytearray(lac.read_bytes())
    (root / "whole.lac").write_bytes(data)
    data[len(data) // 2] ^= 0xFF
    (root / "DAMAGED.LAC").write_bytes(data)
    command = ("decompress", root, "--out-dir", out, "-m", tiny_path, "--workers", "1", "--json")
    result = lacuna(*command)
    assert result.code == 3
    rows, summary = json_lines(result)
    assert rows["whole.lac"]["status"] == "done"
    assert rows["DAMAGED.LAC"]["status"] == "damaged"
    assert "are damaged and silent" in rows["DAMAGED.LAC"]["problems"][0]
    assert result.stderr.startswith(f"lacuna: warning: {root / 'DAMAGED.LAC'}: ")
    assert files(out) == {"whole.wav", "DAMAGED.damaged.wav"}
    assert rows["DAMAGED.LAC"]["target"] == str(out / "DAMAGED.damaged.wav")
    for name in files(out):
        assert soundfile.info(out / name).frames == LacReader(lac.read_bytes()).samples
    assert summary == {"done": 1, "damaged": 1, "skipped": 0, "failed": 0, "seconds": 14.336}

    (root / "none.lac").write_bytes(b"not a .lac file")
    result = lacuna(*command, "--force")
    assert result.code == 1
    rows, summary = json_lines(result)
    assert rows["none.lac"]["status"] == "failed"
    assert "not a .lac file" in rows["none.lac"]["problems"][0]
    assert (summary["done"], summary["damaged"], summary["failed"]) == (1, 1, 1)
    assert files(out) == {"whole.wav", "DAMAGED.damaged.wav"}


def test_what_is_damaged_is_not_finished_when_the_command_goes_on(
    lacuna: Lacuna, lac: Path, tiny_path: Path, tmp_path: Path
):
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    whole = lac.read_bytes()
    (root / "a.lac").write_bytes(whole[: len(whole) // 2] + b"?" + whole[len(whole) // 2 + 1 :])
    command = ("decompress", root, "--out-dir", out, "-m", tiny_path, "--workers", "1")
    first = lacuna(*command)
    (result,) = out.iterdir()
    (stamp, size) = result.stat().st_mtime_ns, result.stat().st_size
    again = lacuna(*command)
    assert (first.code, again.code) == (3, 3)
    for report in (first, again):
        assert "are damaged and silent" in report.stderr
        assert "0 decompressed, 1 damaged, 0 skipped, 0 failed" in report.stderr
    assert "a.damaged.wav is there already" in again.stderr
    assert (result.stat().st_mtime_ns, result.stat().st_size) == (stamp, size)

    (root / "a.lac").write_bytes(whole)  # fetched again
    assert lacuna(*command).code == 0
    assert files(out) == {"a.wav", "a.damaged.wav"}
    assert "0 decompressed, 1 skipped, 0 failed" in lacuna(*command).stderr


def test_damage_beside_what_is_wanted_does_not_matter(
    lacuna: Lacuna, lac: Path, tiny_path: Path, tmp_path: Path
):
    data = bytearray(lac.read_bytes())
    data[len(data) // 2] ^= 0xFF
    lac.write_bytes(data)
    out = tmp_path / "out"
    command = ("decompress", lac, "--out-dir", out, "-m", tiny_path, "--duration", "1")
    assert lacuna(*command).code == 0
    assert files(out) == {"in.wav"}


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


def test_tags_go_there_and_back(lacuna: Lacuna, tiny_path: Path, tmp_path: Path):
    tags = {"title": "Lücke", "artist": "A", "album": "B", "date": "1999", "comment": "C"}
    tags |= {"genre": "Jazz", "tracknumber": "3/12", "copyright": "D"}
    source, model = tmp_path / "a.flac", ("-m", tiny_path)
    with AudioWriter(source, 16000, 1, tags=tags) as writer:
        writer.write(music(0.3, 16000, 1))
    assert lacuna("compress", source, tmp_path / "a.lac", *model).code == 0
    for name in ("b.wav", "b.flac", "b.ogg", "b.caf"):
        result = lacuna("decompress", tmp_path / "a.lac", tmp_path / name, *model)
        assert result.code == 0
        assert "lost" not in result.stderr
        assert probe(tmp_path / name).tags == tags
    result = lacuna("decompress", tmp_path / "a.lac", tmp_path / "b.w64", *model)
    assert "cannot hold are lost: title, artist" in result.stderr
    folder = ("decompress", tmp_path / "a.lac", "--out-dir", tmp_path / "out", *model)
    assert lacuna(*folder).code == 0
    assert probe(tmp_path / "out" / "a.wav").tags == tags


def test_json(lacuna: Lacuna, folder: Path, tiny_path: Path, tmp_path: Path):
    out = tmp_path / "out"
    (out / "deep" / "er").mkdir(parents=True)
    (out / "deep" / "er" / "b c [1].lac").touch()
    command = ("compress", folder, "--out-dir", out, "-m", tiny_path, "--workers", "1", "--json")
    result = lacuna(*command)
    assert result.code == 1
    rows, summary = json_lines(result)
    assert {name: row["status"] for name, row in rows.items()} == {
        "a.wav": "done",
        "b c [1].flac": "skipped",
        "text.wav": "failed",
        "日本.ogg": "done",
    }
    size = (out / "a.lac").stat().st_size
    assert rows["a.wav"] == {
        "source": str(folder / "a.wav"),
        "target": str(out / "a.lac"),
        "status": "done",
        "seconds": 0.25,
        "bytes": size,
        "kbps": size * 8 / 0.25 / 1000,
        "at_finest": rows["a.wav"]["at_finest"],
        "problems": [],
    }
    total = size + rows["日本.ogg"]["bytes"]
    assert summary == {
        **{"done": 2, "damaged": 0, "skipped": 1, "failed": 1},
        **{"seconds": 1.0, "bytes": total, "kbps": total * 8 / 1000},
    }


def test_json_of_single_files(lacuna: Lacuna, lac: Path, tiny_path: Path, tmp_path: Path):
    out, source = tmp_path / "a.lac", write_wav(tmp_path / "a.wav")
    result = lacuna("compress", source, out, "-m", tiny_path, "--json")
    assert (result.code, result.stderr) == (0, "")
    rows, summary = json_lines(result)
    assert rows["a.wav"]["bytes"] == summary["bytes"] == out.stat().st_size
    result = lacuna("decompress", lac, tmp_path / "b.wav", "-m", tiny_path, "--json")
    rows, summary = json_lines(result)
    assert rows["in.lac"]["sample_rate"] == 16000
    assert rows["in.lac"]["seconds"] == summary["seconds"] == 7.168

    failed = lacuna("compress", source, out, "-m", tiny_path, "--json")
    assert failed.code == 1
    assert failed.stderr == f"lacuna: error: {out} already exists; " + (
        "use --force to replace it, or another name\n"
    )
    rows, summary = json_lines(failed)
    assert rows["a.wav"]["status"] == "failed"
    assert "already exists" in rows["a.wav"]["problems"][0]
    assert summary["failed"] == 1
    assert "both write to stdout" in lacuna.fails("compress", source, "-", "--json")


def test_a_recording_that_was_cut_short_is_a_warning(lacuna: Lacuna, tiny_path, tmp_path: Path):
    root = tmp_path / "in"
    root.mkdir()
    whole = write_wav(root / "cut.wav").read_bytes()
    (root / "cut.wav").write_bytes(whole[: len(whole) // 2])
    for command in (
        ("compress", root, "--out-dir", tmp_path / "out", "--workers", "1"),
        ("compress", root / "cut.wav", tmp_path / "cut.lac"),
    ):
        result = lacuna(*command, "-m", tiny_path, "--json")
        assert result.code == 0
        rows, _ = json_lines(result)
        (problem,) = rows["cut.wav"]["problems"]
        assert rows["cut.wav"]["status"] == "done"
        assert result.stderr == f"lacuna: warning: {problem}\n"


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


# ------------------------------------------------------------------------------- several processes


def compress_or_die(models: Any, job: Job, bar: Any = None, **options: Any) -> Outcome:
    """Takes the place of compress_file in the workers, which import it from here."""
    if "bad" in job.source:
        raise RuntimeError("a bug")
    if "killed" in job.source:
        os.kill(os.getpid(), signal.SIGKILL)
    return compress_file(models, job, **options)


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_a_worker_that_dies_costs_one_file(
    lacuna: Lacuna, folder: Path, tiny_path: Path, tiny_codec: Codec, tmp_path: Path, monkeypatch
):
    out = tmp_path / "out"
    for name in ("bad.wav", "killed.wav", "last.wav"):
        write_wav(folder / name)
    monkeypatch.setattr(codec.batch.work, "compress_file", compress_or_die)
    options = ("-m", tiny_path, "--workers", "2")
    result = lacuna("compress", folder, "--out-dir", out, "--json", *options)
    assert result.code == 1
    rows, summary = json_lines(result)
    assert (summary["done"], summary["failed"]) == (4, 3)
    assert "killed by SIGKILL" in rows["killed.wav"]["problems"][0]
    assert "RuntimeError: a bug" in rows["bad.wav"]["problems"][0]
    assert "not audio" in rows["text.wav"]["problems"][0]
    assert files(out) == lacs([*GOOD, "last.wav"])
    reader = LacReader((out / "last.lac").read_bytes())
    assert reader.header.latent_id.hex() == tiny_codec.latent_id
    assert reader.complete
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"lacuna: error: {folder}") for line in lines)


def write_forever(load: Any, job: Job, bar: Any = None, **options: Any) -> Outcome:
    with output_file(job.target, force=False):
        os.write(2, b"writing\n")  # at once: two processes print here
        time.sleep(60)
    raise AssertionError("not interrupted")


INTERRUPTED = """
import codec.batch.work
import test_folders
from codec.cli.program import main

codec.batch.work.compress_file = test_folders.write_forever
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_an_interrupt_ends_all_workers(folder: Path, tiny_path: Path, tmp_path: Path):
    out = tmp_path / "out"
    arguments = ("compress", folder, "--out-dir", out, "-m", tiny_path, "--workers", "2")
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
    )
    assert process.stderr is not None
    try:
        assert [process.stderr.readline() for _ in range(2)] == ["writing\n"] * 2
        assert len(files(out)) == 2, "temporary files"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        begin = time.perf_counter()
        rest = process.stderr.read()  # ends when the last process has
        seconds = time.perf_counter() - begin
        assert process.wait(timeout=20) == 128 + signal.SIGINT
    finally:
        process.kill()
    assert seconds < STOP_SECONDS, "they were killed, not asked to stop"
    assert "Traceback" not in rest
    assert files(out) == set()


def test_hidden_files_and_other_suffixes_are_left_out(folder: Path):
    found = find_files(folder, {".wav", ".txt"}, "file")
    names = [path.relative_to(folder).as_posix() for path in found]
    assert names == ["a.wav", "deep/text.wav", "notes.txt"]
    soundfile.write(folder / "LOUD.WAV", music(0.1, 16000, 1).T, 16000)
    assert folder / "LOUD.WAV" in find_files(folder, {".wav"}, "file")
