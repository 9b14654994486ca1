"""The noise that sounds are made from."""

from __future__ import annotations

import pytest
import torch

from diffusion.model.noise import SLOW_BELOW, colored


@pytest.mark.parametrize("frames", [1, 2, 37, 128])
def test_slow_and_fast_noise_and_the_mean(frames: int) -> None:
    torch.manual_seed(0)
    noise = torch.randn(3, 2, 4, frames)
    made = colored(noise, 1.2)
    assert made.shape == noise.shape
    torch.testing.assert_close(made.mean(dim=3), noise.mean(dim=3))
    ratio = torch.fft.rfft(made).abs() / torch.fft.rfft(noise).abs()
    slow = 1 + torch.arange(ratio.shape[3] - 1) < SLOW_BELOW * frames
    expected = torch.where(slow, 1.2, 1 / 1.2).expand_as(ratio[..., 1:])
    torch.testing.assert_close(ratio[..., 1:], expected, atol=1e-3, rtol=1e-3)


def test_a_note_a_second_long_is_slow() -> None:
    """At 21.5 frames a second, which is what the constants were chosen at."""
    time = torch.arange(128) / 21.5
    slow, fast = (torch.cos(2 * torch.pi * rate * time) for rate in (0.8, 4.0))
    assert colored(slow, 1.1).std() > 1.05 * slow.std()
    assert colored(fast, 1.1).std() < 0.95 * fast.std()


def test_white_noise_stays_white() -> None:
    noise = torch.randn(2, 3, 50)
    assert torch.equal(colored(noise, 1.0), noise)
