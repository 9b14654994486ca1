"""--kbps is a ceiling, is used up, and what cannot be reached is said."""

from __future__ import annotations

import io
import math
import re

import by_the_book
import numpy as np
import pytest
from codec_helpers import BLOCK, music
from lac_helpers import HEADER
from untrained import layered_codec

from codec.api import Codec
from codec.entropy.quantise import quantise
from codec.errors import RateError
from codec.lac.choose_step import step_of_quality, step_within
from codec.lac.compress import CompressionReport, compress_array, compress_stream
from codec.lac.draft import Draft
from codec.lac.rate import LEAST_SECONDS, SHORT_SECONDS, RateTarget, counted_kbps
from codec.lac.reader import LacReader
from codec.model.useful_range import UsefulRange, measure_range


def compress(codec: Codec, sound: np.ndarray, rate: int, kbps: float) -> CompressionReport:
    output = io.BytesIO()
    report = compress_array(codec, sound, rate, output, RateTarget(kbps))
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
        # Steps are 1/96 bit per latent apart: 1 % of the 1 bit at the low end; words have 4 bytes.
        assert report.bytes >= budget - max(0.015 * budget, 20)


@pytest.mark.parametrize("seconds", [1 / 16000, 0.2, 1.0, 4.9])
def test_a_short_clip_may_take_a_file_s_fixed_parts_more(tiny_codec: Codec, seconds: float):
    report = compress(tiny_codec, music(seconds, 16000, 1), 16000, 3.0)
    more = report.bytes - 3.0 * 1000 * max(seconds, LEAST_SECONDS) / 8
    assert more <= 130 * (1 - seconds / SHORT_SECONDS)


def test_a_clip_of_a_second_has_about_its_rate():
    report = compress(layered_codec(), music(1.0, 44100, 1), 44100, 24.0)
    assert 22 < report.kbps < 26


def test_a_clip_that_is_too_short_for_a_rate_names_one_that_is_reached(tiny_codec: Codec):
    sound = music(0.3, 16000, 1)
    with pytest.raises(RateError, match=r"^0\.05 kbps is below") as error:
        compress(tiny_codec, sound, 16000, 0.05)
    low = float(re.findall(r"between ([\d.]+) and", str(error.value))[0])
    compress(tiny_codec, sound, 16000, low)


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


USEFUL = UsefulRange(240, 560, 0.5, 2.0)


class Sized(Draft):
    """A draft of 10 s whose bytes are known."""

    def __init__(self, guess: str = "right") -> None:
        self.guess = guess
        self.measured: list[int] = []

    seconds = 10.0
    header = HEADER
    fixed_bytes = 0

    def size(self, step: int) -> int:
        self.measured.append(step)
        return 10_000 - 10 * step

    def estimate(self, step: int) -> float:
        right = 10_000 - 10 * step
        return {
            "right": right,
            "half": right / 2,
            "double": right * 2,
            "falls too slowly": 10_000 - 2 * step,
            "constant": 77,
        }[self.guess]

    def block_bytes(self, block: object, step: int) -> int:
        return 5000 - 3 * step


@pytest.mark.parametrize("guess", ["right", "half", "double", "falls too slowly", "constant"])
def test_search_finds_a_step_that_fits_in_few_calls(guess: str):
    for wanted in range(241, 561, 9):
        draft = Sized(guess)
        budget = 10_000 - 10 * wanted
        choice = step_within(draft, USEFUL, budget)
        calls = draft.measured
        assert wanted <= choice.step_index  # the budget is a ceiling
        assert 10_000 - 10 * choice.step_index >= 0.99 * budget - 10
        assert not choice.at_finest
        assert len(calls) <= (4 if guess in ("right", "half", "double") else 12)
        assert len(set(calls)) == len(calls)


def test_search_at_the_ends_of_the_useful_range():
    draft = Sized()
    choice = step_within(draft, USEFUL, draft.size(240) + 1)
    assert (choice.step_index, choice.at_finest) == (240, True)
    assert step_within(draft, USEFUL, 1e9).at_finest
    assert step_within(draft, USEFUL, draft.size(560)).step_index == 560
    one = UsefulRange(300, 300, 1.0, 1.0)
    assert step_within(draft, one, 1e9).step_index == 300
    # 4,399 bytes in 10 s are 3.5192 kbps; the coarsest step needs 4,400, the finest 7,600.
    with pytest.raises(RateError, match=r"3\.5192 kbps is below .* between 3\.52 and 6\.08"):
        step_within(draft, USEFUL, draft.size(560) - 1)


def test_quality_goes_in_equal_ratios_from_the_coarsest_to_the_finest():
    steps = [step_of_quality(USEFUL, quality) for quality in (0, 2.5, 5, 10)]
    assert [choice.step_index for choice in steps] == [560, 480, 400, 240]
    assert [choice.at_finest for choice in steps] == [False, False, False, True]


