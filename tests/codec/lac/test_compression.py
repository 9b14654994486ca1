"""There and back: shapes, bits, silence, channels, both coders."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from codec_helpers import BLOCK, music
from golden_coder import fixed_context
from sound_helpers import BLOCK_SECONDS, block_ends, decompress

from codec.api import Codec
from codec.entropy.context_model import ContextModel
from codec.errors import AudioError
from codec.lac.compress import compress_stream
from codec.lac.decompress import coder_for
from codec.lac.rate import RateTarget
from codec.lac.reader import LacReader
from codec.model import checkpoint


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_rate_channels_and_length_come_back(tiny_codec: Codec, rate: int, channels: int):
    sound = music(0.2, rate, channels)[:, : rate // 5 - 7]
    decoded, decoded_rate = tiny_codec.decompress(tiny_codec.compress(sound, rate))
    assert decoded_rate == rate
    assert decoded.shape == sound.shape
    assert decoded.dtype == torch.float32
    assert decoded.abs().max() > 0.01


LENGTHS = [1, 2, 127, 128, 129, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 77]


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("rate", [16000, 44100, 11025, 15999])
def test_awkward_lengths_come_back(tiny_codec: Codec, rate: int, samples: int):
    sound = music(4 * BLOCK / rate, rate, 1)[:, :samples]
    data = tiny_codec.compress(sound, rate)
    assert LacReader(data).samples == samples
    assert decompress(tiny_codec, data).shape == sound.shape


def test_two_channel_network(tiny_stereo_codec: Codec):
    for channels in (1, 2):
        sound = music(1.1 * BLOCK_SECONDS, 16000, channels)
        data = tiny_stereo_codec.compress(sound, 16000)
        assert LacReader(data).header.coded_channels == 1
        assert decompress(tiny_stereo_codec, data).shape == sound.shape
    with pytest.raises(AudioError, match="one or two channels, got 6"):
        tiny_stereo_codec.compress(music(0.1, 16000, 6), 16000)


def test_mono_may_be_one_dimensional_or_a_tensor(tiny_codec: Codec):
    sound = music(0.5, 16000, 1)
    data = tiny_codec.compress(sound, 16000)
    assert tiny_codec.compress(sound[0], 16000) == data
    assert tiny_codec.compress(torch.from_numpy(sound).double(), 16000) == data
    assert tiny_codec.compress(torch.from_numpy(sound).requires_grad_(), 16000) == data


def test_finer_steps_come_closer_to_the_unquantised_sound(tiny_codec: Codec):
    sound = music(6.0, 16000, 1)
    exact = tiny_codec(torch.from_numpy(sound)[None])[0].numpy()[:, 4000:-4000]

    def distance(kbps: float) -> float:
        decoded = decompress(tiny_codec, tiny_codec.compress(sound, 16000, kbps))
        return float(np.sqrt(np.mean((decoded[:, 4000:-4000] - exact) ** 2)))

    errors = [distance(kbps) for kbps in (0.9, 1.4, 2.5)]
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 0.5 * float(exact.std())


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2)])
@pytest.mark.parametrize("size", [977, 44_101, 10**7])
def test_streamed_chunks_give_the_same_bytes(
    tiny_codec: Codec, rate: int, channels: int, size: int
):
    sound = music(2.3 * BLOCK_SECONDS, rate, channels)
    output = io.BytesIO()
    chunks = (sound[:, i : i + size] for i in range(0, sound.shape[1], size))
    report = compress_stream(tiny_codec, chunks, rate, channels, output)
    data = tiny_codec.compress(sound, rate)
    assert output.getvalue() == data
    assert report.bytes == len(data)
    assert report.samples == sound.shape[1]
    assert report.kbps == pytest.approx(len(data) * 8 / (sound.shape[1] / rate) / 1000)


def test_same_bytes_and_same_samples_again(tiny_codec: Codec):
    sound = music(1.5 * BLOCK_SECONDS, 44100, 2)
    data = tiny_codec.compress(sound, 44100)
    assert tiny_codec.compress(sound, 44100) == data
    assert np.array_equal(decompress(tiny_codec, data), decompress(tiny_codec, data))


@pytest.mark.parametrize("rate", [16000, 44100])
def test_silence_is_silence(tiny_codec: Codec, rate: int):
    silence = np.zeros((2, 3 * rate), np.float32)
    data = tiny_codec.compress(silence, rate)
    assert len(data) < 200
    assert not decompress(tiny_codec, data).any()


@pytest.mark.parametrize("rate", [16000, 44100])
def test_equal_channels_stay_equal(tiny_codec: Codec, rate: int):
    mono = music(1.2 * BLOCK_SECONDS, rate, 1)
    stereo_bytes = tiny_codec.compress(np.concatenate([mono, mono]), rate, kbps=2.5)
    mono_bytes = tiny_codec.compress(mono, rate, kbps=2.5)
    assert len(stereo_bytes) == len(mono_bytes)
    decoded = decompress(tiny_codec, stereo_bytes)
    assert decoded.any()
    assert np.array_equal(decoded[0], decoded[1])
    assert np.array_equal(decoded[:1], decompress(tiny_codec, mono_bytes))


def test_one_silent_channel(tiny_codec: Codec):
    sound = music(1.0, 16000, 6)
    sound[3] = 0
    decoded = decompress(tiny_codec, tiny_codec.compress(sound, 16000))
    assert [bool(channel.any()) for channel in decoded] == [True] * 3 + [False] + [True] * 2


@pytest.mark.parametrize(
    ("sound", "rate", "message"),
    [
        (np.zeros((1, 0), np.float32), 16000, r"\(1, 0\)"),
        (np.zeros((0, 5), np.float32), 16000, r"\(0, 5\)"),
        (np.zeros((1, 2, 5), np.float32), 16000, r"\(1, 2, 5\)"),
        (np.zeros((16000, 2), np.float32), 16000, "16000 channels.*transpose"),
        (np.full((1, 9), np.nan, np.float32), 16000, "nan at 0.000000 s"),
        (np.full((2, 9), np.inf, np.float32), 16000, "inf at 0.000000 s"),
        (np.zeros((1, 9), np.float32), 0, "sample rate of 0 Hz"),
        (np.zeros((1, 9), np.float32), -8000, "sample rate of -8000 Hz"),
        (np.zeros((1, 9), np.float32), 1_000_000, "1000000 Hz.*768000"),
    ],
)
def test_impossible_sounds_are_refused(tiny_codec: Codec, sound, rate: int, message: str):
    with pytest.raises(AudioError, match=message):
        tiny_codec.compress(sound, rate)


def test_a_stream_without_samples_is_refused(tiny_codec: Codec):
    with pytest.raises(AudioError, match="no samples"):
        compress_stream(tiny_codec, [], 16000, 1, io.BytesIO())


def test_long_tags_are_shortened(tiny_codec: Codec):
    output = io.BytesIO()
    tags = {"title": "Étude", "comment": "ü" * 100_000}
    compress_stream(tiny_codec, [music(1.0, 16000, 1)], 16000, 1, output, tags=tags)
    kept = LacReader(output.getvalue()).header.tags
    assert kept["title"] == "Étude"
    assert tags["comment"].startswith(kept["comment"])
    assert 0 < len(kept["comment"]) < 1000


def test_far_beyond_full_scale_stays_finite(tiny_codec: Codec):
    sound = 100 * music(1.0, 16000, 1)
    decoded = decompress(tiny_codec, tiny_codec.compress(sound, 16000))
    assert np.isfinite(decoded).all()


@pytest.fixture(scope="module")
def context_codec(tiny_path: Path) -> Codec:
    """The tiny codec with a context model that predicts nonsense, so that escapes are common."""
    loaded = checkpoint.load(tiny_path)
    context = ContextModel(fixed_context(4).arrays, loaded.tables)
    return Codec(replace(loaded, context=context)).eval()


def compressed(codec: Codec, sound: np.ndarray, size: int = 10**7, quality: float = 5.0) -> bytes:
    output = io.BytesIO()
    chunks = (sound[:, i : i + size] for i in range(0, sound.shape[1], size))
    target = RateTarget(quality=quality)
    compress_stream(codec, chunks, 16000, len(sound), output, target)
    return output.getvalue()


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_the_coder_changes_bytes_and_not_symbols(
    tiny_codec: Codec, context_codec: Codec, channels: int
):
    sound = music(2.4 * BLOCK_SECONDS, 16000, channels)
    sound[0, BLOCK : 2 * BLOCK] = 0
    data, static = compressed(context_codec, sound), compressed(tiny_codec, sound)
    reader, other = LacReader(data), LacReader(static)
    assert reader.header.context_coded
    assert not other.header.context_coded
    blocks = zip(
        reader.blocks(coder_for(context_codec, reader.header)),
        other.blocks(coder_for(tiny_codec, other.header)),
        strict=True,
    )
    for block, expected in blocks:
        assert block is not None
        assert expected is not None
        assert (block.symbols == expected.symbols).all()
        assert (block.silent == expected.silent).all()
    assert decompress(context_codec, data).shape == sound.shape


def test_context_coded_files_stream_seek_and_survive_damage(context_codec: Codec):
    sound = music(4.5 * BLOCK_SECONDS, 16000, 2)
    data = compressed(context_codec, sound)
    assert compressed(context_codec, sound, size=5001) == data
    whole = decompress(context_codec, data)
    for start, duration in ((0.0, 1.0), (3.3, 2.5), (8.9, 0.2)):
        span = decompress(context_codec, data, start, duration)
        first = round(start * 16000)
        assert np.array_equal(span, whole[:, first : first + span.shape[1]])
    damaged = bytearray(data)
    damaged[block_ends(data)[2] + 40] ^= 1
    with pytest.warns(UserWarning, match=r"^4\.10 s to 6\.14 s are damaged and silent$"):
        decoded = context_codec.decompress(bytes(damaged))[0].numpy()
    assert np.array_equal(decoded[:, :BLOCK], whole[:, :BLOCK])
