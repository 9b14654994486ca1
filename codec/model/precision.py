"""Networks in float32, whatever a program around them does to the types of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from codec.errors import LacunaError

_lock = threading.Lock()
_users = 0
_before = torch.float32


@contextmanager
def float32_by_default() -> Iterator[None]:
    """New tensors are float32 in the body, or as a decorator in the function.

    A program may have set another default (``torch.set_default_dtype``) for its own networks;
    windows, statistics and latents here are float32 all the same. The default is the whole
    program's, so the last of several threads to leave puts it back.
    """
    if torch.compiler.is_compiling():
        yield
        return
    global _users, _before
    with _lock:
        if _users == 0:
            _before = torch.get_default_dtype()
            if _before != torch.float32:
                torch.set_default_dtype(torch.float32)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and _before != torch.float32:
                torch.set_default_dtype(_before)


class Float32Module(nn.Module):
    """A module whose weights stay in float32 when a module that it is a part of is cast.

    ``larger.to(torch.bfloat16)``, ``.half()`` and ``.double()`` leave it as it is; devices are
    followed. Short-time Fourier transforms and the statistics of latents need float32.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        def of_the_same_type(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            return result if result.dtype == tensor.dtype else tensor.to(result.device)

        return super()._apply(of_the_same_type, recurse)

    def check_float32(self) -> None:
        """Raises:
        LacunaError: a weight was given another type all the same, as through ``weight.data``.
        """
        for name, weight in self.named_parameters():
            if weight.dtype != torch.float32:
                raise LacunaError(
                    f"the codec's weight '{name}' is {weight.dtype}, expected torch.float32; "
                    f"load the codec again, and use torch.autocast for bfloat16"
                )
