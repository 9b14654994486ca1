"""A copied window is found wherever it lies, and what is new is far from everything."""

from __future__ import annotations

import pytest
import torch

from codec.evaluation.generated.nearest import nearest
from diffusion.training.memorisation import memorisation, windows_of


@pytest.fixture
def tracks() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, length, generator=generator) for length in (100, 10, 64, 300)]


def brute_force(query: torch.Tensor, tracks: list[torch.Tensor]) -> tuple[float, int, int]:
    length = query.shape[1]
    return min(
        (
            float((query - w).norm() / (query.square().sum() + w.square().sum()).sqrt()),
            number,
            start,
        )
        for number, track in enumerate(tracks)
        for start in range(track.shape[1] - length + 1)
        for w in [track[:, start : start + length]]
    )


def test_nearest_window_of_all(tracks: list[torch.Tensor]) -> None:
    queries = torch.randn(5, 4, 16, generator=torch.Generator().manual_seed(1))
    queries[2] = tracks[3][:, 200:216] + 0.1 * queries[2]
    found = nearest(queries, tracks)
    for number, query in enumerate(queries):
        distance, track, frame = brute_force(query, tracks)
        assert float(found.distance[number]) == pytest.approx(distance, rel=1e-4)
        assert (int(found.track[number]), int(found.frame[number])) == (track, frame)


def test_a_copy_is_found_and_what_is_new_is_not(tracks: list[torch.Tensor]) -> None:
    generator = torch.Generator().manual_seed(2)
    copied = tracks[3][:, 111 : 111 + 64]
    new = torch.randn(6, 4, 64, generator=generator)
    found = memorisation(torch.stack([copied, *new[:2]]), new[3:], tracks)
    assert found.generated_least < 0.01
    assert found.generated > 0.8  # the median of three, of which one is copied
    assert found.held_out_least > 0.8
    assert "generated 0." in str(found)


def test_scale_does_not_matter_and_silence_is_no_error(tracks: list[torch.Tensor]) -> None:
    queries = torch.randn(3, 4, 16, generator=torch.Generator().manual_seed(3))
    one, ten = nearest(queries, tracks), nearest(10 * queries, [10 * track for track in tracks])
    torch.testing.assert_close(one.distance, ten.distance)
    silent = nearest(torch.zeros(1, 4, 16), [torch.zeros(4, 20)])
    assert silent.distance.item() == 0


def test_no_track_is_long_enough() -> None:
    found = nearest(torch.randn(2, 4, 16), [torch.randn(4, 15)])
    assert found.distance.isinf().all()
    assert (found.track == -1).all()


def test_windows_leave_padding_and_absent_channels_out() -> None:
    latents = torch.arange(2 * 2 * 3 * 10.0).reshape(2, 2, 3, 10)
    real = torch.ones(2, 2, 1, 10)
    real[0, 1] = 0
    real[1, :, :, 7:] = 0
    found = windows_of(latents, real, 4)
    expected = [latents[0, 0, :, :4], latents[0, 0, :, 4:8], latents[1, 0, :, :4]]
    expected.append(latents[1, 1, :, :4])
    assert torch.equal(found, torch.stack(expected))
