"""What the decoder's spectra are filled with where phase is not carried: noise and harmonics.

A network of this size can learn levels, and it can learn waveforms where the bits suffice, in the
lowest octaves. Above them it has to make phases up, and the ones that it learns are the same in
every frame: a buzz at the frame rate in place of breath, cymbals and voices. So it is given two
signals to shape, as speech coders have always done (the excitation of Makhoul et al. 1978, "A
mixed-source model for speech compression and synthesis"): noise, and the harmonics of what it has
decoded in the lowest bins, made by distortion as in high-frequency regeneration (Makhoul and
Berouti 1979). Both have unit power in every band and no parameters.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from codec.transform import inverse_stft, stft

NOISE_FRAMES = 256
"""STFT frames after which the noise repeats: 3 s. It divides the frames of a block of a file, so
that a block is the same wherever decoding begins (codec/blocks.py)."""

QUIET = 1e-4
"""-80 dB: lowest bins below this level have no harmonics."""


class Excitation(nn.Module):
    """Spectra to shape, from bin ``first`` up; the bins below are the decoder's own."""

    noise: Tensor
    window: Tensor
    band_of_bin: Tensor
    averages: Tensor

    def __init__(self, n_fft: int, hop: int, first: int, bands: int) -> None:
        super().__init__()
        self.n_fft, self.hop, self.first = n_fft, hop, first
        bins = n_fft // 2 + 1
        band_of_bin = torch.from_numpy(_bands(first, bins, bands))
        one_hot = torch.nn.functional.one_hot(band_of_bin, bands).float()
        window = torch.hann_window(n_fft, device="cpu")
        for name, value in {
            "window": window,
            "noise": _noise(window, hop)[:, first:],
            "band_of_bin": band_of_bin,
            "averages": one_hot / one_hot.sum(dim=0),
        }.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, mix: Tensor, lowest: Tensor, first_frame: int | Tensor) -> Tensor:
        """Noise and harmonics at the levels of ``mix``.

        Args:
            mix: (rows, frames, 2 * bands), log-levels of the noise and of the harmonics.
            lowest: (rows, frames, first), the complex spectra of the lowest bins.
            first_frame: which frame of the noise to begin with, one number or one for each row.

        Returns:
            (rows, frames, bins - first), complex.
        """
        rows, frames, _ = mix.shape
        start = torch.as_tensor(first_frame, device=mix.device).reshape(-1, 1)
        when = (start + torch.arange(frames, device=mix.device)) % NOISE_FRAMES
        noise = self.noise[when].expand(rows, -1, -1)
        noisy, harmonic = mix.exp().chunk(2, dim=-1)
        return noisy[..., self.band_of_bin] * noise + harmonic[
            ..., self.band_of_bin
        ] * self.harmonics(lowest)

    @torch.no_grad()
    def harmonics(self, lowest: Tensor) -> Tensor:
        """(rows, frames, first) -> (rows, frames, bins - first), of unit power in every band.

        Without a gradient: the lowest bins are to be what they should be, not what helps above.
        """
        power = (lowest.real**2 + lowest.imag**2).sum(dim=-1, keepdim=True)
        # A Hann frame of a waveform with level r has the power r^2 * 3 / 16 * n_fft^2.
        level = (power * 16 / 3).sqrt() / self.n_fft
        flat = torch.nn.functional.pad(
            torch.view_as_real(lowest / (level + QUIET)),
            (0, 0, 0, self.n_fft // 2 + 1 - self.first),
        )
        tone = inverse_stft(torch.view_as_complex(flat), self.window, self.hop)
        # |x| has the even harmonics of a tone, and what is nearly its sign has the odd ones.
        distorted = tone.abs() + 0.3 * torch.tanh(5 * tone)
        spectra = stft(distorted, self.window, self.hop)[..., self.first :]
        power = (spectra.real**2 + spectra.imag**2) @ self.averages
        return spectra / (power + 1e-8).sqrt()[..., self.band_of_bin]


def _bands(first: int, bins: int, bands: int) -> np.ndarray:
    """The band of every bin from ``first`` up: of equal width at first, then in equal ratios."""
    ratio = np.geomspace(first, bins, bands + 1)
    least = 0.6 * (bins - first) / bands
    edges = first + np.cumsum(np.maximum(np.diff(ratio), least))
    edges = first + (edges - first) * (bins - first) / (edges[-1] - first)
    return np.searchsorted(edges, np.arange(first, bins), side="right").clip(max=bands - 1)


def _noise(window: Tensor, hop: int) -> Tensor:
    """Spectra of a loop of random signs, (NOISE_FRAMES, bins), each bin of unit power."""
    samples = NOISE_FRAMES * hop
    bits = np.random.Generator(np.random.Philox(key=0)).integers(2, size=samples)
    loop = torch.from_numpy(bits).float() * 2 - 1
    pad = (len(window) - hop) // 2
    around = torch.cat([loop[samples - pad :], loop, loop[:pad]])
    return torch.stft(
        around, len(window), hop, window=window / window.norm(), center=False, return_complex=True
    ).T.contiguous()
