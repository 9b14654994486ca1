"""Folders: structure, going on, damage, JSON."""

from __future__ import annotations

from pathlib import Path

import soundfile
from codec_helpers import Lacuna, music, write_wav
from folder_helpers import GOOD, files, json_lines, lacs

from codec.audio import AudioWriter, probe
from codec.lac.reader import LacReader


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
