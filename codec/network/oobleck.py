"""Oobleck, the waveform network of Stable Audio (Evans et al. 2024), optionally behind a PQMF.

Strided convolutions take the waveform down to the latent frame rate; before each of them stand
residual units of dilated convolutions with Snake activations. The decoder mirrors the encoder.
With ``pqmf_bands = 16`` both work on subbands, as RAVE does (see codec/network/pqmf.py).

Modules are nested as in Stable Audio's open release, so its weights fit here under other names:
codec/interop reads its files. The second half of that encoder's output is a scale in front of a
softplus, not a log-variance (``posterior_scale``).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from codec.errors import AudioError
from codec.network.config import OobleckConfig
from codec.network.pqmf import PQMF


class SnakeBeta(nn.Module):
    """x + sin(alpha x)^2 / beta, with alpha and beta learned per channel as logarithms.

    Snake (Ziyin et al. 2020) with the gain beta of its own that BigVGAN (Lee et al. 2023) added.

    Shape: (batch, channels, time) -> the same
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        alpha, beta = self.alpha.exp()[:, None], self.beta.exp()[:, None]
        return x + torch.sin(alpha * x).square() / (beta + 1e-9)  # 1e-9: as published


def _conv(
    width_in: int, width_out: int, kernel_size: int, dilation: int = 1, bias: bool = True
) -> nn.Module:
    """Weight-normalised convolution that keeps the length; ``kernel_size`` is odd."""
    padding = dilation * (kernel_size // 2)
    conv = nn.Conv1d(
        width_in, width_out, kernel_size, padding=padding, dilation=dilation, bias=bias
    )
    return weight_norm(conv)


class _Downsample(nn.Conv1d):
    """(batch, a, time) -> (batch, b, time // stride), also for odd strides."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        padding = math.ceil(stride / 2)
        super().__init__(width_in, width_out, 2 * stride, stride=stride, padding=padding)

    def forward(self, input: Tensor) -> Tensor:
        # stride 1 alone gives a frame too many
        return super().forward(input)[..., : input.shape[-1] // self.stride[0]]


class _Upsample(nn.ConvTranspose1d):
    """(batch, a, frames) -> (batch, b, frames * stride), also for odd strides."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__(width_in, width_out, 2 * stride, stride=stride, padding=stride // 2)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        # An odd stride leaves one sample too many. The first one goes, since then the left end
        # loses ceil(stride / 2) samples: what _Downsample pads there.
        return super().forward(input, output_size)[..., self.stride[0] % 2 :]


class ResidualUnit(nn.Module):
    """Snake, dilated convolution, Snake, 1x1 convolution: (batch, width, time) -> the same."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            SnakeBeta(width),
            _conv(width, width, 7, dilation),
            SnakeBeta(width),
            _conv(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class EncoderBlock(nn.Module):
    """Residual units, then downsampling: (batch, a, time) -> (batch, b, time // stride)."""

    def __init__(
        self, width_in: int, width_out: int, stride: int, dilations: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(ResidualUnit(width_in, dilation) for dilation in dilations),
            SnakeBeta(width_in),
            weight_norm(_Downsample(width_in, width_out, stride)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class DecoderBlock(nn.Module):
    """Upsampling, then residual units: (batch, a, frames) -> (batch, b, frames * stride)."""

    def __init__(
        self, width_in: int, width_out: int, stride: int, dilations: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            SnakeBeta(width_in),
            weight_norm(_Upsample(width_in, width_out, stride)),
            *(ResidualUnit(width_out, dilation) for dilation in dilations),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class OobleckEncoder(nn.Module):
    """Waveform to frames of ``out_dim`` values.

    Shape: (batch, channels, time) -> (batch, out_dim, time // hop_length)
    """

    def __init__(self, config: OobleckConfig, channels: int, out_dim: int) -> None:
        super().__init__()
        self.config = config
        self.pqmf = PQMF(config.pqmf_bands) if config.pqmf_bands > 1 else None
        widths = _widths(config)
        self.layers = nn.Sequential(
            _conv(channels * config.pqmf_bands, widths[0], 7),
            *(
                EncoderBlock(widths[i], widths[i + 1], stride, config.dilations)
                for i, stride in enumerate(config.strides)
            ),
            SnakeBeta(widths[-1]),
            _conv(widths[-1], out_dim, 3),
        )

    @property
    def receptive_frames(self) -> int:
        """Latent frames on either side whose audio can influence one latent frame."""
        reach = self.pqmf.reach if self.pqmf else 0
        first, last = _input_span(self.layers, 0, 0)
        hop = math.prod(self.config.strides)  # samples per frame behind the PQMF
        return max(math.ceil((reach - first) / hop), math.ceil((last + reach - (hop - 1)) / hop))

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, channels, time) -> (batch, out_dim, time // hop_length)

        Raises:
            AudioError: time is not a multiple of hop_length.
        """
        time, hop = waveform.shape[-1], self.config.hop_length
        if time % hop:
            raise AudioError(
                f"waveform has {time} samples, expected a multiple of hop_length {hop}; "
                f"pad it with {-time % hop} zeros"
            )
        return self.layers(self.pqmf.analysis(waveform) if self.pqmf else waveform)


class OobleckDecoder(nn.Module):
    """Latents to waveform.

    Shape: (batch, latent_dim, frames) -> (batch, channels, frames * hop_length)
    """

    def __init__(self, config: OobleckConfig, channels: int, latent_dim: int) -> None:
        super().__init__()
        self.config = config
        self.pqmf = PQMF(config.pqmf_bands) if config.pqmf_bands > 1 else None
        widths = _widths(config)
        self.layers = nn.Sequential(
            _conv(latent_dim, widths[-1], 7),
            *(
                DecoderBlock(widths[i + 1], widths[i], config.strides[i], config.dilations)
                for i in reversed(range(len(config.strides)))
            ),
            SnakeBeta(widths[0]),
            _conv(widths[0], channels * config.pqmf_bands, 7, bias=False),
        )

    @property
    def receptive_frames(self) -> int:
        """Latent frames on either side that can influence the samples of one frame."""
        reach = self.pqmf.reach if self.pqmf else 0
        hop = math.prod(self.config.strides)
        first, last = _input_span(self.layers, -reach, hop - 1 + reach)
        return max(-first, last)

    def forward(self, z: Tensor) -> Tensor:
        x = self.layers(z)
        waveform = self.pqmf.synthesis(x) if self.pqmf else x
        return torch.tanh(waveform) if self.config.final_tanh else waveform


def _widths(config: OobleckConfig) -> list[int]:
    """Channels at every level from the waveform down to the latents: one more than strides."""
    return [config.width, *(config.width * multiple for multiple in config.width_multiples)]


def _input_span(module: nn.Module, first: int, last: int) -> tuple[int, int]:
    """First and last input sample that can influence output samples ``first`` to ``last``.

    Walks the convolutions from the last to the first; a residual unit's direct path lies within
    the span of its layers, and Snake works on each sample alone.
    """
    if isinstance(module, nn.ConvTranspose1d):
        (stride,), (kernel_size,) = module.stride, module.kernel_size
        cut = math.ceil(stride / 2)  # samples taken off the left end, see _Upsample
        return math.ceil((first + cut - (kernel_size - 1)) / stride), (last + cut) // stride
    if isinstance(module, nn.Conv1d):
        stride, padding = module.stride[0], int(module.padding[0])
        extent = (module.kernel_size[0] - 1) * module.dilation[0]
        return first * stride - padding, last * stride - padding + extent
    for child in reversed(list(module.children())):
        first, last = _input_span(child, first, last)
    return first, last
