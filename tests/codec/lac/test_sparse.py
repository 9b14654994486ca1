"""Tones and beeps: what a few coefficients hold is coded by these alone, whatever the rate."""

from __future__ import annotations

import numpy as np
import pytest
from codec_helpers import music
from untrained import layered_codec

import codec
from codec.api import Codec
from codec.lac.rate import RateTarget
from codec.lac.reader import LacReader
from codec.lac.trim import trim
from codec.model.layered_blocks import is_sparse

RATE = 44100
SECONDS = 6
TIME = np.arange(RATE * SECONDS) / RATE


def tone(hz: float) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * TIME)[None]


def beeps() -> np.ndarray:
    return 0.8 * tone(3100) * (TIME % 0.5 < 0.25)


def struck_string() -> np.ndarray:
    """Partials that die away, twice a second."""
    since = TIME % 0.5
    partials = [
        np.exp(-6 * since * k**0.5) / k * np.sin(440 * np.pi * k * TIME) for k in range(9)[1:]
    ]
    return 0.3 * np.sum(partials, axis=0)[None]


def hiss(level: float) -> np.ndarray:
    return level * np.random.default_rng(0).standard_normal((1, len(TIME)))


@pytest.mark.parametrize("hz", [60, 440, 3100, 14000])
def test_tones_are_sparse(hz: float) -> None:
    assert is_sparse(whole_frames(tone(hz)))


@pytest.mark.parametrize(
    ("sound", "expected"),
    [
        (beeps(), True),
        (0 * tone(100), True),
        (np.concatenate([tone(440), 0 * tone(440)]), True),
        (struck_string(), False),
        (hiss(0.1), False),
        (tone(50) + hiss(0.006), False),  # 35 dB below, but not below what is heard of 50 Hz
        (music(SECONDS, RATE, 1), False),
    ],
    ids=["beeps", "silence", "tone and silence", "string", "noise", "bass and hiss", "music"],
)
def test_what_is_sparse(sound: np.ndarray, expected: bool) -> None:
    assert is_sparse(whole_frames(sound)) is expected


def whole_frames(sound: np.ndarray) -> np.ndarray:
    return sound[:, : sound.shape[1] // 2048 * 2048]


@pytest.fixture(scope="module")
def untrained() -> Codec:
    return layered_codec()


def test_a_file_of_tones_is_its_coefficients_at_every_rate(untrained: Codec) -> None:
    sound = np.float32(np.tile(tone(1000), 3))  # two blocks
    for kbps in (2, 12):
        reader = LacReader(untrained.compress(sound, RATE, kbps=kbps))
        assert reader.header.layered
        assert [layer is not None and layer.alone for layer in reader.layers()] == [True, True]


def test_nothing_is_added_to_them(untrained: Codec) -> None:
    """An untrained renderer would be heard over all else."""
    sound = np.float32(tone(1000))
    decoded, _ = untrained.decompress(untrained.compress(sound, RATE, kbps=6))
    error = np.asarray(decoded) - sound
    assert 10 * np.log10(np.square(error).sum() / np.square(sound).sum()) < -20


def test_one_block_that_is_not_sparse_decides(untrained: Codec) -> None:
    sound = np.float32(np.concatenate([np.tile(tone(1000), 2), hiss(0.1)], axis=1))
    assert not LacReader(untrained.compress(sound, RATE, kbps=2.4)).header.layered


@pytest.mark.parametrize("seconds", [1 / RATE, 1, 13], ids=["a sample", "a second", "two blocks"])
def test_digital_silence_at_low_rates(untrained: Codec, seconds: float) -> None:
    """A block without a channel that is heard has no coefficients to look at."""
    sound = np.zeros((2, round(seconds * RATE)), np.float32)
    decoded, _ = untrained.decompress(untrained.compress(sound, RATE, kbps=2.4))
    assert decoded.shape == sound.shape
    assert not decoded.any()


def test_a_silent_block_before_a_noise(untrained: Codec) -> None:
    sound = np.zeros((1, 13 * RATE), np.float32)
    sound[:, -RATE // 2 :] = hiss(0.1)[:, : RATE // 2]
    blob = untrained.compress(sound, RATE, kbps=2.4)
    assert not LacReader(blob).header.layered
    assert untrained.decompress(blob)[0].shape == sound.shape


def test_trimming_keeps_the_flag(untrained: Codec) -> None:
    whole = untrained.compress(np.float32(tone(1000)), RATE, kbps=24)
    smaller = bytearray()

    class Sink:
        def write(self, data: bytes) -> None:
            smaller.extend(data)

    trim(LacReader(whole), Sink(), RateTarget(kbps=8))
    (layer,) = LacReader(bytes(smaller)).layers()
    assert layer is not None
    assert layer.alone


def test_shipped_weights_keep_tones_and_beeps() -> None:
    """1.5 kbps; -12 dB at 8 kHz and a peak of 2.1 without."""
    for hz in (110, 8000):
        off = level_off(np.float32(tone(hz)), hz)
        assert abs(off) < 1
    sound = np.float32(beeps())
    decoded, _ = codec.decompress(codec.compress(sound, RATE, kbps=1.5))
    assert np.abs(np.asarray(decoded)).max() < 0.7


def level_off(sound: np.ndarray, hz: float) -> float:
    decoded, _ = codec.decompress(codec.compress(sound, RATE, kbps=1.5))
    wave = np.exp(-2j * np.pi * hz * TIME) * np.hanning(len(TIME))
    levels = [abs((np.asarray(x)[0] * wave).sum()) for x in (decoded, sound)]
    return float(20 * np.log10(levels[0] / levels[1]))


def test_the_flag_stands_where_the_format_says(untrained: Codec) -> None:
    """docs/FORMAT.md: the highest bit of the layer's step index."""
    blob = untrained.compress(np.float32(tone(1000)), RATE, kbps=12)
    start = blob.index(b"\xa5L")
    (layer,) = LacReader(blob).layers()
    assert layer is not None
    assert int.from_bytes(blob[start + 12 : start + 14], "little") == layer.step_index | 0x8000
