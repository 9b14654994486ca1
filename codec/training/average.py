"""The moving average of weights that the codec is validated and exported with."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of the weights, with a short memory while the run is young."""

    def update(averaged: Any, current: Any, count: Any) -> None:
        n = count.float()  # stays on the device
        weight = 1 - torch.clamp((1 + n) / (10 + n), max=decay)
        for old, new in zip(averaged, current, strict=True):
            old.lerp_(new, weight.to(old.dtype))

    return AveragedModel(model, multi_avg_fn=update)
