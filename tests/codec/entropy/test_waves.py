"""The order of coding, and what each symbol sees: nothing that comes later, and all it should."""

from __future__ import annotations

import numpy as np
import pytest

from codec.entropy.waves import ALL_CHANNELS, HISTORY, SPAN, Waves, coding_order, input_count

WIDE = ALL_CHANNELS + 1
SHAPES = [(2, 3, 12), (1, 4, 12), (3, 1, 12), (2, 3, 1), (1, 1, 1), (4, 2, 3), (2, WIDE, 4)]
ONE = 1024
LOG2_STEP = np.resize([7.0, -5.0, 300.0, 2.0], WIDE)


def make_waves(blocks: int, shape: tuple[int, int, int]) -> Waves:
    return Waves(blocks, shape, np.tile(LOG2_STEP[: shape[1]], shape[0]), ONE)


def make_values(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Whole numbers (lanes, frames), none of them 0."""
    rng = np.random.default_rng(seed)
    size = (shape[0] * shape[1], shape[2])
    return rng.integers(1, 5000, size) * rng.choice([-1.0, 1.0], size)


def all_inputs(values: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """(lanes, frames, inputs) of a whole block."""
    waves = make_waves(1, shape)
    waves.store(values)
    return by_lane(waves.inputs(0, shape[2]))


def by_lane(inputs: np.ndarray) -> np.ndarray:
    """(latent_dim, streams, n, inputs) -> (lanes, n, inputs)"""
    return inputs.swapaxes(0, 1).reshape(-1, *inputs.shape[2:])


@pytest.mark.parametrize("shape", SHAPES)
def test_order_is_wave_by_wave_and_then_by_lane(shape: tuple[int, int, int]):
    order, ends = coding_order(*shape)
    lanes, frames = shape[0] * shape[1], shape[2]
    expected = sorted(range(lanes * frames), key=lambda i: (i // frames + i % frames, i // frames))
    assert order.tolist() == expected
    wave = [i // frames + i % frames for i in expected]
    assert ends.tolist() == [sum(other <= own for other in wave) for own in wave]


@pytest.mark.parametrize("shape", [(0, 4, 7), (2, 4, 0), (0, 4, 0)])
def test_blocks_of_nothing_have_no_waves(shape: tuple[int, int, int]):
    assert coding_order(*shape)[0].size == 0
    assert make_waves(1, shape).count == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_waves_hold_every_symbol_once(shape: tuple[int, int, int]):
    waves = make_waves(1, shape)
    seen = [
        (lane, wave - lane)
        for wave in range(waves.count)
        for lane in range(waves.lanes)[waves.members(wave)]
    ]
    assert sorted(seen) == sorted(np.ndindex(waves.lanes, shape[2]))


@pytest.mark.parametrize("shape", SHAPES)
def test_no_symbol_sees_itself_or_what_comes_later(shape: tuple[int, int, int]):
    """Changing a symbol changes the inputs only of symbols in later waves."""
    values = make_values(shape)
    before = all_inputs(values, shape)
    wave = np.add.outer(np.arange(len(values)), np.arange(shape[2]))
    reached = np.zeros_like(wave)
    for lane, frame in np.ndindex(values.shape):
        changed = values.copy()
        changed[lane, frame] += 777
        differ = (all_inputs(changed, shape) != before).any(-1)
        assert (wave[differ] > wave[lane, frame]).all()
        reached += differ
    # Each sees what there is: all of the frame up to itself, and itself eight frames back.
    for lane, frame in np.ndindex(values.shape):
        stream, channel = divmod(lane, shape[1])
        first, last = (0, shape[1]) if shape[1] < WIDE else (channel - SPAN, channel + SPAN + 1)
        first, last = max(first, 0), min(last, shape[1])
        expected = channel - first + (stream > 0) * (last - first)
        expected += min(frame, 1) * (channel + 1 - first)
        expected += (frame > 1) * (min(channel + 2, shape[1]) - first)
        expected += min(max(0, frame - 2), HISTORY - 2)
        assert reached[lane, frame] == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_inputs_are_those_of_the_format(shape: tuple[int, int, int]):
    """The table in docs/FORMAT.md, "What a symbol sees", one input at a time."""
    streams, dims, frames = shape
    values = make_values(shape)
    found = all_inputs(values, shape)
    assert found.shape == (streams * dims, frames, input_count(dims))
    wide = dims == WIDE
    seen = 17 if wide else dims
    assert input_count(dims) == (8 * 17 if wide else 4 * dims) + 11

    def v(s: int, d: int, t: int) -> float:
        return values[s * dims + d, t] if s >= 0 and 0 <= d < dims and t >= 0 else 0.0

    for s, d, t in np.ndindex(shape):
        channels = range(d - 8, d + 9) if wide else range(dims)
        x = [v(s, c, t) * (c < d) for c in channels]
        x += [v(s, c, t - 1) * (c <= d) for c in channels]
        x += [v(s, c, t - 2) * (c <= d + 1) for c in channels]
        x += [v(s - 1, c, t) for c in channels]
        x += [v(s, d, t - 3), v(s, d, t - 4), abs(v(s, d, t - 1)), abs(v(s, d, t - 2))]
        x.append(sum(abs(v(s, d, t - lag)) for lag in range(1, 9)) // 8)
        x += [sum(map(abs, x[j * seen : (j + 1) * seen])) // seen for j in range(4)]
        x += map(abs, x[: 4 * seen] if wide else [])
        x += [ONE if s else 0, LOG2_STEP[d]]
        assert found[s * dims + d, t].tolist() == x


@pytest.mark.parametrize("shape", SHAPES)
def test_wave_by_wave_sees_what_the_whole_block_shows(shape: tuple[int, int, int]):
    """As a decoder goes: a wave's values become known only after its inputs were asked for."""
    values = make_values(shape)
    whole = all_inputs(values, shape)
    waves = make_waves(1, shape)
    for wave in range(waves.count):
        members = waves.members(wave)
        lanes = np.arange(waves.lanes)[members]
        found = by_lane(waves.wave_inputs(wave))[lanes - waves.asked(members).start, 0]
        assert (found == whole[lanes, wave - lanes]).all()
        waves.store_wave(wave, values[lanes, wave - lanes][:, None])


@pytest.mark.parametrize("shape", SHAPES)
def test_several_blocks_know_nothing_of_each_other(shape: tuple[int, int, int]):
    blocks = [make_values(shape, seed) for seed in range(3)]
    together = make_waves(3, shape)
    alone = [make_waves(1, shape) for _ in blocks]
    for wave in range(together.count):
        found = together.wave_inputs(wave)
        lanes = np.arange(together.lanes)[together.members(wave)]
        columns = [values[lanes, wave - lanes] for values in blocks]
        for i, one in enumerate(alone):
            assert (found[:, :, i] == one.wave_inputs(wave)[:, :, 0]).all()
            one.store_wave(wave, columns[i][:, None])
        together.store_wave(wave, np.stack(columns, 1))


def test_a_part_of_the_frames_has_the_inputs_of_the_whole():
    shape = (2, 3, 12)
    waves = make_waves(1, shape)
    waves.store(make_values(shape))
    parts = [waves.inputs(0, 5), waves.inputs(5, 6), waves.inputs(6, 12)]
    assert (np.concatenate(parts, 2) == waves.inputs(0, 12)).all()
