"""Labels y in the VAE: q(y|x), and what q(z|x, y) and p(x|z, y) are given of them.

Model M2 of Kingma et al. 2014, "Semi-supervised learning with deep generative models", section
2.2. A label belongs to a whole recording, latents to its frames. What is not labelled may also be
coded without a label, as files are: then all of its numbers are 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.network.layers import ConvNeXtBlock

LOUD = 0.5
"""Deviation that embeddings begin with: what is small beside its surroundings is not learned."""


@dataclass(frozen=True)
class LabelledRows:
    """What to encode and decode: items of a batch, each as if it had a label, or several times."""

    item: Tensor
    """(rows,)"""
    label: Tensor
    """(rows, labels): 1 for the label, 0 for the others; all 0 to code without one."""


class LabelEmbedding(nn.Linear):
    """What is added to every frame for a label: (rows, labels) -> (rows, 1, width)."""

    def __init__(self, labels: int, width: int) -> None:
        super().__init__(labels, width, bias=False)
        nn.init.normal_(self.weight, std=LOUD)

    def forward(self, label: Tensor) -> Tensor:
        return super().forward(label)[:, None]


class LabelClassifier(nn.Module):
    """q(y|x) of a recording: (batch, frames, features) -> logits (batch, labels)."""

    def __init__(self, features: int, labels: int, width: int, kernel_size: int) -> None:
        super().__init__()
        self.embed = nn.Linear(features, width)
        self.block = ConvNeXtBlock(width, 1, kernel_size, 1.0)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, labels)

    def forward(self, features: Tensor) -> Tensor:
        hidden = F.gelu(self.norm(self.block(self.embed(features))))
        return self.head(hidden.mean(dim=1)).float()


def one_hot(labels: Tensor, count: int) -> Tensor:
    """(rows,) numbers of labels, -1 for none, -> (rows, count)."""
    return F.one_hot(labels + 1, count + 1)[:, 1:].to(torch.float32)
