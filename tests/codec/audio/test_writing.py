"""Writing audio: exact samples, plain headers, and nothing left behind when it fails."""

from __future__ import annotations

import io
import os
import struct
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from codec import audio
from codec.audio import AudioWriter, writing
from codec.errors import AudioError, LacunaError

RATE = 44_100


def noise(channels: int, samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.5, 0.5, (channels, samples)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".wav", ".w64", ".flac", ".aiff", ".caf", ".au"])
@pytest.mark.parametrize("bits", [16, 24])
def test_integers_survive_writing_exactly(tmp_path: Path, suffix: str, bits: int) -> None:
    path = tmp_path / f"a{suffix}"
    scale = 2 ** (bits - 1)
    integers = np.random.default_rng(0).integers(-scale, scale, (2, 10_000))
    integers[:, :4] = [-scale, scale - 1, -1, 0]
    x = (integers / scale).astype(np.float32)
    with AudioWriter(path, RATE, 2, str(bits)) as writer:
        for start in range(0, 10_000, 3_333):
            writer.write(x[:, start : start + 3_333])
    assert writer.clipped == 0
    assert soundfile.info(path).subtype == f"PCM_{bits}"
    assert np.array_equal(audio.read(path)[0], x)


@pytest.mark.parametrize("suffix", [".wav", ".w64", ".aiff", ".caf", ".au"])
def test_float_survives_writing_exactly(tmp_path: Path, suffix: str) -> None:
    x = 3 * noise(3, 1_000)
    assert audio.write(tmp_path / f"a{suffix}", x, RATE, "float") == 0
    assert np.array_equal(audio.read(tmp_path / f"a{suffix}")[0], x)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_integers_are_rounded_and_clipped(tmp_path: Path, suffix: str) -> None:
    x = np.array([[0.6, -0.6, 1.4, 32768.0, -32768.0, 32800.0, -65536.0, 1e9]]) / 32768
    clipped = audio.write(tmp_path / f"a{suffix}", x.astype(np.float32), RATE)
    y = soundfile.read(tmp_path / f"a{suffix}", dtype="int16")[0]
    assert y.tolist() == [1, -1, 1, 32767, -32768, 32767, -32768, 32767]
    assert clipped == 3


@pytest.mark.parametrize("suffix", [".ogg", ".opus", ".mp3"])
def test_lossy_formats_take_a_long_block(tmp_path: Path, suffix: str) -> None:
    """libsndfile's Vorbis encoder crashes the process when it gets this much at once."""
    t = np.arange(48_000 * 20) / 48_000
    x = 0.5 * np.stack([np.sin(2 * np.pi * 440 * t)] * 2).astype(np.float32)
    audio.write(tmp_path / f"a{suffix}", x, 48_000)
    y, _ = audio.read(tmp_path / f"a{suffix}")
    assert y.shape == x.shape
    assert np.corrcoef(x[0], y[0])[0, 1] > 0.99


@pytest.mark.parametrize(("bits", "subtype"), [(16, None), (24, "24")])
def test_wav_is_plain_riff(tmp_path: Path, bits: int, subtype: str | None) -> None:
    x = noise(2, 1_001)
    audio.write(tmp_path / "a.wav", x, RATE, subtype)
    # The standard library reads nothing but plain PCM WAV, and checks the sizes.
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getparams()[:4] == (2, bits // 8, RATE, 1_001)
        data = file.readframes(2_000)
    assert len(data) == 2 * 1_001 * bits // 8
    size = (tmp_path / "a.wav").stat().st_size
    assert struct.unpack("<I", (tmp_path / "a.wav").read_bytes()[4:8]) == (size - 8,)
    assert soundfile.info(tmp_path / "a.wav").format == "WAV"


def test_wav_beyond_32_bit_sizes_is_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_MAX_RIFF_SIZE", 1_000)  # instead of 4 GiB
    x = noise(2, 1_000)
    audio.write(tmp_path / "a.wav", x, RATE, "float")
    assert (tmp_path / "a.wav").read_bytes()[:4] == b"RF64"
    assert np.array_equal(audio.read(tmp_path / "a.wav")[0], x)


def test_writing_is_reproducible(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        audio.write(tmp_path / name, noise(1, 100), RATE, "float")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize(
    ("name", "rate", "channels", "subtype", "message"),
    [
        ("a.xyz", RATE, 1, None, r"'\.xyz', expected one of: \.wav"),
        ("a", RATE, 1, None, "expected one of"),
        ("a.flac", RATE, 1, "float", r"cannot hold subtype 'float', it has 16 or 24"),
        ("a.ogg", RATE, 1, "24", "no subtype to choose"),
        ("a.wav", RATE, 1, "32", "expected 16, 24 or float"),
        ("a.flac", RATE, 9, None, "9 channels"),
        ("a.opus", RATE, 1, None, "44100 Hz"),
    ],
)
def test_impossible_outputs_are_refused_and_leave_nothing(
    tmp_path: Path, name: str, rate: int, channels: int, subtype: str | None, message: str
) -> None:
    with pytest.raises(AudioError, match=message):
        audio.write(tmp_path / name, noise(channels, 10), rate, subtype)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (noise(2, 10), r"\(2, 10\), expected \(1, time\)"),
        (np.full((1, 10), np.nan, dtype=np.float32), r"channel 1 holds nan at 1\.000000 s"),
        (np.zeros((1, 10), dtype=np.int16), "int16, expected floating point"),
    ],
)
def test_bad_blocks_are_refused_and_leave_nothing(
    tmp_path: Path, block: np.ndarray, message: str
) -> None:

    def attempt() -> None:
        with AudioWriter(tmp_path / "a.wav", RATE, 1) as writer:
            writer.write(noise(1, RATE))
            writer.write(block)

    with pytest.raises(AudioError, match=message):
        attempt()
    assert os.listdir(tmp_path) == []


