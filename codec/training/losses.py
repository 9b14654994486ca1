"""Reconstruction losses of the VAE, one value per item.

Every loss is computed for each item alone and only then averaged, so that a batch split over
processes gives the gradient of the whole batch. Rows are what a listener hears apart: the mid and
side signals of a stereo pair, or a mono signal. A one-channel network codes mid and side as two
rows; a two-channel one codes left/right, which is turned into mid and side here. The multi-
resolution STFT distance of those rows is the sum-and-difference loss of Steinmetz et al. 2020
("Automatic multitrack mixing with a differentiable mixing console").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import scipy.signal  # noqa: F401  (auraloss imports it late; if it is missing, tell at once)
import torch
import torchaudio
from auraloss.freq import STFTLoss
from auraloss.perceptual import FIRFilter
from scipy.fft import next_fast_len
from torch import Tensor, nn

from codec.audio.waveform import to_mid_side
from codec.metrics.mel import FLOOR, MEL_BANDS, MEL_WINDOWS
from codec.training.config import LossConfig
from codec.training.magnitudes import magnitudes

QUIET = 1e-3
"""-60 dB. Relative distances count a row or band below this level as if it had it, because what
is left of an almost silent one would outweigh the rest of the batch a hundred times."""


LEAST_MAGNITUDE = 1e-6
"""Magnitude of a bin before mel filters below which there is no gradient."""


class SpectralConvergencePerRow(nn.Module):
    """auraloss' spectral convergence with the norms taken over each row, not over the batch."""

    def forward(self, x_mag: Tensor, y_mag: Tensor) -> Tensor:
        error = torch.linalg.vector_norm(y_mag - x_mag, dim=(-2, -1))
        level = torch.linalg.vector_norm(y_mag, dim=(-2, -1))
        bins, frames = y_mag.shape[-2:]
        # White noise has mean square rms^2 * sum(window^2) in every bin; a Hann window sums to 3/8.
        quiet = QUIET * math.sqrt(2 * (bins - 1) * 3 / 8 * bins * frames)
        return (error / level.clamp(min=quiet)).mean()


