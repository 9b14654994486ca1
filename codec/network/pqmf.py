"""Pseudo-quadrature mirror filters (PQMF): a waveform as bands of equal width, and back.

A cosine-modulated filter bank with nearly perfect reconstruction (Nguyen 1994, "Near-perfect-
reconstruction pseudo-QMF banks"), the front end of RAVE (Caillon and Esling 2021). A network
behind it works at ``1 / bands`` of the sample rate. Nothing is learned.

One low-pass prototype p of length L, shifted to the middle of each band, gives every filter:

    h_k[n] = p[n] cos((2k + 1) pi / (2 bands) n + (-1)^k pi / 4),   n = -(L-1)/2 ... (L-1)/2

The phase of pi / 4, of alternating sign, cancels the aliasing between neighbouring bands;
the stop band of p removes it between all others. What is left is the ripple of the overall
response, nil when p correlated with itself vanishes at the multiples of 2 * bands, and that
depends on the cutoff alone. With 16 bands 60 dB of signal-to-noise ratio are left.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from codec.errors import AudioError
from codec.network.float32 import in_float32

STOPBAND_DB = 100.0
"""Attenuation of the prototype's Kaiser window, as in RAVE."""

TAPS_PER_BAND = 17
"""Prototype length in hops, the least at which 100 dB are reached within one band's width.

Odd, so that each subband sample stands in the middle of its hop and the overall delay is zero.
"""

CUTOFF_RANGE = (1.0, 1.3)
"""Where the best cutoff lies, as a multiple of half a band's width."""


def _prototype(bands: int, cutoff: float) -> NDArray[np.float64]:
    """Windowed-sinc low-pass; ``cutoff`` is a multiple of half a band's width."""
    length = TAPS_PER_BAND * bands
    n = np.arange(length) - (length - 1) / 2
    beta = 0.1102 * (STOPBAND_DB - 8.7)  # Kaiser's formula for attenuations above 50 dB
    return np.sinc(cutoff / (2 * bands) * n) * np.kaiser(length, beta)


def _ripple(bands: int, cutoff: float) -> float:
    """Energy of the prototype's autocorrelation at the multiples of ``2 * bands``, relative."""
    p = _prototype(bands, cutoff)
    autocorrelation = np.correlate(p, p, mode="full")[len(p) - 1 :: 2 * bands]
    return float(np.sum((autocorrelation[1:] / autocorrelation[0]) ** 2))


def _best_cutoff(bands: int) -> float:
    """The cutoff of least ripple, by golden-section search (the ripple has one minimum there)."""
    ratio = (5**0.5 - 1) / 2
    low, high = CUTOFF_RANGE
    while high - low > 1e-7:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if _ripple(bands, left) < _ripple(bands, right):
            high = right
        else:
            low = left
    return (low + high) / 2


def _filters(bands: int) -> NDArray[np.float64]:
    """All band filters, (bands, length), each of unit energy, which makes the overall gain 1."""
    p = _prototype(bands, _best_cutoff(bands))
    n = np.arange(len(p)) - (len(p) - 1) / 2
    k = np.arange(bands)[:, None]
    filters = p * np.cos((2 * k + 1) * np.pi / (2 * bands) * n + (-1.0) ** k * np.pi / 4)
    return filters / np.linalg.norm(filters, axis=1, keepdims=True)


class PQMF(nn.Module):
    """Splits a waveform into ``bands`` critically sampled subbands and merges them again.

    Synthesis is the transpose of analysis, so both together have no delay. The signal is taken
    as zero outside the tensor and subband samples that would stand there are lost: within
    ``reach`` hops of either end the reconstruction is incomplete.
    """

    filters: Tensor

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.bands = bands
        # As a convolution over hops, (band, sample within the hop, hop): without a stride it
        # is a plain matrix product.
        filters = torch.from_numpy(_filters(bands)).float()
        polyphase = filters.reshape(bands, TAPS_PER_BAND, bands).transpose(1, 2).contiguous()
        self.register_buffer("filters", polyphase, persistent=False)

    @property
    def reach(self) -> int:
        """Hops of ``bands`` samples on either side that influence one hop, in each direction."""
        return TAPS_PER_BAND // 2

    def analysis(self, waveform: Tensor) -> Tensor:
        """Subbands of a waveform; those of one channel stand together, lowest first.

        (batch, channels, time) -> (batch, channels * bands, time // bands)

        Raises:
            AudioError: time is not a multiple of ``bands``.
        """
        batch, channels, time = waveform.shape
        if time % self.bands:
            raise AudioError(
                f"waveform has {time} samples, expected a multiple of the {self.bands} PQMF "
                f"bands; pad it with zeros"
            )
        # half-precision products would limit the reconstruction to 49 dB
        with in_float32(waveform):
            hops = waveform.to(self.filters.dtype).reshape(batch * channels, -1, self.bands)
            subbands = F.conv1d(hops.transpose(1, 2), self.filters, padding=self.reach)
        return subbands.reshape(batch, channels * self.bands, -1)

    def synthesis(self, subbands: Tensor) -> Tensor:
        """The waveform of subbands ordered as :meth:`analysis` orders them.

        (batch, channels * bands, hops) -> (batch, channels, hops * bands)

        Raises:
            AudioError: the second dimension is not a multiple of ``bands``.
        """
        batch, rows, hops = subbands.shape
        if rows % self.bands:
            raise AudioError(
                f"subbands have {rows} rows, expected a multiple of the {self.bands} PQMF bands; "
                f"pass what analysis returns: (batch, channels * bands, hops)"
            )
        with in_float32(subbands):
            split = subbands.to(self.filters.dtype).reshape(-1, self.bands, hops)
            merged = F.conv_transpose1d(split, self.filters, padding=self.reach)
        return merged.transpose(1, 2).reshape(batch, rows // self.bands, hops * self.bands)
