"""Noise and harmonics: unit power, the right bins, the same wherever decoding begins."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from codec.config import SpectralConfig
from codec.excitation import NOISE_FRAMES, Excitation
from codec.spectral import SpectralDecoder
from codec.transform import inverse_stft, stft

N_FFT, HOP, FIRST, BANDS = 1024, 256, 16, 12


@pytest.fixture(scope="module")
def excitation() -> Excitation:
    return Excitation(N_FFT, HOP, FIRST, BANDS)


def lowest(waveform: Tensor) -> Tensor:
    """The lowest bins of (rows, time)."""
    return stft(waveform, torch.hann_window(N_FFT), HOP)[..., :FIRST]


def tone(bin_: float, frames: int = 40) -> Tensor:
    """A cosine in the middle of a bin, (1, time)."""
    return torch.cos(2 * torch.pi * bin_ / N_FFT * torch.arange(frames * HOP))[None]


def test_every_bin_has_a_band(excitation: Excitation) -> None:
    bands = excitation.band_of_bin
    assert len(bands) == N_FFT // 2 + 1 - FIRST
    widths = torch.bincount(bands, minlength=BANDS)
    assert (bands.diff() >= 0).all()
    assert (widths.diff() >= -1).all()  # wider and wider, but for rounding
    assert widths.min() >= 20


def test_noise_has_unit_power_and_is_the_spectrum_of_a_loop(excitation: Excitation) -> None:
    noise = excitation.noise
    assert noise.shape == (NOISE_FRAMES, N_FFT // 2 + 1 - FIRST)
    power = noise.abs().pow(2).mean(dim=0)
    assert power.mean() == pytest.approx(1, abs=0.01)
    # Consistent over its end: what is made of it has the spectra that it was made of.
    full = torch.cat([torch.zeros(NOISE_FRAMES, FIRST), noise], dim=1)
    twice = inverse_stft(torch.cat([full, full])[None], torch.hann_window(N_FFT), HOP)
    again = stft(twice, torch.hann_window(N_FFT), HOP)[0, 3 : NOISE_FRAMES + 3, FIRST + 16 :]
    expected = torch.cat([noise, noise])[3 : NOISE_FRAMES + 3, 16:]
    torch.testing.assert_close(again, expected, atol=2e-3, rtol=0)


def test_noise_is_the_same_everywhere(excitation: Excitation) -> None:
    """Files are decoded with it, so it may never change: random signs of Philox with key 0."""
    assert excitation.noise[0, 0].item() == pytest.approx(0.4308 - 0.1028j, abs=1e-4)
    assert excitation.noise[100, 300].item() == pytest.approx(-0.6577 + 0.2074j, abs=1e-4)


def test_harmonics_of_a_tone_even_and_odd(excitation: Excitation) -> None:
    spectra = excitation.harmonics(lowest(0.1 * tone(10)))[0, 10:-10].abs().pow(2).mean(dim=0)
    for number in range(2, 12):
        at = 10 * number - FIRST
        if at >= 0:
            assert spectra[at] > 30 * spectra[at + 5], number


def test_harmonics_have_unit_power_in_every_band(excitation: Excitation) -> None:
    noise = torch.randn(2, 60 * HOP, generator=torch.Generator().manual_seed(0))
    power = excitation.harmonics(lowest(noise)).abs().pow(2) @ excitation.averages
    assert power[:, 5:-5].mean() == pytest.approx(1, abs=0.02)
    quiet = excitation.harmonics(lowest(1e-3 * noise)).abs().pow(2) @ excitation.averages
    assert quiet[:, 5:-5].mean() == pytest.approx(1, abs=0.02)


def test_silence_has_no_harmonics(excitation: Excitation) -> None:
    assert excitation.harmonics(torch.zeros(1, 9, FIRST, dtype=torch.complex64)).abs().max() == 0


def test_levels_are_those_of_the_mix(excitation: Excitation) -> None:
    """Noise in the second band and nothing else."""
    mix = torch.full((1, NOISE_FRAMES, 2 * BANDS), -50.0)
    mix[..., 1] = 0.5
    nothing = torch.zeros(1, NOISE_FRAMES, FIRST, dtype=torch.complex64)
    power = (excitation(mix, nothing, 0)[0].abs().pow(2) @ excitation.averages).mean(dim=0)
    assert power[1] == pytest.approx(torch.tensor(1.0).exp().item(), rel=0.05)
    assert power[[0, *range(2, BANDS)]].max() < 1e-20


def test_first_frame_for_each_row(excitation: Excitation) -> None:
    mix = torch.zeros(2, 5, 2 * BANDS)
    nothing = torch.zeros(2, 5, FIRST, dtype=torch.complex64)
    both = excitation(mix, nothing, torch.tensor([7, -2]))
    assert torch.equal(both[0], excitation.noise[7:12])
    assert torch.equal(both[1], excitation.noise[[-2, -1, 0, 1, 2]])
    assert torch.equal(excitation(mix, nothing, 7 + NOISE_FRAMES)[1], both[0])


def test_a_decoder_of_two_channels_places_each_item_in_its_noise() -> None:
    config = SpectralConfig(
        n_fft=256, stft_hop=64, phase_bins=16, widths=(8, 8), excitation_bands=3
    )
    decoder = SpectralDecoder(config, 2, 4).eval()
    z = torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(0)).expand(2, -1, -1)
    with torch.inference_mode():
        both = decoder(z, torch.tensor([3, 100]))
        torch.testing.assert_close(both[:1], decoder(z[:1], 3))
        torch.testing.assert_close(both[1:], decoder(z[1:], 100))
    assert not torch.allclose(both[0], both[1])
