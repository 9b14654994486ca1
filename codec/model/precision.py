"""Networks in float32, whatever ``torch.set_default_dtype`` says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def float32_by_default() -> Iterator[None]:
    """New tensors are float32 in the body, or as a decorator in the function.

    A program may have set another default for its own networks; windows, statistics and latents
    here are float32 all the same.
    """
    before = torch.get_default_dtype()
    if before == torch.float32:
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
