"""Resampling: as good as soxr on the whole signal, and the same bits from wherever it starts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import soxr
import torch
from codec_helpers import music
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.audio import resampling
from codec.audio.resampling import input_start, resample, resampled, resampled_length
from codec.errors import AudioError

RATES = [(48_000, 44_100), (44_100, 48_000), (8_000, 44_100), (192_000, 44_100), (44_100, 8_000)]
COPRIME = [(44_100, 44_101), (16_000, 15_999)]
FAR_APART = [(768_000, 8_000), (1_000, 44_100)]


def noise(channels: int, samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.5, 0.5, (channels, samples)).astype(np.float32)


def sine(frequency: float, rate: int, samples: int) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(samples) / rate)


def snr(reference: np.ndarray, signal: np.ndarray) -> float:
    """dB, leaving out the ends, where the tone starts and stops abruptly."""
    inside = slice(2_000, -2_000)
    error = (signal - reference)[inside]
    return float(10 * np.log10((reference[inside] ** 2).mean() / (error**2).mean()))


@pytest.fixture
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces as short as their margin allows, so that a short signal has many borders."""
    monkeypatch.setattr(resampling, "_PIECE", 1)


@pytest.mark.parametrize("frequency", [50.0, 997.0, 10_000.0])
def test_resampled_sine_is_accurate_and_not_delayed(frequency: float) -> None:
    x = sine(frequency, 48_000, 48_000).astype(np.float32)[None]
    y = resample(x, 48_000, 44_100)
    assert y.shape == (1, 44_100)
    assert snr(sine(frequency, 44_100, 44_100), y[0]) > 90
    assert snr(x[0].astype(np.float64), resample(y, 44_100, 48_000)[0]) > 90


@pytest.mark.parametrize(("from_rate", "to_rate"), COPRIME)
def test_nearly_equal_rates_neither_drift_nor_click(from_rate: int, to_rate: int) -> None:
    """soxr on the whole signal drifts: its phase is rounded where the rates hardly ever meet."""
    seconds = 20  # pieces have four to five
    x = sine(997.0, from_rate, seconds * from_rate).astype(np.float32)[None]
    error = resample(x, from_rate, to_rate)[0] - sine(997.0, to_rate, seconds * to_rate)
    assert np.abs(error[2_000:-2_000]).max() < 2e-6


