"""Waveforms in memory: numpy arrays or torch tensors (..., channels, time), full scale at +-1."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from codec.errors import AudioError

if TYPE_CHECKING:
    import torch

FloatArray = NDArray[np.float32]
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1_000, 768_000
"""Hz, of everything that is read, compressed or written."""
MAX_CHANNELS = 255
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
