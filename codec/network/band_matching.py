"""Bringing a waveform to the levels that a map expects of its bands.

Noise has levels of its own: a band of 100 Hz goes up and down by 3 dB from one hundredth of a
second to the next, whatever gain it got, and so do sinusoids that beat. Where latents say how loud
a band was, that is heard as roughness which the recording does not have. Noise that is brought to
the recording's own levels scores 0.3 points more in Zimtohrli than noise that has them as its mean
(docs/LESSONS.md, "The spectral map").
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from codec.network.config import FRAME
from codec.network.stft import inverse_stft, stft
from codec.network.views import (
    SHORT_FRAMES,
    SHORT_WINDOW,
    band_log_powers,
    band_means,
    band_of_bin,
    in_bins,
)

HOP = FRAME // SHORT_FRAMES
MOST_UP, MOST_DOWN = 1.0, 3.0
"""An amplitude is multiplied by e at most, or divided by e^3: a band that is nearly empty, or in
which a sound begins, is not blown up."""


class BandMatching(nn.Module):
    """Gives the bands of the short view their expected power, in every hop.

    Shape: (batch, time), log powers (batch, time // HOP, SHORT_BANDS) -> (batch, time)
    """

    window: Tensor
    means: Tensor
    band_of_bin: Tensor

    reach = SHORT_WINDOW // HOP
    """Hops on either side that can influence the samples of one."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(SHORT_WINDOW), persistent=False)
        self.register_buffer("means", band_means(), persistent=False)
        self.register_buffer("band_of_bin", band_of_bin(SHORT_WINDOW), persistent=False)

    def forward(self, waveform: Tensor, log_power: Tensor) -> Tensor:
        spectra = self.spectra(waveform)
        present = band_log_powers(spectra, self.means)
        gain = ((log_power - present) / 2).clamp(-MOST_DOWN, MOST_UP)
        return self.with_gains(spectra, gain)

    def spectra(self, waveform: Tensor) -> Tensor:
        """(batch, time) -> (batch, time // HOP, bins)"""
        return stft(waveform, self.window, HOP)

    def with_gains(self, spectra: Tensor, log_gain: Tensor) -> Tensor:
        """Spectra with a gain for each band, (batch, hops, SHORT_BANDS), as (batch, time)."""
        return inverse_stft(spectra * in_bins(log_gain.exp(), self.band_of_bin), self.window, HOP)