@pytest.mark.parametrize(("from_rate", "to_rate"), [*RATES, (44_100, 22_050), (44_100, 96_000)])
@pytest.mark.usefixtures("short_pieces")
def test_pieces_join_without_a_seam(from_rate: int, to_rate: int) -> None:
    x = music(2.0, from_rate, 1) + 0.2 * noise(1, 2 * from_rate)
    y = resample(x, from_rate, to_rate)[0]
    whole = soxr.resample(x[0], from_rate, to_rate, quality="VHQ")
    difference = np.abs(y[: len(whole)] - whole)
    assert difference.max() < 1e-5
    piece = resampling._Grid.of(from_rate, to_rate).piece_out
    assert piece < len(y) / 3
    to_border = (np.arange(len(difference)) + piece // 4) % piece
    near, elsewhere = difference[to_border < piece // 2], difference[to_border >= piece // 2]
    assert near.max() <= 2 * elsewhere.max() + 1e-7


@pytest.mark.parametrize(("from_rate", "to_rate"), [*RATES, *FAR_APART])
@pytest.mark.parametrize("samples", [0, 1, 2, 147, 8_192, 20_001])
def test_resampled_length_is_rounded_up(from_rate: int, to_rate: int, samples: int) -> None:
    y = resample(noise(1, samples), from_rate, to_rate)
    expected = int(np.ceil(samples * to_rate / from_rate))
    assert y.shape == (1, expected)
    assert resampled_length(samples, from_rate, to_rate) == expected
    assert resampled_length(expected, to_rate, from_rate) >= samples


@settings(max_examples=150)
@given(st.integers(0, 3_000), st.integers(1_000, 768_000), st.integers(1_000, 768_000))
def test_lengths_of_any_rates(samples: int, from_rate: int, to_rate: int) -> None:
    expected = resampled_length(samples, from_rate, to_rate)
    if expected < 10**6:
        assert resample(noise(1, samples), from_rate, to_rate).shape == (1, expected)


def in_chunks(x: np.ndarray, largest: int, seed: int = 1) -> list[np.ndarray]:
    """The signal in chunks of random lengths, some of them empty."""
    cuts = np.cumsum(np.random.default_rng(seed).integers(0, largest, 2 * x.shape[1] // largest))
    return np.split(x, cuts[cuts < x.shape[1]], axis=1)


@pytest.mark.parametrize(("from_rate", "to_rate"), [*RATES, *COPRIME, *FAR_APART, (48_000, 48_000)])
@pytest.mark.usefixtures("short_pieces")
def test_the_size_of_chunks_does_not_matter(from_rate: int, to_rate: int) -> None:
    x = noise(3, min(40_000, 30 * from_rate))
    whole = resample(x, from_rate, to_rate)
    for largest in (50, 8_192, 20_000):
        parts = list(resampled(in_chunks(x, largest), from_rate, to_rate, channels=3))
        assert np.array_equal(np.concatenate(parts, axis=1), whole)


@pytest.mark.parametrize(
    ("from_rate", "to_rate", "samples"),
    [
        *((from_rate, to_rate, 3 * from_rate) for from_rate, to_rate in RATES),
        *((from_rate, to_rate, 13 * from_rate) for from_rate, to_rate in COPRIME),
        (768_000, 8_000, 1_000_000),
        (1_000, 44_100, 30_000),
        (48_000, 48_000, 1_000),
    ],
)
@pytest.mark.usefixtures("short_pieces")
def test_starting_anywhere_gives_the_same_bits(from_rate: int, to_rate: int, samples: int) -> None:
    x = noise(1, samples)
    whole = resample(x, from_rate, to_rate)
    length = whole.shape[1]
    starts = np.random.default_rng(2).integers(0, length, 4).tolist()
    if from_rate != to_rate:
        border = resampling._Grid.of(from_rate, to_rate).piece_out
        assert border < length / 2
        starts += [border - 1, border, border + 1]
    assert input_start(length - 1, from_rate, to_rate) > samples / 3
    for first in [*starts, length - 1]:
        begin = input_start(first, from_rate, to_rate)
        assert begin <= first * from_rate / to_rate
        chunks = in_chunks(x[:, begin:], 20_000, seed=first)
        part = np.concatenate(list(resampled(chunks, from_rate, to_rate, 1, first)), axis=1)
        assert np.array_equal(part, whole[:, first:])


@pytest.mark.parametrize(("from_rate", "to_rate"), [*RATES, *FAR_APART, (48_000, 48_000)])
def test_no_more_input_is_taken_than_needed(from_rate: int, to_rate: int) -> None:
    """What soxr lags behind, and a unit: 3,000 samples at the lower rate."""
    chunk = max(1, from_rate // 100)
    taken = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal taken
        while True:
            taken += chunk
            yield noise(1, chunk)

    given_out = 0
    lag = 3_000 * max(1.0, from_rate / to_rate) + chunk
    for part in resampled(endless(), from_rate, to_rate, 1):
        given_out += part.shape[1]
        assert 0 <= taken - given_out * from_rate / to_rate <= lag
        if taken > 5 * lag:
            break


def test_channels_do_not_influence_each_other() -> None:
    x = noise(3, 10_000)
    together = resample(x, 48_000, 44_100)
    for channel in range(3):
        assert np.array_equal(resample(x[channel], 48_000, 44_100), together[channel])


def test_silence_stays_silent() -> None:
    assert not resample(np.zeros((2, 10_000), np.float32), 48_000, 44_100).any()


def test_equal_rates_pass_chunks_through() -> None:
    chunk = noise(2, 10)
    assert [part is chunk for part in resampled([chunk], 48_000, 48_000, 2)] == [True]


def test_resample_keeps_shape_and_type() -> None:
    x = noise(6, 1_000).reshape(2, 3, 1_000)
    expected = resample(x, 48_000, 24_000)
    assert expected.shape == (2, 3, 500)
    assert resample(x[:0], 48_000, 24_000).shape == (0, 3, 500)
    tensor = resample(torch.from_numpy(x), 48_000, 24_000)
    assert isinstance(tensor, torch.Tensor)
    assert np.array_equal(tensor.numpy(), expected)
    assert resample(x.astype(np.float64), 48_000, 24_000).dtype == np.float64
    assert resample(torch.from_numpy(x).half(), 48_000, 24_000).dtype == torch.float16


def test_resample_refuses_what_it_cannot_do() -> None:
    with pytest.raises(AudioError, match="not differentiable"):
        resample(torch.zeros(1, 100, requires_grad=True), 48_000, 44_100)
    with pytest.raises(AudioError, match="int16, expected floating point"):
        resample(np.zeros((1, 100), dtype=np.int16), 48_000, 44_100)
    with pytest.raises(AudioError, match="0 Hz"):
        resample(noise(1, 10), 0, 44_100)
    with pytest.raises(AudioError, match="-1 Hz"):
        input_start(0, 44_100, -1)
    with pytest.raises(AudioError, match=r"\(2, 10\), expected \(1, time\)"):
        list(resampled([noise(2, 10)], 48_000, 44_100, 1))
