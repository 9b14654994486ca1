"""Audio in and out, on files made here: awkward formats, damage, resampling, mid/side."""

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
from codec.audio import AudioReader, AudioWriter, StreamResampler
from codec.errors import AudioError, LacunaError

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


# ---------------------------------------------------------------------------------------- reading


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


# ---------------------------------------------------------------------------------------- writing


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
    monkeypatch.setattr(audio, "_MAX_RIFF_SIZE", 1_000)  # instead of 4 GiB
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


# ------------------------------------------------------------------------------------- resampling

RATES = [(48_000, 44_100), (44_100, 48_000), (8_000, 44_100), (192_000, 44_100), (44_100, 8_000)]


def sine(frequency: float, rate: int, samples: int) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(samples) / rate)


def snr(reference: np.ndarray, signal: np.ndarray) -> float:
    """dB, leaving out the ends, where the tone starts and stops abruptly."""
    inside = slice(2_000, -2_000)
    error = (signal - reference)[inside]
    return float(10 * np.log10((reference[inside] ** 2).mean() / (error**2).mean()))


@pytest.mark.parametrize("frequency", [50.0, 997.0, 10_000.0])
def test_resampled_sine_is_accurate_and_not_delayed(frequency: float) -> None:
    x = sine(frequency, 48_000, 48_000).astype(np.float32)[None]
    y = audio.resample(x, 48_000, 44_100)
    assert y.shape == (1, 44_100)
    assert snr(sine(frequency, 44_100, 44_100), y[0]) > 90
    assert snr(x[0].astype(np.float64), audio.resample(y, 44_100, 48_000)[0]) > 90


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
@pytest.mark.parametrize("samples", [0, 1, 2, 147, 8_192, 8_193, 20_001])
def test_resampled_length_is_rounded_up(from_rate: int, to_rate: int, samples: int) -> None:
    y = audio.resample(noise(1, samples), from_rate, to_rate)
    expected = int(np.ceil(samples * to_rate / from_rate))
    assert y.shape == (1, expected)
    assert audio.resampled_length(samples, from_rate, to_rate) == expected
    assert audio.resampled_length(expected, to_rate, from_rate) >= samples


@pytest.mark.parametrize(("from_rate", "to_rate"), [*RATES, (48_000, 48_000)])
def test_streamed_equals_whole_bit_for_bit(from_rate: int, to_rate: int) -> None:
    x = noise(3, 30_000)
    whole = audio.resample(x, from_rate, to_rate)
    rng = np.random.default_rng(1)
    for largest in (50, 8_192, 20_000):
        resampler = StreamResampler(from_rate, to_rate, channels=3)
        parts, at = [], 0
        while at < x.shape[1]:
            size = int(rng.integers(0, largest))
            parts.append(resampler.process(x[:, at : at + size]))
            at += size
        parts.append(resampler.process(x[:, :0], last=True))
        assert np.array_equal(np.concatenate(parts, axis=1), whole)


def test_resampler_gives_out_what_it_can_before_the_end() -> None:
    resampler = StreamResampler(48_000, 44_100, channels=1)
    held_back = [
        audio.resampled_length(fed, 48_000, 44_100) - given
        for fed, given in zip(
            range(20_000, 400_001, 20_000),
            np.cumsum([resampler.process(noise(1, 20_000)).shape[1] for _ in range(20)]),
            strict=True,
        )
    ]
    assert max(held_back) < 20_000  # and not ever more: memory must not grow


def test_channels_do_not_influence_each_other() -> None:
    x = noise(3, 10_000)
    together = audio.resample(x, 48_000, 44_100)
    for channel in range(3):
        assert np.array_equal(audio.resample(x[channel], 48_000, 44_100), together[channel])


def test_resample_keeps_shape_and_type() -> None:
    x = noise(6, 1_000).reshape(2, 3, 1_000)
    expected = audio.resample(x, 48_000, 24_000)
    assert expected.shape == (2, 3, 500)
    tensor = audio.resample(torch.from_numpy(x), 48_000, 24_000)
    assert isinstance(tensor, torch.Tensor)
    assert np.array_equal(tensor.numpy(), expected)
    assert audio.resample(x.astype(np.float64), 48_000, 24_000).dtype == np.float64
    assert audio.resample(torch.from_numpy(x).half(), 48_000, 24_000).dtype == torch.float16


def test_resample_refuses_what_it_cannot_do() -> None:
    with pytest.raises(AudioError, match="not differentiable"):
        audio.resample(torch.zeros(1, 100, requires_grad=True), 48_000, 44_100)
    with pytest.raises(AudioError, match="int16, expected floating point"):
        audio.resample(np.zeros((1, 100), dtype=np.int16), 48_000, 44_100)
    with pytest.raises(AudioError, match="0 Hz"):
        StreamResampler(0, 44_100, 1)
    resampler = StreamResampler(48_000, 44_100, 1)
    with pytest.raises(AudioError, match=r"\(2, 10\), expected \(1, time\)"):
        resampler.process(noise(2, 10))
    resampler.process(noise(1, 10), last=True)
    with pytest.raises(AudioError, match="has ended"):
        resampler.process(noise(1, 10))


# --------------------------------------------------------------------------------------- mid/side


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray])
def test_mid_side(kind: type) -> None:
    x = np.float32([[[0.5, 1.0], [0.25, -1.0]]])
    coded = audio.to_mid_side(kind(x))
    assert isinstance(coded, type(kind(x)))
    assert coded.tolist() == [[[0.375, 0.0], [0.125, 1.0]]]
    assert audio.from_mid_side(coded).tolist() == x.tolist()


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_other_channel_counts_are_not_coded_as_mid_side(channels: int) -> None:
    x = torch.from_numpy(noise(channels, 10))
    assert torch.equal(audio.to_mid_side(x), x)
    assert torch.equal(audio.from_mid_side(x), x)


def test_mid_side_is_differentiable() -> None:
    x = torch.randn(2, 2, 5, requires_grad=True)
    (grad,) = torch.autograd.grad(audio.from_mid_side(audio.to_mid_side(x)).sum(), x)
    assert torch.allclose(grad, torch.ones_like(x))
