"""Waveforms in memory: numpy arrays or torch tensors (..., channels, time), full scale at +-1."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from codec.errors import AudioError

if TYPE_CHECKING:
    import torch

FloatArray = NDArray[np.float32]
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1_000, 768_000
"""Hz, of everything that is read, compressed or written."""
MAX_CHANNELS = 255
SURROUND_CHANNELS = 8
"""More than these beside so few samples are taken for a transposed array."""
Waveform = TypeVar("Waveform", NDArray[np.floating], "torch.Tensor")


def check_finite(block: FloatArray, position: int, sample_rate: int, name: str) -> None:
    """Refuse NaN and infinity in (channels, time); ``position`` is the block's first sample.

    Raises:
        AudioError: naming the channel and the second of the first such value.
    """
    if np.isfinite(block).all():
        return
    time, channel = np.argwhere(~np.isfinite(block.T))[0]
    raise AudioError(
        f"{name}: channel {channel + 1} holds {block[channel, time]} at "
        f"{(position + time) / sample_rate:.6f} s, expected finite numbers; "
        f"replace NaN and infinity with 0 (numpy.nan_to_num does) and try again"
    )


def check_floating(dtype: object, is_floating: bool) -> None:
    """Refuse samples of an integer type.

    Raises:
        AudioError: ``is_floating`` is off; ``dtype`` is for the message.
    """
    if not is_floating:
        raise AudioError(
            f"got samples of type {dtype}, expected floating point with full scale at +-1; "
            f"divide 16-bit integers by 32768"
        )


def check_layout(shape: Sequence[int]) -> None:
    """Refuse (..., channels, time) whose last two dimensions are the wrong way round.

    Raises:
        AudioError: more channels than samples, and more than surround sound has.
    """
    channels, time = shape[-2:]
    if channels > max(time, SURROUND_CHANNELS):
        raise AudioError(
            f"got samples of shape {tuple(shape)}, which is {channels} channels of {time} samples; "
            f"expected (channels, time): transpose (time, channels)"
        )


def checked_rate(sample_rate: object) -> int:
    """A sample rate as an integer number of Hz; 44100.0 is one too.

    Raises:
        AudioError: no whole number, or outside 1,000..768,000 Hz.
    """
    try:
        rate = operator.index(sample_rate)  # type: ignore[arg-type]
    except TypeError:
        is_whole = isinstance(sample_rate, float | np.floating) and float(sample_rate).is_integer()
        rate = int(sample_rate) if is_whole else 0  # type: ignore[call-overload]
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"got a sample rate of {sample_rate!r} Hz, expected a whole number from "
            f"{MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}; resample first"
        )
    return rate


def as_array(waveform: NDArray[Any] | torch.Tensor) -> FloatArray:
    """A waveform (channels, time), or (time,) of one channel, as float32 (channels, time).

    Any floating type in either byte order, on any device.

    Raises:
        AudioError: another shape, no samples, or integers.
    """
    if not isinstance(waveform, np.ndarray) and hasattr(waveform, "detach"):
        check_floating(waveform.dtype, waveform.is_floating_point())
        waveform = waveform.detach().float().cpu().numpy()
    else:
        waveform = np.asarray(waveform)
        check_floating(waveform.dtype, np.issubdtype(waveform.dtype, np.floating))
    array = np.asarray(waveform, dtype=np.float32)  # in this machine's byte order
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or 0 in array.shape:
        raise AudioError(
            f"got samples of shape {array.shape}, expected (channels, time), none of them 0"
        )
    check_layout(array.shape)
    return array


def to_mid_side(waveform: Waveform) -> Waveform:
    """Stereo (..., 2, time) as mid (L + R) / 2 and side (L - R) / 2, in that order.

    Any other number of channels passes unchanged. ``from_mid_side`` is the inverse.
    """
    if waveform.shape[-2] != 2:
        return waveform
    left, right = waveform[..., 0, :], waveform[..., 1, :]
    return _stack_channels((left + right) / 2, (left - right) / 2)


def from_mid_side(coded: Waveform) -> Waveform:
    """Mid and side (..., 2, time) as left = mid + side and right = mid - side.

    Any other number of channels passes unchanged.
    """
    if coded.shape[-2] != 2:
        return coded
    mid, side = coded[..., 0, :], coded[..., 1, :]
    return _stack_channels(mid + side, mid - side)


def _stack_channels(first: Waveform, second: Waveform) -> Waveform:
    if isinstance(first, np.ndarray):
        return np.stack([first, second], axis=-2)
    import torch

    return torch.stack([first, second], dim=-2)
