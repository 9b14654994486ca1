"""--kbps is a ceiling, is used up, and what cannot be reached is said."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from codec_helpers import music

from codec.codec import Codec
from codec.compression import CompressionReport, compress_array
from codec.errors import RateError
from codec.rate import SHORTEST_SECONDS, UsefulRange, choose_step


def compress(codec: Codec, sound: np.ndarray, rate: int, kbps: float) -> CompressionReport:
    output = io.BytesIO()
    report = compress_array(codec, sound, rate, output, kbps)
    assert report.bytes == len(output.getvalue())
    return report


@pytest.mark.parametrize(("seconds", "rate", "channels"), [(5.5, 16000, 1), (13.0, 44100, 2)])
def test_rate_is_a_ceiling_and_is_used(tiny_codec: Codec, seconds, rate: int, channels: int):
    sound = music(seconds, rate, channels)
    # The ends of the range on this very sound.
    finest = compress(tiny_codec, sound, rate, 1000.0)
    assert finest.at_finest
    with pytest.raises(RateError) as error:
        compress(tiny_codec, sound, rate, 0.01)
    low, high = map(float, re.findall(r"between ([\d.]+) and ([\d.]+)", str(error.value))[0])
    assert high == pytest.approx(finest.kbps, abs=0.006)
    assert compress(tiny_codec, sound, rate, low).step_index == tiny_codec.useful.coarsest_step
    assert low < high
    for kbps in np.linspace(low, finest.kbps * 0.999, 7):
        report = compress(tiny_codec, sound, rate, float(kbps))
        assert not report.at_finest
        assert report.kbps <= kbps
        budget = kbps * 1000 * report.seconds / 8
        # Steps are 1/24 bit per latent apart: 2 % of 2 bits, 4 % of the 1 bit at the low end.
        assert report.bytes >= budget - max(0.04 * budget, 20)


@pytest.mark.parametrize("seconds", [1 / 16000, 0.5, 4.9])
def test_a_short_clip_gets_the_bytes_of_a_longer_one(tiny_codec: Codec, seconds: float):
    report = compress(tiny_codec, music(seconds, 16000, 1), 16000, 1.5)
    assert report.bytes <= 1.5 * 1000 * SHORTEST_SECONDS / 8


@pytest.mark.parametrize("kbps", [0.0, -1.0, float("nan"), float("-inf")])
def test_what_is_no_rate_is_refused(tiny_codec: Codec, kbps: float):
    with pytest.raises(RateError, match="not a bit rate"):
        compress(tiny_codec, music(0.1, 16000, 1), 16000, kbps)


def test_unlimited_rate_is_the_finest(tiny_codec: Codec):
    sound = music(0.5, 16000, 1)
    assert (
        compress(tiny_codec, sound, 16000, float("inf")).step_index == tiny_codec.useful.finest_step
    )


def test_published_range_is_what_noise_costs(tiny_codec: Codec):
    """The range in the checkpoint, per coded channel, was measured on such noise."""
    rng = np.random.default_rng(1)
    gains = np.repeat(np.logspace(-3, 0, 4), 5 * 16000)
    sound = (rng.standard_normal(gains.shape) * gains).astype(np.float32)[None]
    low, high = tiny_codec.useful.low_kbps, tiny_codec.useful.high_kbps
    finest = compress(tiny_codec, sound, 16000, 1000.0)
    assert finest.kbps == pytest.approx(high, rel=0.15)
    with pytest.raises(RateError):
        compress(tiny_codec, sound, 16000, low * 0.9)


def test_search_finds_the_finest_step_that_fits_in_few_calls():
    useful = UsefulRange(60, 140, 0.5, 2.0)
    for wanted in range(61, 141):
        calls = []

        def file_bytes(step: int) -> int:
            calls.append(step)  # noqa: B023
            return 10_000 - 10 * step

        choice = choose_step(file_bytes, useful, (10_000 - 10 * wanted) * 8 / 10 / 1000, 10.0)
        assert choice.step_index == wanted
        assert not choice.at_finest
        assert len(calls) <= 10
