"""Mid and side of waveforms in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from codec.audio.waveform import from_mid_side, to_mid_side


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray])
def test_mid_side(kind: type) -> None:
    x = np.float32([[[0.5, 1.0], [0.25, -1.0]]])
    coded = to_mid_side(kind(x))
    assert isinstance(coded, type(kind(x)))
    assert coded.tolist() == [[[0.375, 0.0], [0.125, 1.0]]]
    assert from_mid_side(coded).tolist() == x.tolist()


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_other_channel_counts_are_not_coded_as_mid_side(channels: int) -> None:
    x = torch.from_numpy(np.random.default_rng(0).random((channels, 10)))
    assert torch.equal(to_mid_side(x), x)
    assert torch.equal(from_mid_side(x), x)


def test_mid_side_is_differentiable() -> None:
    x = torch.randn(2, 2, 5, requires_grad=True)
    (grad,) = torch.autograd.grad(from_mid_side(to_mid_side(x)).sum(), x)
    assert torch.allclose(grad, torch.ones_like(x))
