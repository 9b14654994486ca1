"""Discriminators of the adversarial loss: they tell recordings from what the codec made of them.

Two kinds, each an ensemble of small convolutional networks:

- multi-resolution complex STFT (Défossez et al. 2022, "High fidelity neural audio compression",
  section 3.4; also Kumar et al. 2023 and Stable Audio): real and imaginary part are the channels
  of a picture of time and frequency. Here its values are power-compressed as in the codec's
  encoder: music falls by some 60 dB from the lowest bins to the highest, and a network that sees
  them raw learns nothing about the upper octaves in the time there is.
- multi-period (Kong et al. 2020, "HiFi-GAN", section 2.3): every p-th sample is a column.

The widths of the papers are hundreds of times beyond a CPU; those of the config are ours.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from codec.network.float32 import in_float32
from codec.training.config import AdversarialConfig

COMPRESSION = 0.3
"""Exponent of magnitudes, about the ear's loudness law."""

QUIETEST = 1e-6
"""Power below which compression ends: 60 dB under the level of the row."""

SLOPE = 0.1
"""Slope of the leaky rectifiers below zero."""

Judgement = list[Tensor]
"""The outputs of a network's layers for some rows, the last one the logits: each (rows, ...)."""


FOLD = 8
"""Neighbouring bins or samples that become the channels of one place where the networks begin: a
CPU takes as long for wide layers on few places as for narrow ones on many, and wide ones can tell
more apart."""


def _conv(into: int, out: int, kernel: tuple[int, int], stride: tuple[int, int]) -> nn.Module:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return weight_norm(nn.Conv2d(into, out, kernel, stride, padding))


class _Layers(nn.Module):
    """A stack of 2-D convolutions that keeps what every layer gives."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Judgement:
        """(rows, channels, height, width) -> the layers' outputs."""
        outputs = []
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), SLOPE)
            outputs.append(x)
        return [*outputs, self.layers[-1](x)]


class STFTDiscriminator(nn.Module):
    """Judges complex spectrograms of one window length, in samples.

    Shape: (rows, time), of about unit power -> layers of (rows, width, frames, bins / FOLD)
    """

    window: Tensor

    def __init__(self, window: int, width: int) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        self.stack = _Layers(
            [
                _conv(2 * FOLD, width, (3, 3), (1, 1)),
                _conv(width, 2 * width, (3, 3), (2, 2)),
                _conv(2 * width, 2 * width, (3, 3), (1, 1)),
                _conv(2 * width, 1, (3, 3), (1, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Judgement:
        picture = F.pad(self.picture(x), (0, -(len(self.window) // 2 + 1) % FOLD))
        return self.stack(
            rearrange(picture, "rows c frames (bins fold) -> rows (c fold) frames bins", fold=FOLD)
        )

    def picture(self, x: Tensor) -> Tensor:
        """(rows, time) -> (rows, 2, frames, bins)"""
        with in_float32(x):
            size = len(self.window)
            spectrum = torch.stft(
                x.float(),
                size,
                size // 4,
                window=self.window / self.window.norm(),
                pad_mode="constant",
                return_complex=True,
            )
            parts = torch.stack([spectrum.real, spectrum.imag], dim=1).transpose(2, 3)
            power = (parts**2).sum(dim=1, keepdim=True) + QUIETEST
            return parts * power ** ((COMPRESSION - 1) / 2)


class PeriodDiscriminator(nn.Module):
    """Judges the waveform folded into rows of ``period`` samples.

    Shape: (rows, time) -> layers of (rows, width, time / (period * FOLD * strides), period)
    """

    def __init__(self, period: int, width: int) -> None:
        super().__init__()
        self.period = period
        self.stack = _Layers(
            [
                _conv(FOLD, width, (5, 1), (1, 1)),
                _conv(width, 2 * width, (5, 1), (2, 1)),
                _conv(2 * width, 2 * width, (3, 1), (1, 1)),
                _conv(2 * width, 1, (3, 1), (1, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Judgement:
        padded = F.pad(x, (0, -x.shape[1] % (FOLD * self.period)))
        return self.stack(
            rearrange(
                padded, "rows (t fold period) -> rows fold t period", fold=FOLD, period=self.period
            )
        )


class Discriminators(nn.Module):
    """All discriminators of a config: (rows, time) -> the judgement of each."""

    def __init__(self, config: AdversarialConfig) -> None:
        super().__init__()
        networks: list[nn.Module] = [
            STFTDiscriminator(window, config.stft_width) for window in config.stft_windows
        ]
        networks += [PeriodDiscriminator(period, config.period_width) for period in config.periods]
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> list[Judgement]:
        return [network(x) for network in self.networks]


def discriminator_loss(real: list[Judgement], fake: list[Judgement]) -> Tensor:
    """Hinge loss of the discriminators, averaged over them and over rows (Lim and Ye 2017, eq. 6).

    max(0, 1 - D(real)) + max(0, 1 + D(fake)): 2 for discriminators that know nothing.
    """
    losses = [
        F.relu(1 - r[-1].float()).mean() + F.relu(1 + f[-1].float()).mean()
        for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(losses).mean()


def adversarial_loss(fake: list[Judgement]) -> Tensor:
    """What the codec is to make small: -D(fake), averaged alike."""
    return torch.stack([-judgement[-1].float().mean() for judgement in fake]).mean()


def feature_matching_loss(real: list[Judgement], fake: list[Judgement]) -> Tensor:
    """Distance of the hidden layers' outputs, averaged over layers, networks and rows.

    L1, relative to the mean absolute output of the layer for the same row of the recording
    (Défossez et al. 2022, eq. 4, where it is relative to the whole batch).
    """
    distances = []
    for r_layers, f_layers in zip(real, fake, strict=True):
        for r, f in zip(r_layers[:-1], f_layers[:-1], strict=True):
            target = r.detach().float().flatten(1)
            level = target.abs().mean(dim=1).clamp(min=1e-5)
            distances.append(((f.float().flatten(1) - target).abs().mean(dim=1) / level).mean())
    return torch.stack(distances).mean()


def rms(rows: Tensor, floor: float) -> Tensor:
    """Root mean square of each row, at least ``floor``: (rows, time) -> (rows, 1)"""
    return (rows.norm(dim=1, keepdim=True) / math.sqrt(rows.shape[1])).clamp(min=floor)
