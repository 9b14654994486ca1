"""Levels of frequency bands, which some latents carry as they are and the decoder keeps to.

The ear judges the level in each of its bands before anything else, and every measure of quality
does. A network of this size learns to carry them to some decibels only, so they go beside it: the
encoder measures them, a linear map turns them into the first latents, another one turns these back
into levels, and what the decoder has made is brought to them. Opus does the same (Valin et al.
2013, "High-quality, low-delay music coding in the Opus codec", section 4.2: the energy of every
band is coded explicitly, and kept).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from codec.errors import ConfigError
from codec.network.stft import inverse_stft, stft

FLOOR = 1e-8
"""Power of a bin below which nothing is distinguished: some -110 dB."""

MAX_LOG_GAIN = 9.0
"""78 dB: how far a level may be corrected. With 52 dB a sine of 3 kHz, whose like the network has
never heard, came back 14 dB too quiet, with this 2 dB (lines to run: docs/MODEL_CARD.md)."""


class BandLevels(nn.Module):
    """Measures and corrects the levels of bands from bin ``first`` up.

    A frame is ``stride`` frames of the STFT; its levels are ``per_frame`` times those of all bands,
    one after the other.
    """

    window: Tensor
    band_of_bin: Tensor
    averages: Tensor

    def __init__(
        self,
        n_fft: int,
        hop: int,
        stride: int,
        first: int,
        bands: int,
        knee: int = 0,
        per_frame: int = 1,
    ) -> None:
        super().__init__()
        self.hop, self.stride, self.first = hop, stride // per_frame, first
        self.bands, self.per_frame = bands, per_frame
        with torch.device("cpu"):
            band_of_bin = torch.from_numpy(_bands(first, n_fft // 2 + 1, bands, knee))
            one_hot = torch.nn.functional.one_hot(band_of_bin, bands).float()
            window = torch.hann_window(n_fft)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("band_of_bin", band_of_bin, persistent=False)
        self.register_buffer("averages", one_hot / one_hot.sum(dim=0), persistent=False)

    def measure(self, waveform: Tensor) -> Tensor:
        """Natural logarithms of the bands' RMS: (rows, time) -> (rows, frames, levels)."""
        return self.of(stft(waveform, self.window, self.hop))

    def correct(self, waveform: Tensor, levels: Tensor) -> Tensor:
        """The waveform with its bands at ``levels``: (rows, time), (rows, frames, levels)."""
        spectra = stft(waveform, self.window, self.hop)
        gain = (levels - self.of(spectra)).clamp(-MAX_LOG_GAIN, MAX_LOG_GAIN).exp()
        gain = gain.unflatten(-1, (self.per_frame, self.bands)).flatten(1, 2)
        gain = gain.repeat_interleave(self.stride, dim=1)[..., self.band_of_bin]
        spectra = torch.cat([spectra[..., : self.first], spectra[..., self.first :] * gain], dim=-1)
        return inverse_stft(spectra, self.window, self.hop)

    def of(self, spectra: Tensor) -> Tensor:
        """As :meth:`measure`, of complex spectra (rows, frames * stride, bins)."""
        above = spectra[..., self.first :]
        power = (above.real**2 + above.imag**2) @ self.averages
        levels = 0.5 * (power.unflatten(1, (-1, self.stride)).mean(dim=2) + FLOOR).log()
        return levels.unflatten(1, (-1, self.per_frame)).flatten(2)


def _bands(first: int, bins: int, bands: int, knee: int) -> np.ndarray:
    """The band of every bin from ``first`` up: widths rise in equal ratios, from 2 bins on.

    With a ``knee`` they rise as mels do, which have theirs at 700 Hz (O'Shaughnessy 1987): little
    below this bin and in equal ratios above.
    """
    if knee:
        scale = np.log1p(np.arange(first, bins + 1) / knee)
        of_bin = ((scale - scale[0]) / (scale[-1] - scale[0]) * bands).astype(np.int64)[:-1]
        if np.bincount(of_bin, minlength=bands).min() == 0:
            raise ConfigError(
                f"level_knee {knee} leaves some of {bands} bands without a bin; raise it, or lower "
                f"level_bands"
            )
        return of_bin
    edges = np.geomspace(first, bins, bands + 1)
    edges = first + np.cumsum(np.maximum(np.diff(edges), 2.0))
    edges = first + (edges - first) * (bins - first) / (edges[-1] - first)
    return np.searchsorted(edges, np.arange(first, bins), side="right").clip(max=bands - 1)


@torch.no_grad()
def principal_components(levels: Tensor, into: nn.Linear, out: nn.Linear) -> None:
    """Set the maps from levels to latents and back, by the principal components of ``levels``.

    Latents have unit variance over ``levels``, (items, bands).
    """
    mean = levels.mean(dim=0)
    _, singular, axes = torch.linalg.svd(levels - mean, full_matrices=False)
    axes = axes[: into.out_features]
    deviation = (singular[: len(axes)] / len(levels) ** 0.5).clamp(min=1e-3)
    into.weight.copy_(axes / deviation[:, None])
    into.bias.copy_(-into.weight @ mean)
    out.weight.copy_(axes.T * deviation)
    out.bias.copy_(mean)
