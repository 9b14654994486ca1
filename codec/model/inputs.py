"""What is handed to a codec in memory: arrays as tensors, and checks with the remedy."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from codec.audio.waveform import check_finite, check_floating, check_layout
from codec.errors import AudioError, LacunaError

Lengths = int | Sequence[int] | Tensor | np.ndarray
"""Samples: of all items, or one number for each."""


def as_tensor(array: Tensor | np.ndarray, device: torch.device) -> Tensor:
    """A tensor as it is; a NumPy array, in either byte order, on ``device``.

    Raises:
        LacunaError: a tensor on another device.
    """
    if isinstance(array, Tensor):
        if array.device != device:
            raise LacunaError(
                f"got a tensor on {array.device}, and the codec is on {device}; move one of them: "
                f"x.to(model.device), or model.to(x.device)"
            )
        return array
    array = np.asarray(array)
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    return torch.from_numpy(native).to(device)


def check_waveform(waveform: Tensor) -> None:
    """The shape and type of (batch, channels, time); its values are ``check_samples``'s.

    Raises:
        AudioError: another shape, no samples, or integers.
    """
    if waveform.ndim != 3 or 0 in waveform.shape:
        raise AudioError(
            f"expected a waveform (batch, channels, time) with at least one sample, got "
            f"{tuple(waveform.shape)}; add dimensions with waveform[None]"
        )
    check_floating(waveform.dtype, waveform.is_floating_point())
    check_layout(waveform.shape)


def check_samples(waveform: Tensor, sample_rate: int) -> None:
    """Raises:
    AudioError: NaN or infinity, naming the item, the channel and the second of the first.
    """
    if _is_to_be_read(waveform) and not torch.isfinite(waveform).all():
        items = waveform.detach().float().cpu().numpy()
        for number, item in enumerate(items):
            check_finite(item, 0, sample_rate, f"item {number} of the waveform")


def check_latents(z: Tensor) -> None:
    """Raises:
    LacunaError: integers, NaN or infinity, naming the place of the first.
    """
    if not z.is_floating_point():
        raise LacunaError(f"got latents of type {z.dtype}, expected floating point")
    if _is_to_be_read(z) and not torch.isfinite(z).all():
        place = (~torch.isfinite(z)).nonzero()[0].tolist()
        raise LacunaError(
            f"the latents hold {float(z[tuple(place)].detach())} at {place} (item, coded channel, "
            f"latent, frame), expected finite numbers"
        )


def _is_to_be_read(tensor: Tensor) -> bool:
    """Values are not looked at where there are none yet: in graphs, and on the meta device."""
    plain = type(tensor) in (Tensor, nn.Parameter)  # a subclass may stand for values to come
    return plain and not tensor.is_meta and not torch.compiler.is_compiling()


def checked_lengths(length: Lengths, batch: int, least: int, most: int) -> list[int]:
    """A length for each item of a batch, from ``least`` to ``most`` samples.

    Raises:
        LacunaError: no whole numbers, another count than the batch has, or out of range.
    """
    try:
        values = length.tolist() if isinstance(length, Tensor | np.ndarray) else length
        several = values if isinstance(values, Sequence) else [values] * batch
        lengths = [operator.index(value) for value in several]
    except TypeError:
        raise LacunaError(
            f"got the length {length!r}, expected samples as a whole number, or one for each item"
        ) from None
    if len(lengths) != batch:
        raise LacunaError(f"got {len(lengths)} lengths for a batch of {batch} items")
    for value in lengths:
        if not least <= value <= most:
            raise LacunaError(f"length {value} is outside {least}..{most}, what there is of time")
    return lengths


def within(lengths: Sequence[int], size: int, device: torch.device) -> Tensor:
    """(batch, size) bool: which places lie before the end of each item."""
    ends = torch.tensor(lengths, device=device)
    return torch.arange(size, device=device) < ends[:, None]