class AWeighting(nn.Module):
    """auraloss' A-weighting filter (IEC 61672), applied by FFT: 13 times as fast on a CPU.

    Shape: (rows, time) -> (rows, time)
    """

    taps: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        fir = FIRFilter(filter_type="aw", fs=sample_rate).fir
        self.register_buffer("taps", fir.weight.detach()[0, 0], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        time, count = x.shape[1], len(self.taps)
        size = next_fast_len(time + count - 1, real=True)
        spectrum = torch.fft.rfft(x, size) * torch.fft.rfft(self.taps, size)
        return torch.fft.irfft(spectrum, size)[:, count // 2 : count // 2 + time]


class MagnitudeSTFTLoss(STFTLoss):
    """auraloss' STFT loss on magnitudes alone, with their own backward pass (magnitudes.py)."""

    def __init__(self, window: int) -> None:
        super().__init__(fft_size=window, hop_size=window // 4, win_length=window)
        self.spectralconv = SpectralConvergencePerRow()

    def stft(self, x: Tensor) -> tuple[Tensor, None]:
        magnitude = magnitudes(x, self.window, math.sqrt(self.eps), pad_mode="reflect")
        return magnitude.transpose(1, 2), None


class MelDistance(nn.Module):
    """The distance of :func:`codec.metrics.mel.mel_distance`, made for training.

    Filters are torchaudio's, which the runtime has to do without, and lie beside the weights.

    Shape: two of (rows, time) -> (rows,)
    """

    def __init__(self, sample_rate: int, windows: tuple[int, ...]) -> None:
        super().__init__()
        bands = dict(zip(MEL_WINDOWS, MEL_BANDS, strict=True))
        self.windows = windows
        for window in windows:
            filters = torchaudio.functional.melscale_fbanks(
                window // 2 + 1,
                0.0,
                sample_rate / 2,
                bands[window],
                sample_rate,
                norm="slaney",
                mel_scale="slaney",
            )
            self.register_buffer(f"filters_{window}", filters, persistent=False)
            self.register_buffer(f"window_{window}", torch.hann_window(window), persistent=False)

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        total = target.new_zeros(len(target))
        for window in self.windows:
            x, y = (self._log_mel(rows, window) for rows in (estimate, target))
            total = total + (x - y).abs().mean(dim=(1, 2))
        return total

    def _log_mel(self, rows: Tensor, window: int) -> Tensor:
        magnitude = magnitudes(rows, self.get_buffer(f"window_{window}"), LEAST_MAGNITUDE)
        return (magnitude @ self.get_buffer(f"filters_{window}")).clamp(min=FLOOR).log10()


@dataclass(frozen=True)
class ReconstructionTerms:
    """The terms before weighting, each a scalar: the mean over rows."""

    stft: Tensor
    mel: Tensor
    l1: Tensor
    low_band: Tensor

    def total(self, config: LossConfig) -> Tensor:
        return (
            config.stft * self.stft
            + config.mel * self.mel
            + config.l1 * self.l1
            + config.low_band * self.low_band
        )


LOW_BAND_WINDOW = 2048
"""Samples: 46 ms at 44.1 kHz, short enough to place a bass note."""


def low_band_distance(estimate: Tensor, target: Tensor, sample_rate: int, hz: float) -> Tensor:
    """One minus the correlation of two complex STFTs below ``hz``: 0 for equal waveforms, 1 for
    waveforms that have nothing to do with each other, 2 for opposite ones.

    The one term that is about phase, where phase can be had: at 64x the bits suffice to follow
    the waveform of the lowest one or two hundred Hz and no more. It says nothing about level,
    since any distance that does teaches a decoder that does not know the phase to be quiet.

    Shape: two of (rows, time) -> (rows,)
    """
    bins = max(1, round(hz / sample_rate * LOW_BAND_WINDOW))
    window = torch.hann_window(LOW_BAND_WINDOW, device=target.device)
    x, y = (
        torch.view_as_real(
            torch.stft(
                signal,
                LOW_BAND_WINDOW,
                LOW_BAND_WINDOW // 4,
                window=window,
                pad_mode="constant",
                return_complex=True,
            )
        )[:, :bins].flatten(1)
        for signal in (estimate, target)
    )
    # Below the level of a quiet tone in every bin, what there is is hum and not worth bits.
    quiet = QUIET * LOW_BAND_WINDOW / 4 * math.sqrt(y.shape[1] / 2)
    norms = x.norm(dim=1).clamp(min=quiet) * y.norm(dim=1).clamp(min=quiet)
    return 1 - (x * y).sum(dim=1) / norms


class ReconstructionLoss(nn.Module):
    """Sum-and-difference multi-resolution STFT, mel and waveform distance."""

    def __init__(self, config: LossConfig, sample_rate: int) -> None:
        super().__init__()
        self.config = config
        self.sample_rate = sample_rate
        self.weighting = AWeighting(sample_rate)
        self.stft_losses = nn.ModuleList(MagnitudeSTFTLoss(w) for w in config.stft_windows)
        self.mel = MelDistance(sample_rate, config.mel_windows)

    def forward(self, estimate: Tensor, target: Tensor) -> ReconstructionTerms:
        """Two of (batch, channels, time) -> terms averaged over the batch."""
        time = target.shape[-1]
        x = to_mid_side(estimate).reshape(-1, time)
        y = to_mid_side(target).reshape(-1, time)

        # Relative to the row's own level: else quiet passages would not count at all.
        level = y.abs().mean(dim=1).clamp(min=QUIET)
        l1 = ((x - y).abs().mean(dim=1) / level).mean()

        mel = self.mel(x, y).mean()

        with torch.set_grad_enabled(torch.is_grad_enabled() and self.config.low_band > 0):
            low = low_band_distance(x, y, self.sample_rate, self.config.low_band_hz).mean()

        xw, yw = (self.weighting(rows)[:, None] for rows in (x, y))
        stft = torch.stack([loss(xw, yw) for loss in self.stft_losses]).mean()
        return ReconstructionTerms(stft, mel, l1, low)