def test_interrupted_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    audio.write(path, noise(1, 100), RATE)
    before = path.read_bytes()
    with pytest.raises(LacunaError, match="--force"):
        audio.write(path, noise(1, 100), RATE)

    def attempt() -> None:
        with AudioWriter(path, RATE, 1, force=True) as writer:
            writer.write(noise(1, 50, seed=1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt()
    assert os.listdir(tmp_path) == ["a.flac"]
    assert path.read_bytes() == before
    audio.write(path, noise(1, 70), RATE, force=True)
    assert audio.probe(path).samples == 70


def test_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    x = noise(2, 500)
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output))

    def attempt() -> None:
        with AudioWriter("-", RATE, 2) as writer:
            writer.write(x)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        attempt()
    assert output.getvalue() == b""
    audio.write("-", x, RATE, "float")
    assert output.getvalue()[:4] == b"RIFF"
    y, rate = soundfile.read(io.BytesIO(output.getvalue()), dtype="float32")
    assert rate == RATE
    assert np.array_equal(y.T, x)


def test_tensors_can_be_written(tmp_path: Path) -> None:
    x = noise(2, 100)
    audio.write(tmp_path / "a.wav", torch.from_numpy(x), RATE, "float")
    assert np.array_equal(audio.read(tmp_path / "a.wav")[0], x)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3"])
def test_a_name_that_is_not_unicode(tmp_path: Path, suffix: str) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/g\xe9" + suffix.encode())
    audio.write(path, np.zeros((1, 1_000), np.float32), 16_000)
    assert audio.read(path)[0].shape == (1, 1_000)


ALL_TAGS = {
    "title": "Étude 日本",
    "artist": "Nobody",
    "album": "None",
    "date": "1999",
    "tracknumber": "3",
    "genre": "Jazz",
    "comment": "two\nlines, " + "long " * 60,
    "copyright": "(c)",
    "license": "CC0",
}


@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize(
    "suffix", [".wav", ".w64", ".flac", ".aiff", ".caf", ".au", ".ogg", ".opus", ".mp3"]
)
def test_tags_come_back_or_are_named_as_lost(tmp_path: Path, suffix: str, channels: int) -> None:
    channels = min(channels, 2) if suffix == ".mp3" else channels
    x, path = noise(channels, 3_000), tmp_path / f"a{suffix}"
    with AudioWriter(path, 48_000, channels, tags=ALL_TAGS | {"other": "x"}) as writer:
        writer.write(x)
    tags = audio.probe(path).tags
    assert tags == {k: v for k, v in ALL_TAGS.items() if k not in writer.lost_tags}
    y, _ = audio.read(path)
    assert y.shape == x.shape
    if suffix in (".wav", ".flac", ".aiff", ".caf", ".au", ".w64"):
        assert np.abs(y - x).max() < 1e-4


@pytest.mark.parametrize("subtype", ["16", "24", "float"])
def test_a_wav_with_tags_is_a_plain_wav(tmp_path: Path, subtype: str) -> None:
    for channels in (1, 2, 6):
        path = tmp_path / f"{channels}.wav"
        with AudioWriter(path, RATE, channels, subtype, tags=ALL_TAGS) as writer:
            writer.write(noise(channels, 999))
        data = path.read_bytes()
        assert data[:4] == b"RIFF"
        assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8
        assert soundfile.info(path).frames == 999
        if subtype == "16":
            with wave.open(str(path)) as file:
                assert (file.getnframes(), file.getnchannels()) == (999, channels)


def test_without_tags_nothing_is_lost(tmp_path: Path) -> None:
    with AudioWriter(tmp_path / "a.au", RATE, 1, tags={"title": ""}) as writer:
        writer.write(noise(1, 10))
    assert writer.lost_tags == []
