"""The lapped transform: orthonormal whatever frames are split; blocks meet at narrow borders."""

from __future__ import annotations

import numpy as np
import pytest

from codec.network.config import FRAME
from codec.network.lapped import EDGE, SPLITS, by_frequency, in_pieces, inverse, transform

FRAMES = 9
SPLIT = np.array([0, 1, 2, 3, 0, 3, 0, 2, 1], np.uint8)


def noise(rows: int = 2, frames: int = FRAMES) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, frames * FRAME))


def dct_iv(size: int) -> np.ndarray:
    """Rows are the basis, by the definition."""
    n = np.arange(size) + 0.5
    return np.sqrt(2 / size) * np.cos(np.pi / size * np.outer(n, n))


@pytest.mark.parametrize("edges", [(), (1, FRAMES - 1), (4,)])
def test_there_and_back_is_exact_and_keeps_energy(edges: tuple[int, ...]) -> None:
    waveform = noise()
    coefficients = transform(waveform, SPLIT, edges)
    assert coefficients.shape == (2, FRAMES, FRAME)
    assert np.allclose((coefficients**2).sum(), (waveform**2).sum())
    assert np.allclose(inverse(coefficients, SPLIT, edges), waveform, atol=1e-12)


@pytest.mark.parametrize("split", range(SPLITS))
def test_a_lone_frame_is_a_dct_iv_of_each_folded_piece(split: int) -> None:
    waveform = noise(1, 1)
    size = FRAME >> split
    # Nothing is folded at the ends; inner borders by the definition of the fold.
    folded = waveform[0].copy()
    after = np.arange(size // 2)
    window = np.sin(np.pi / (2 * size) * (size / 2 + after + 0.5))
    for border in range(size, FRAME, size):
        right, left = waveform[0, border + after], waveform[0, border - 1 - after]
        other = np.sqrt(1 - window**2)
        folded[border + after] = window * right + other * left
        folded[border - 1 - after] = window * left - other * right
    expected = folded.reshape(-1, size) @ dct_iv(size).T
    found = transform(waveform, np.array([split]))[0, 0]
    assert np.allclose(found, by_frequency(expected), atol=1e-10)


@pytest.mark.parametrize("split", range(SPLITS))
def test_pieces_have_the_values_of_the_transform_in_order_of_time(split: int) -> None:
    waveform = noise()
    pieces = in_pieces(waveform, split)
    assert pieces.shape == (2, FRAMES, 1 << split, FRAME >> split)
    assert np.allclose(by_frequency(pieces), transform(waveform, np.full(FRAMES, split)))


def test_a_pure_tone_is_compact_in_long_frames_and_a_click_in_short_ones() -> None:
    time = np.arange(FRAMES * FRAME)
    tone = np.sin(2 * np.pi * 440 / 44100 * time)[None]
    click = np.where(time == 4 * FRAME + 700, 1.0, 0.0)[None]

    def spread(waveform: np.ndarray, split: int) -> float:
        x = np.abs(transform(waveform, np.full(FRAMES, split))[0, 4])
        return float(x.sum() / np.sqrt((x**2).sum()))

    assert spread(tone, 0) < 0.5 * spread(tone, 3)
    assert spread(click, 3) < 0.5 * spread(click, 0)


def test_a_block_depends_on_half_an_edge_of_its_neighbors_alone() -> None:
    waveform, edges = noise(1, 4), (1, 3)
    split = np.array([0, 0, 2, 3])
    inner = transform(waveform, split, edges)[0, 1:3]
    changed = waveform.copy()
    changed[0, : FRAME - EDGE // 2] = 0
    changed[0, 3 * FRAME + EDGE // 2 :] = 0
    for outer in (0, 3):
        split[[0, 3]] = outer
        assert np.array_equal(transform(changed, split, edges)[0, 1:3], inner)
