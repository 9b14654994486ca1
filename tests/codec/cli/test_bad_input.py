"""Bad and odd input through the command line: one line, an exit code, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from codec_helpers import Lacuna, music, write_wav
from safetensors.numpy import save_file

from codec.audio import AudioWriter


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder for outputs; whatever a failed command leaves in it is a bug."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


# ---------------------------------------------------------------------------- audio that is none


def _text(path: Path) -> None:
    path.write_text("This is a shopping list. " * 20)


def _header_only(path: Path) -> None:
    soundfile.write(path, np.zeros(0), 16000)


def _nan(path: Path) -> None:
    samples = np.zeros(1000)
    samples[500] = np.nan
    soundfile.write(path, samples, 16000, subtype="FLOAT")


def _overflowing(path: Path) -> None:
    soundfile.write(path, np.full(1000, 1e30), 16000, subtype="FLOAT")


BAD_AUDIO: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing.wav": (lambda path: None, "not found; check the path"),
    "folder.wav": (lambda path: path.mkdir(), "is a folder, expected an audio file"),
    "text.wav": (_text, "not audio, or of a format that is not supported"),
    "empty.wav": (lambda path: path.touch(), "holds 0 bytes"),
    "header.wav": (_header_only, "holds 0 samples"),
    "cut.flac": (lambda path: path.write_bytes(b"fLaC" + bytes(40)), "cut.flac"),
    "nan.wav": (_nan, "channel 1 holds nan at 0.031250 s"),
    "overflow.wav": (_overflowing, "scale the audio down"),
}


@pytest.mark.parametrize("name", BAD_AUDIO)
@pytest.mark.parametrize(("command", "suffix"), [("compress", ".lac"), ("encode", ".safetensors")])
def test_what_is_not_sound(
    lacuna: Lacuna, name: str, command: str, suffix: str, tiny_path: Path, tmp_path, out: Path
):
    make, message = BAD_AUDIO[name]
    make(tmp_path / name)
    error = lacuna.fails(command, tmp_path / name, out / f"a{suffix}", "-m", tiny_path)
    assert message in error
    assert list(out.iterdir()) == []


def test_nothing_on_standard_input(lacuna: Lacuna, tiny_path: Path, out: Path):
    assert "0 bytes" in lacuna.fails("compress", "-", out / "a.lac", "-m", tiny_path)
    error = lacuna.fails("decompress", "-", out / "a.wav", "-m", tiny_path, code=3)
    assert "not a .lac file" in error
    assert list(out.iterdir()) == []


# ---------------------------------------------------------------------- audio that is merely odd


@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        (np.full((1, 1), 0.5, np.float32), 16000),
        (np.zeros((2, 20000), np.float32), 44100),
        (np.clip(50 * music(0.5, 16000, 2), -1, 1), 16000),
        (music(0.5, 8000, 1), 8000),
        (music(0.5, 192000, 1), 192000),
        (music(0.5, 48000, 6), 48000),
    ],
    ids=["one sample", "silent", "clipped", "8 kHz", "192 kHz", "six channels"],
)
def test_odd_sound_works(
    lacuna: Lacuna, samples: np.ndarray, rate: int, tiny_path: Path, tmp_path: Path, out: Path
):
    soundfile.write(tmp_path / "in.wav", samples.T, rate)
    result = lacuna("compress", tmp_path / "in.wav", out / "a.lac", "-m", tiny_path)
    assert result.code == 0, result
    result = lacuna("decompress", out / "a.lac", out / "a.wav", "-m", tiny_path)
    assert result.code == 0, result
    decoded, decoded_rate = soundfile.read(out / "a.wav", always_2d=True)
    assert decoded.T.shape == samples.shape
    assert decoded_rate == rate
    assert np.abs(decoded).max() <= 1
    assert decoded.any() == samples.any()


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_cut_sound_is_used_with_a_warning(
    lacuna: Lacuna, suffix: str, tiny_path: Path, tmp_path: Path, out: Path
):
    source = write_wav(tmp_path / f"in{suffix}", 6.0)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2])
    result = lacuna("compress", source, out / "a.lac", "-m", tiny_path)
    assert result.code == 0
    warning = result.stderr.splitlines()[0]
    assert warning.startswith("lacuna: warning: ")
    assert "cut short or damaged" in warning
    assert ".py" not in result.stderr
    lacuna("decompress", out / "a.lac", out / "a.wav", "-m", tiny_path)
    assert 1.0 < soundfile.info(out / "a.wav").duration < 5.0


# ------------------------------------------------------------------------------- .lac files


def test_a_flipped_bit_costs_its_block(lacuna: Lacuna, lac: Path, tiny_path: Path, out: Path):
    lacuna("decompress", lac, out / "whole.wav", "-m", tiny_path)
    data = bytearray(lac.read_bytes())
    data[len(data) // 2] ^= 4
    lac.write_bytes(data)
    result = lacuna("decompress", lac, out / "a.wav", "-m", tiny_path)
    assert result.code == 3
    (warning,) = (line for line in result.stderr.splitlines() if "warning" in line)
    assert "s are damaged and silent" in warning
    whole, _ = soundfile.read(out / "whole.wav")
    rest, _ = soundfile.read(out / "a.wav")
    assert rest.shape == whole.shape
    assert 0.5 < np.mean(rest == whole) < 0.9
    assert lacuna("verify", lac).code == 3


def test_a_cut_file_gives_what_is_left(lacuna: Lacuna, lac: Path, tiny_path: Path, out: Path):
    data = lac.read_bytes()
    lac.write_bytes(data[: len(data) // 2])
    result = lacuna("decompress", lac, out / "a.wav", "-m", tiny_path)
    assert result.code == 3
    assert "the end of the file is damaged or missing" in result.stderr
    assert soundfile.info(out / "a.wav").duration > 2
    text = lacuna("info", lac).stdout.decode()
    assert "unknown: the end of the file is lost" in text


@pytest.mark.parametrize("command", ["decompress", "info", "verify"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a .lac file"),
        (b"A text that somebody renamed.", "not a .lac file"),
        (b"LAC\x1a", "inside its header"),
        (b"LAC\x1a\x09" + bytes(60), "version 9"),
        (b"LAC\x1a\x03\x00\x40\x00" + bytes(60), "header is damaged"),
    ],
)
def test_what_is_no_lac_file(
    lacuna: Lacuna, command: str, content: bytes, message: str, tiny_path, tmp_path, out: Path
):
    (tmp_path / "bad.lac").write_bytes(content)
    arguments = (out / "a.wav", "-m", tiny_path) if command == "decompress" else ()
    assert message in lacuna.fails(command, tmp_path / "bad.lac", *arguments, code=3)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("command", ["decompress", "info", "verify"])
def test_a_lac_file_that_is_not_there(
    lacuna: Lacuna, command: str, tiny_path: Path, tmp_path: Path, out: Path
):
    arguments = (out / "a.wav", "-m", tiny_path) if command == "decompress" else ()
    assert "not found" in lacuna.fails(command, tmp_path / "missing.lac", *arguments)
    assert str(tmp_path) in lacuna.fails(command, tmp_path, *arguments)


def test_only_the_header_is_left(lacuna: Lacuna, lac: Path, tiny_path: Path, out: Path):
    data = lac.read_bytes()
    lac.write_bytes(data[: int.from_bytes(data[6:8], "little")])
    assert "no sound" in lacuna.fails("decompress", lac, out / "a.wav", "-m", tiny_path, code=3)
    assert list(out.iterdir()) == []


# ----------------------------------------------------------------------------------- models


def test_another_models_file_names_both(
    lacuna: Lacuna, tiny_codec, tiny_stereo_codec, tiny_path: Path, tmp_path: Path, out: Path
):
    (tmp_path / "other.lac").write_bytes(tiny_stereo_codec.compress(music(0.5, 16000, 2), 16000))
    source, target = tmp_path / "other.lac", out / "a.wav"
    error = lacuna.fails("decompress", source, target, "-m", tiny_path, code=3)
    assert tiny_codec.coding_id in error
    assert tiny_stereo_codec.coding_id in error
    assert list(out.iterdir()) == []


def test_what_is_no_model(lacuna: Lacuna, lac: Path, tmp_path: Path, out: Path):
    wav = write_wav(tmp_path / "in.wav")
    text = tmp_path / "text.safetensors"
    text.write_text("no weights")
    other = tmp_path / "other.safetensors"
    save_file({"weight": np.zeros(3)}, other, {"format": "pt"})
    for model, message in (
        ("nonesuch", "no model 'nonesuch'"),
        (text, "not a safetensors file"),
        (other, "its format is 'pt', expected 'lacuna-codec-2'"),
        (tmp_path, "no model"),
    ):
        for arguments in (
            ("compress", wav, out / "a.lac"),
            ("decompress", lac, out / "a.wav"),
            ("encode", wav, out / "a.safetensors"),
        ):
            assert message in lacuna.fails(*arguments, "-m", model)
    assert list(out.iterdir()) == []


def test_latents_that_are_none(lacuna: Lacuna, tiny_path: Path, tmp_path: Path, out: Path):
    (tmp_path / "z.safetensors").write_text("no latents")
    for source, message in (
        (tmp_path / "missing.safetensors", "not found"),
        (tmp_path / "z.safetensors", "not a file of latents"),
        (tiny_path, "not a file of latents"),
    ):
        assert message in lacuna.fails("decode", source, out / "a.wav", "-m", tiny_path)
    assert list(out.iterdir()) == []


# ----------------------------------------------------------------------------------- options


@pytest.mark.parametrize("device", ["abacus", "cuda:99", "meta", ""])
def test_bad_device(lacuna: Lacuna, device: str, tiny_path: Path, tmp_path: Path, out: Path):
    source = write_wav(tmp_path / "in.wav")
    options = ("-m", tiny_path, "--device", device)
    error = lacuna.fails("compress", source, out / "a.lac", *options)
    assert f"cannot use device '{device}'" in error
    assert "try --device cpu" in error
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("kbps", ["0", "-1", "nan"])
def test_bad_kbps(lacuna: Lacuna, kbps: str, tiny_path: Path, tmp_path: Path, out: Path):
    source = write_wav(tmp_path / "in.wav")
    options = ("-m", tiny_path, f"--kbps={kbps}")
    assert "is not a bit rate" in lacuna.fails("compress", source, out / "a.lac", *options)
    assert list(out.iterdir()) == []


def test_kbps_below_the_range(lacuna: Lacuna, tiny_path: Path, tmp_path: Path, out: Path):
    source = write_wav(tmp_path / "in.wav", 6.0)
    options = ("-m", tiny_path, "--kbps", "0.1")
    error = lacuna.fails("compress", source, out / "a.lac", *options)
    assert "0.1 kbps is below what this model reaches on this audio: choose between 0." in error
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--start", "99"], "the file has 7.168 s"),
        (["--start=-1"], "start -1 s, expected 0 or more"),
        (["--start", "nan"], "start nan s"),
        (["--duration", "0"], "nothing to decode"),
        (["--duration=-2"], "duration -2 s"),
        (["--bits", "8"], "expected 16, 24 or float"),
    ],
)
def test_bad_decompress_options(
    lacuna: Lacuna, lac: Path, options: list[str], message: str, tiny_path: Path, out: Path
):
    assert message in lacuna.fails("decompress", lac, out / "a.wav", "-m", tiny_path, *options)
    assert list(out.iterdir()) == []


# ----------------------------------------------------------------------------------- outputs


def test_bad_outputs(lacuna: Lacuna, lac: Path, tiny_path: Path, tmp_path: Path, out: Path):
    wav = write_wav(tmp_path / "in.wav")
    latents = tmp_path / "z.safetensors"
    assert lacuna("encode", wav, latents, "-m", tiny_path).code == 0
    for arguments, message in (
        (("compress", wav, out / "nowhere" / "a.lac"), "there is no folder"),
        (("compress", wav, out / "a.wav"), "ends in .lac"),
        (("compress", wav, out), "ends in .lac"),
        (("decompress", lac, out / "nowhere" / "a.wav"), "there is no folder"),
        (("decompress", lac, out / "a.xyz"), "suffix '.xyz'"),
        (("decompress", lac, out / "a"), "suffix ''"),
        (("encode", wav, out / "nowhere" / "z.safetensors"), "there is no folder"),
        (("encode", wav, out / "z.npy"), "ends in .safetensors"),
        (("encode", wav, "-"), "ends in .safetensors"),
        (("decode", latents, out / "a.xyz"), "suffix '.xyz'"),
    ):
        assert message in lacuna.fails(*arguments, "-m", tiny_path), arguments
    assert list(out.iterdir()) == []


def test_the_input_is_never_the_output(lacuna: Lacuna, lac: Path, tiny_path: Path, tmp_path: Path):
    disguised = tmp_path / "sound.lac"  # libsndfile looks at the content, not at the name
    shutil.copy(write_wav(tmp_path / "in.wav"), disguised)
    link = tmp_path / "link.wav"
    link.symlink_to(lac)
    sources = {
        "compress": (disguised, disguised),
        "decompress": (lac, link),
        "encode": (tmp_path / "in.wav", tmp_path / "in.wav"),
        "decode": (tmp_path / "in.wav", tmp_path / "." / "in.wav"),
    }
    for command, (source, target) in sources.items():
        before = source.read_bytes()
        error = lacuna.fails(command, source, target, "-m", tiny_path, "--force")
        assert "is the input; give the output another name" in error
        assert source.read_bytes() == before


def test_a_full_disk_or_a_lost_folder_is_one_line(
    lacuna: Lacuna, monkeypatch, tiny_path: Path, tmp_path: Path, out: Path
):
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "a.lac")

    monkeypatch.setattr("codec.lac.writer.LacWriter.close", full)
    source = write_wav(tmp_path / "in.wav")
    error = lacuna.fails("compress", source, out / "a.lac", "-m", tiny_path)
    assert error == "lacuna: error: 'a.lac': No space left on device"
    assert list(out.iterdir()) == []


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_names_that_are_not_unicode(lacuna: Lacuna, tiny_path: Path, tmp_path: Path):
    root = tmp_path / "in"
    root.mkdir()
    wav, lac, latents = (
        os.fsdecode(os.fsencode(root) + name)
        for name in (b"/g\xe9.wav", b"/h\xff.lac", b"/\xe8.safetensors")
    )
    os.rename(write_wav(root / "a.wav", seconds=0.2), wav)
    model = ("-m", tiny_path)
    for command in (
        ("compress", wav, lac, *model),
        ("info", lac),
        ("info", lac, "--json"),
        ("verify", lac),
        ("decompress", lac, wav, "--force", *model),
        ("encode", wav, latents, *model),
        ("decode", latents, wav, "--force", *model),
        ("compress", root, "--out-dir", tmp_path / "out", "--workers", "1", *model),
        ("decompress", root, "--out-dir", tmp_path / "out", "--workers", "1", "--json", *model),
    ):
        result = lacuna(*command)
        assert result.code == 0, result
        assert "Traceback" not in result.stderr
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize("command", ["info", "verify", "decompress", "compress"])
def test_no_name_is_a_command_to_the_terminal(
    lacuna: Lacuna, command: str, tiny_path: Path, tmp_path: Path
):
    name = tmp_path / "a\x1b]0;owned\x07\x1b[2J\u202e.lac"
    name.write_bytes(b"LAC\x1a\x03\x00\x40\x00" + bytes(60))
    out = (tmp_path / "out\x1b[1m.lac", "-m", tiny_path) if "compress" in command else ()
    result = lacuna(command, name, *out)
    assert result.code != 0
    for shown in (result.stderr, result.stdout.decode()):
        assert not any(c in shown for c in "\x1b\x07\u202e")
    folder = lacuna("decompress", tmp_path, "--out-dir", tmp_path / "o\x1b", "--workers", "1")
    assert "\x1b" not in folder.stderr


def test_tags_are_no_commands_to_the_terminal(lacuna: Lacuna, tiny_path: Path, tmp_path: Path):
    with AudioWriter(tmp_path / "a.flac", 16000, 1, tags={"title": "\x1b[2J\nforged: yes"}) as w:
        w.write(np.zeros((1, 1600), np.float32))
    model = ("-m", tiny_path)
    assert lacuna("compress", tmp_path / "a.flac", tmp_path / "a.lac", *model).code == 0
    lines = lacuna("info", tmp_path / "a.lac").stdout.decode().splitlines()
    assert "  title: ?[2J?forged: yes" in lines


@pytest.mark.parametrize("huge", ["1e305", "inf"])
def test_huge_numbers(lacuna: Lacuna, lac: Path, tiny_path: Path, tmp_path: Path, huge: str):
    out, model = tmp_path / "out.wav", ("-m", tiny_path)
    source = write_wav(tmp_path / "a.wav", seconds=0.1)
    for command in (
        ("decompress", lac, out, "--force", *model, "--duration", huge),
        ("decompress", lac, out, "--force", *model, "--start", huge),
        ("compress", source, tmp_path / "a.lac", "--force", *model, "--kbps", huge),
        ("compress", source, tmp_path / "a.lac", "--force", *model, "--max-kbps", huge),
        ("compress", source, tmp_path / "a.lac", "--force", *model, "--quality", huge),
    ):
        result = lacuna(*command)
        assert "Traceback" not in result.stderr
        assert result.code in (0, 1)