def test_a_blocks_finest_step_is_the_finest_that_fits():
    draft = Sized()
    for step in (0, 1, 500, 1023):
        size = draft.block_bytes(None, step)
        assert draft.finest_within(None, size) == step
        assert draft.finest_within(None, size + 1) == step
    assert draft.finest_within(None, draft.block_bytes(None, 1023) - 1) is None
    assert draft.finest_within(None, 1e9) == 0


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"kbps": 0}, "--kbps 0 is not a bit rate"),
        ({"kbps": math.nan}, "--kbps nan is not"),
        ({"max_kbps": -1}, "--max-kbps -1 is not"),
        ({"quality": 10.5}, "--quality 10.5, expected 0"),
        ({"quality": -1}, "--quality -1"),
        ({"quality": math.nan}, "--quality nan"),
        ({"kbps": 3, "quality": 5}, "--kbps 3 and --quality 5 contradict"),
    ],
)
def test_targets_that_make_no_sense(target: dict[str, float], message: str):
    with pytest.raises(RateError, match=message):
        RateTarget(**target)


def test_budgets():
    assert RateTarget(6.0).budget(channels=2, seconds=10, fixed=100) == 6000 * 10 / 8
    assert RateTarget().budget(channels=2, seconds=10, fixed=100) == 6000 * 10 / 8
    assert RateTarget(6.0).budget(channels=1, seconds=1, fixed=100) == 6000 / 8 + 80
    assert (
        RateTarget(6.0).budget(channels=1, seconds=0, fixed=100) == 6000 * LEAST_SECONDS / 8 + 100
    )
    for seconds in (0.1, 1, 10):
        budget = RateTarget(6.0).budget(channels=2, seconds=seconds, fixed=100)
        assert counted_kbps(budget, seconds, 100) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("low", "high"), [(5, 4), (-1, 4), (0, 1024)], ids=["reversed", "negative", "beyond"]
)
def test_useful_steps_that_are_no_range(low: int, high: int):
    with pytest.raises(ValueError, match=r"expected a range within 0\.\.1023"):
        UsefulRange(low, high, 1.0, 2.0)


def test_measured_range_is_what_blocks_cost(tiny_codec: Codec):
    rng = np.random.default_rng(3)
    blocks = [rng.normal(size=(2, 4, 100)).astype(np.float32) for _ in range(2)]
    useful = measure_range(blocks, tiny_codec.tables, 125.0, 200, 400)
    assert (useful.finest_step, useful.coarsest_step) == (200, 400)
    symbols = [quantise(block, tiny_codec.tables.steps(400)) for block in blocks]
    coded = sum(len(tiny_codec.tables.encode(block, 400)) for block in symbols)
    assert useful.low_kbps == pytest.approx(coded * 8 / (400 / 125) / 1000)  # four streams of 100
    assert useful.high_kbps > useful.low_kbps


# ------------------------------------------------------------------ steps of blocks in whole files


def uneven(rate: int = 16000) -> np.ndarray:
    """Three blocks of faint noise, and between them two of loud noise."""
    rng = np.random.default_rng(0)
    gains = np.repeat([0.002, 0.5, 0.002, 0.5, 0.002], BLOCK)
    return (rng.standard_normal(gains.shape) * gains).astype(np.float32)[None]


def steps_of(codec: Codec, target: RateTarget) -> tuple[list[int], list[float], CompressionReport]:
    """Step index and kbps of every block of ``uneven``."""
    sound, output = uneven(), io.BytesIO()
    report = compress_stream(codec, [sound], 16000, 1, output, target)
    data = output.getvalue()
    reader, (_, blocks) = LacReader(data), by_the_book.read_file(data)
    rates = [size * 8 / (BLOCK / 16000) / 1000 for size in reader.block_bytes]
    return [block.step_index for block in blocks], rates, report


def test_an_average_rate_has_one_step_for_all(tiny_codec: Codec):
    steps, rates, report = steps_of(tiny_codec, RateTarget(kbps=2.0))
    assert steps == [report.step_index] * 5
    assert max(rates) > 2.0 > min(rates)
    assert report.kbps <= 2.0


def test_quality_is_a_step(tiny_codec: Codec):
    for quality in (0.0, 5.0, 10.0):
        steps, _, report = steps_of(tiny_codec, RateTarget(quality=quality))
        expected = step_of_quality(tiny_codec.useful, quality)
        assert steps == [expected.step_index] * 5
        assert report.at_finest == (quality == 10)


def test_max_kbps_holds_for_each_block_and_coarsens_only_those_above_it(tiny_codec: Codec):
    free, rates, _ = steps_of(tiny_codec, RateTarget(quality=10.0))
    ceiling = (max(rates) + min(rates)) / 2
    held, held_rates, report = steps_of(tiny_codec, RateTarget(quality=10.0, max_kbps=ceiling))
    assert max(held_rates) <= ceiling
    for was, now, rate, held_rate in zip(free, held, rates, held_rates, strict=True):
        assert (now > was) == (rate > ceiling)
        assert held_rate > 0.9 * min(rate, ceiling)  # and no coarser than need be
    assert report.step_index == min(held)
    assert not report.at_finest  # more bytes would have helped, and were not allowed
    ceiling = 0.97 * max(steps_of(tiny_codec, RateTarget(kbps=2.0))[1])
    both, both_rates, report = steps_of(tiny_codec, RateTarget(kbps=2.0, max_kbps=ceiling))
    assert max(both_rates) <= ceiling
    assert report.kbps <= 2.0
    assert len(set(both)) > 1
    with pytest.raises(RateError, match=r"--max-kbps 0\.01 is less than the block at 0\.0 s takes"):
        steps_of(tiny_codec, RateTarget(max_kbps=0.01))
