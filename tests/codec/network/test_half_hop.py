"""One matrix does what an inverse transform and a transform of half the hop do."""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from codec.network.half_hop import HalfHop
from codec.network.stft import inverse_stft, stft

WINDOW, BINS_IN, BINS_OUT = 256, 5, 40


def test_it_is_both_transforms() -> None:
    torch.manual_seed(0)
    window = torch.hann_window(WINDOW)
    spectra = torch.randn(2, 20, BINS_IN, dtype=torch.complex64)
    whole = pad(spectra, (1, WINDOW // 2 - BINS_IN))
    wanted = stft(inverse_stft(whole, window, WINDOW // 2), window, WINDOW // 4)
    made = HalfHop(window, BINS_IN, BINS_OUT)(torch.view_as_real(spectra))
    assert made.shape == (2, 40, BINS_OUT, 2)
    middle = slice(8, -8)  # at the ends windows overlap less
    made = torch.view_as_complex(made.contiguous())
    assert (made - wanted[..., :BINS_OUT])[:, middle].abs().max() < 1e-5
    assert wanted[:, middle, BINS_OUT:].abs().max() < 1e-3


def test_a_frame_is_heard_wherever_it_stands() -> None:
    half_hop = HalfHop(torch.hann_window(WINDOW), BINS_IN, BINS_OUT)
    pairs = torch.randn(1, 12, BINS_IN, 2)
    later = pad(pairs, (0, 0, 0, 0, 3, 0))
    assert torch.allclose(half_hop(later)[:, 6:], half_hop(pairs), atol=1e-6)
