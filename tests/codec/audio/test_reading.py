"""Reading audio, on files made here: awkward formats, damage, seeking, pipes."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from codec import audio
from codec.audio import AudioReader
from codec.errors import AudioError

RATE = 44_100


def noise(channels: int, samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.5, 0.5, (channels, samples)).astype(np.float32)


def read_blocks(path: Path, size: int, **where: int) -> list[np.ndarray]:
    with AudioReader(path) as reader:
        return list(reader.blocks(size, **where))


def cut(path: Path, part: float) -> Path:
    """A copy of a file that ends after a part of its bytes."""
    data = path.read_bytes()
    shorter = path.with_name("cut" + path.suffix)
    shorter.write_bytes(data[: int(len(data) * part)])
    return shorter


@pytest.mark.parametrize(
    ("rate", "channels", "samples"),
    [(8_000, 1, 500), (192_000, 2, 500), (48_000, 6, 500), (44_100, 1, 1), (44_100, 255, 3)],
)
def test_float_file_comes_back_exactly(
    tmp_path: Path, rate: int, channels: int, samples: int
) -> None:
    x = noise(channels, samples)
    soundfile.write(tmp_path / "a.wav", x.T, rate, subtype="FLOAT")
    y, sample_rate = audio.read(tmp_path / "a.wav")
    assert (sample_rate, y.dtype) == (rate, np.float32)
    assert np.array_equal(x, y)
    info = audio.probe(tmp_path / "a.wav")
    assert (info.channels, info.samples, info.seconds) == (channels, samples, samples / rate)


@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_U8", "DOUBLE"])
def test_other_sample_formats_are_scaled_to_one(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.5, -1.0, 0.25]), RATE, subtype=subtype)
    y, _ = audio.read(tmp_path / "a.wav")
    assert y.tolist() == [[0.5, -1.0, 0.25]]


def test_silence_and_peaks_beyond_one_are_kept(tmp_path: Path) -> None:
    x = np.array([0.0, 1.7, -2.5], dtype=np.float32)
    soundfile.write(tmp_path / "loud.wav", x, RATE, subtype="FLOAT")
    assert audio.read(tmp_path / "loud.wav")[0].tolist() == [x.tolist()]
    soundfile.write(tmp_path / "silent.flac", np.zeros(100), RATE)
    assert not audio.read(tmp_path / "silent.flac")[0].any()


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.opus", "a.mp3"])
def test_blocks_and_seeking_agree_with_the_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    audio.write(path, noise(2, 100_000), 48_000)
    whole, _ = audio.read(path)
    assert whole.shape == (2, 100_000)
    blocks = read_blocks(path, 17_777)
    assert [b.shape[1] for b in blocks] == [17_777] * 5 + [11_115]
    assert np.array_equal(np.concatenate(blocks, axis=1), whole)
    for start, samples in [(1, 5_000), (12_345, 10_000), (99_000, 10**6)]:
        part = np.concatenate(read_blocks(path, 4_096, start=start, samples=samples), axis=1)
        assert np.array_equal(part, whole[:, start : start + samples])


def test_reader_can_start_again_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    audio.write(path, noise(1, 200_000), RATE)
    with AudioReader(path) as reader:
        first = next(iter(reader.blocks(1_000)))
        assert np.array_equal(first, next(iter(reader.blocks(1_000))))


def test_tags_are_read(tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "a.flac", "w", RATE, 1) as file:
        file.title, file.artist = "Étude", "Nobody"
        file.write(np.zeros(10))
    info = audio.probe(tmp_path / "a.flac")
    assert info.tags == {"title": "Étude", "artist": "Nobody"}
    assert (info.format, info.subtype) == ("FLAC", "PCM_16")


def test_nan_is_reported_with_channel_and_time(tmp_path: Path) -> None:
    x = noise(2, 2_000)
    x[1, 1_500:] = np.nan
    x[0, 1_600] = np.inf
    soundfile.write(tmp_path / "a.wav", x.T, 1_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"channel 2 holds nan at 1\.500000 s.*nan_to_num"):
        read_blocks(tmp_path / "a.wav", 400)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("missing.wav", None, "not found"),
        ("empty.wav", b"", "0 bytes"),
        ("text.wav", b"this is no audio\n" * 50, "is not audio"),
        ("text.raw", b"this is no audio\n" * 50, "no audio header"),
        ("text.vox", b"this is no audio\n" * 50, "no audio header"),
        ("text.mp3", b"this is no audio\n" * 50, "cannot be read as audio"),
    ],
)
def test_what_is_not_audio_is_refused(
    tmp_path: Path, name: str, data: bytes | None, message: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(AudioError, match=message):
        audio.probe(tmp_path / name)


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="is a folder"):
        audio.probe(tmp_path)


@pytest.mark.parametrize(
    ("channels", "samples", "rate", "message"),
    [(1, 0, RATE, "0 samples"), (256, 2, RATE, "256 channels"), (1, 10, 20, "20 Hz")],
)
def test_useless_headers_are_refused(
    tmp_path: Path, channels: int, samples: int, rate: int, message: str
) -> None:
    soundfile.write(tmp_path / "a.wav", noise(channels, samples).T, rate)
    with pytest.raises(AudioError, match=message):
        audio.read(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.mp3"])
def test_cut_file_delivers_what_is_there_and_warns(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, noise(1, RATE).T, RATE)
    whole, _ = audio.read(tmp_path / name)
    shorter = cut(tmp_path / name, 0.5)
    with pytest.warns(UserWarning, match=r"read 0\.[345].* s of the 1\.000 s"):
        part, _ = audio.read(shorter)
    # MP3 frames at the cut are incomplete, and decoders blend neighbours.
    sound = part.shape[1] - (2_000 if name.endswith("mp3") else 0)
    assert sound > 0.35 * RATE
    assert np.array_equal(part[:, :sound], whole[:, :sound])


def test_cut_flac_can_be_read_from_a_later_start(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", noise(1, RATE).T, RATE)
    shorter = cut(tmp_path / "a.flac", 0.5)
    with pytest.warns(UserWarning, match="cut short"):
        whole, _ = audio.read(shorter)
    start = whole.shape[1] - 100
    with pytest.warns(UserWarning, match="cut short"):
        (part,) = read_blocks(shorter, 1_000, start=start)
    assert np.array_equal(part, whole[:, start:])


def test_cut_before_the_first_sample_is_an_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", noise(1, RATE).T, RATE)
    data = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(data[:3_000])
    with pytest.raises(AudioError, match="no sound that can be read"):
        audio.read(tmp_path / "cut.flac")


def test_start_beyond_the_end_is_an_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(1, RATE).T, RATE)
    with pytest.raises(AudioError, match=r"no sound 2\.000 s after its start"):
        read_blocks(tmp_path / "a.wav", 100, start=2 * RATE)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000])
def test_wav_from_a_pipe_with_placeholder_size_is_whole(tmp_path: Path, size: int) -> None:
    soundfile.write(tmp_path / "a.wav", noise(1, 1_000).T, RATE)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", size)
    (tmp_path / "a.wav").write_bytes(data)
    assert audio.read(tmp_path / "a.wav")[0].shape == (1, 1_000)


def test_flac_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", noise(1, 10_000).T, RATE)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] &= 0xF0  # the 36-bit sample count in the stream information block
    data[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(data)
    assert audio.probe(tmp_path / "a.flac").samples is None
    assert audio.read(tmp_path / "a.flac")[0].shape == (1, 10_000)


def test_mp3_with_misleading_first_frame_is_read_to_its_end(tmp_path: Path) -> None:
    """Without the length tag, libsndfile would stop at a guess made from the first bit rate."""
    t = np.arange(RATE * 3) / RATE
    x = np.where(t < 0.2, noise(1, t.size)[0], 0.0).astype(np.float32)
    with soundfile.SoundFile(
        tmp_path / "a.mp3", "w", RATE, 1, bitrate_mode="VARIABLE", compression_level=0.5
    ) as file:
        file.write(x)
    data = (tmp_path / "a.mp3").read_bytes()
    assert b"Xing" in data[:200]
    second_frame = data.index(data[:2], 4)
    (tmp_path / "a.mp3").write_bytes(data[second_frame:])
    assert soundfile.info(tmp_path / "a.mp3").frames < 0.9 * x.size  # the trap is real
    assert audio.probe(tmp_path / "a.mp3").samples is None
    assert audio.read(tmp_path / "a.mp3")[0].shape[1] >= x.size


def test_mp3_with_a_large_cover_picture(tmp_path: Path) -> None:
    audio.write(tmp_path / "a.mp3", noise(1, 10_000), RATE)
    data = (tmp_path / "a.mp3").read_bytes()
    title = b"TIT2" + struct.pack(">IHB", 6, 0, 0) + b"Title"
    filler = 2**19  # far more than libsndfile skips in a pipe
    (tmp_path / "b.mp3").write_bytes(
        b"ID3\x03\0\0" + bytes([0, 32, 0, len(title)]) + title + bytes(filler) + data
    )
    assert audio.probe(tmp_path / "b.mp3").tags["title"] == "Title"
    assert np.array_equal(audio.read(tmp_path / "b.mp3")[0], audio.read(tmp_path / "a.mp3")[0])


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = noise(2, 1_000)
    soundfile.write(tmp_path / "a.wav", x.T, RATE, subtype="FLOAT")
    data = (tmp_path / "a.wav").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert np.array_equal(audio.read("-")[0], x)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(AudioError, match="standard input delivered 0 bytes"):
        audio.read("-")
