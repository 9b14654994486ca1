"""Arithmetic of latents: arcs keep length, lines do not, directions lead from set to set."""

from __future__ import annotations

import pytest
import torch

from codec.latent_space.arithmetic import direction, lerp, pooled, shifted, slerp, weighted_sum

torch.manual_seed(0)
A, B = torch.randn(2, 1, 32, 7)


def test_both_ways_begin_and_end_at_the_ends() -> None:
    for way in (lerp, slerp):
        assert torch.allclose(way(A, B, 0.0), A, atol=1e-5)
        assert torch.allclose(way(A, B, 1.0), B, atol=1e-5)


def test_an_arc_keeps_the_length_and_a_line_cuts_the_corner() -> None:
    usual = (A.norm(dim=-2) + B.norm(dim=-2)) / 2
    assert torch.allclose(slerp(A, B, 0.5).norm(dim=-2), usual, rtol=1e-4)
    assert (lerp(A, B, 0.5).norm(dim=-2) < 0.9 * usual).all()


@pytest.mark.parametrize("other", [A, -A, torch.zeros_like(A)])
def test_where_there_is_no_arc_there_are_numbers(other: torch.Tensor) -> None:
    assert torch.isfinite(slerp(A, other, 0.3)).all()


def test_sums_and_directions() -> None:
    assert torch.allclose(weighted_sum([(1, A), (-1, B), (1, B)]), A, atol=1e-6)
    longer = torch.randn(1, 32, 11) + 2
    way = direction([longer, longer + 1], [A, B])
    assert way.shape == (1, 32)
    moved = shifted(A, way, strength=0.5)
    assert torch.allclose(pooled(moved), pooled(A) + 0.5 * way, atol=1e-5)
