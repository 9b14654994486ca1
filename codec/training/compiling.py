"""Which parts of a network torch.compile gets.

Not the whole: STFTs, complex numbers and random numbers from NumPy break its graph in many places,
and the first step of a ``spectral`` network took 170 s on a CPU. Only the blocks that a network
repeats, each by itself; PyTorch calls that regional compilation. Code is shared by blocks of the
same shape.
"""

from __future__ import annotations

from collections import Counter

from torch import nn


def compile_blocks(model: nn.Module) -> list[nn.Module]:
    """Compile, in place, the outermost modules of a class of ours that ``model`` has repeatedly."""
    count = Counter(
        type(module)
        for module in model.modules()
        if not type(module).__module__.startswith("torch.") and [*module.parameters()]
    )
    blocks = _outermost(model, {kind for kind in count if count[kind] > 1})
    for block in blocks:
        block.compile()
    return blocks


def _outermost(model: nn.Module, kinds: set[type]) -> list[nn.Module]:
    outermost = []
    for child in model.children():
        outermost += [child] if type(child) in kinds else _outermost(child, kinds)
    return outermost
