"""Mid and side of waveforms in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from codec.audio.waveform import (
    as_array,
    check_layout,
    checked_rate,
    from_mid_side,
    to_mid_side,
)
from codec.errors import AudioError


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


@pytest.mark.parametrize("rate", [44_100, 44_100.0, np.int32(44_100), np.float64(44_100)])
def test_a_whole_number_is_a_sample_rate(rate: object) -> None:
    assert checked_rate(rate) == 44_100
    assert type(checked_rate(rate)) is int


@pytest.mark.parametrize(
    "rate", [44_100.5, float("nan"), float("inf"), 0, -1, 999, 768_001, "44100", None, 1 + 0j]
)
def test_what_is_no_sample_rate_is_named(rate: object) -> None:
    with pytest.raises(AudioError, match="expected a whole number from 1000 to 768000"):
        checked_rate(rate)


@pytest.mark.parametrize("dtype", [">f4", "<f4", ">f8", "<f8", "<f2", ">f2"])
def test_arrays_of_any_floating_type(dtype: str) -> None:
    x = np.array([[0.5, -0.25, 1.0]], dtype=dtype)
    for given in (x, x[0], x[:, ::-1][:, ::-1]):
        array = as_array(given)
        assert (array.dtype, array.dtype.isnative) == (np.float32, True)
        assert array.tolist() == [[0.5, -0.25, 1.0]]


def test_tensors_become_arrays() -> None:
    x = torch.tensor([0.5, 0.25], dtype=torch.bfloat16, requires_grad=True)
    assert as_array(x).tolist() == [[0.5, 0.25]]


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros((2, 10), np.int16), "int16"),
        (torch.zeros(2, 10, dtype=torch.int32), "int32"),
        (np.zeros((1, 2, 10)), "expected .channels, time"),
        (np.zeros((2, 0)), "none of them 0"),
        (np.zeros(()), "expected .channels, time"),
        (np.zeros((100, 2)), "100 channels of 2 samples.*transpose"),
        (torch.zeros(48_000, 1), "48000 channels of 1 samples.*transpose"),
    ],
)
def test_what_is_no_waveform_is_named(waveform: np.ndarray, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        as_array(waveform)


@pytest.mark.parametrize("shape", [(8, 1), (2, 1), (100, 100), (255, 300), (1, 2, 1)])
def test_short_waveforms_are_not_taken_for_transposed_ones(shape: tuple[int, ...]) -> None:
    check_layout(shape)
