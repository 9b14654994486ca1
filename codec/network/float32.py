"""Parts of a network that stay in float32 under autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def in_float32(x: Tensor) -> AbstractContextManager[object]:
    """No autocast in the body, for work on the device of ``x``: no half-precision FFT on CPUs."""
    if x.is_meta:
        return nullcontext()  # which autocast does not know
    return torch.autocast(x.device.type, enabled=False)
