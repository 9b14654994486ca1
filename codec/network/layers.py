"""Building blocks for (batch, time, channels), the layout that is fastest for linear layers.

None of them looks further along time than its kernel: a block of audio with enough halo gives the
same result as the whole file.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution along time, then a two-layer perceptron on each frame, as a residual.

    The 1-D form of Liu et al. 2022, "A ConvNet for the 2020s", as used by Vocos (Siuzdak 2023).

    Shape: (batch, time, width) -> (batch, time, width)
    """

    def __init__(self, width: int, expansion: int, kernel_size: int, residual_scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(
            width, width, kernel_size, padding=kernel_size // 2, groups=width
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, expansion * width)
        self.contract = nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(torch.full((width,), residual_scale))

    def forward(self, x: Tensor) -> Tensor:
        y = self.contract(F.gelu(self.expand(self.norm(self.along_time(x)))))
        return torch.addcmul(x, self.scale, y)

    def along_time(self, x: Tensor) -> Tensor:
        """The depthwise convolution."""
        return self.depthwise(x.transpose(1, 2)).transpose(1, 2)


class QuickConvNeXtBlock(ConvNeXtBlock):
    """The same by another kernel, four times as fast, which rounds otherwise.

    How an encoder rounds is seen in the bytes of files, so it stays as it is.
    """

    def along_time(self, x: Tensor) -> Tensor:
        conv = self.depthwise
        rows = x.transpose(1, 2).unsqueeze(2)  # in two dimensions any layout does
        padding = (0, *conv.padding)
        y = F.conv2d(rows, conv.weight.unsqueeze(2), conv.bias, padding=padding, groups=conv.groups)
        return y.squeeze(2).transpose(1, 2)


class Downsample(nn.Module):
    """Merge every ``stride`` frames into one: (batch, time, a) -> (batch, time // stride, b)."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.norm = nn.LayerNorm(width_in, eps=1e-6)
        self.project = nn.Linear(width_in * stride, width_out)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        merged = self.norm(x).reshape(batch, time // self.stride, width * self.stride)
        return self.project(merged)


class Upsample(nn.Module):
    """Split every frame into ``stride``: (batch, time, a) -> (batch, time * stride, b)."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.norm = nn.LayerNorm(width_in, eps=1e-6)
        self.project = nn.Linear(width_in, width_out * stride)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, _ = x.shape
        return self.project(self.norm(x)).reshape(batch, time * self.stride, -1)
