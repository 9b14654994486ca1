"""How the channels of a waveform are laid out for the network: the one place that knows it.

A network takes one or two channels. What it codes one after the other are rows: with one channel
mid and side of a stereo signal, or left and right if the config says so, or each channel of any
other signal; with two channels left and right together.
"""

from __future__ import annotations

from torch import Tensor

from codec.audio.waveform import from_mid_side, to_mid_side
from codec.network.config import ModelConfig


def to_rows(config: ModelConfig, waveform: Tensor) -> Tensor:
    """(batch, channels, time) -> (batch, coded_channels, network channels, time)."""
    if config.channels == 2:
        return waveform.expand(-1, 2, -1)[:, None]
    return (to_mid_side(waveform) if config.stereo == "mid_side" else waveform)[:, :, None]


def from_rows(config: ModelConfig, rows: Tensor, channels: int | None = None) -> Tensor:
    """The inverse of ``to_rows``; with ``channels`` 1 a stereo network gives mono."""
    if config.channels == 2:
        return rows.mean(dim=2) if channels == 1 else rows[:, 0]
    coded = rows[:, :, 0]
    return from_mid_side(coded) if config.stereo == "mid_side" else coded
