"""The MDCT's lowest coefficients: an exact inverse, edges included, and their use as latents."""

from __future__ import annotations

import math

import pytest
import torch

from codec.network.config import ModelConfig, SpectralConfig
from codec.network.levels import principal_components
from codec.network.mdct import LowMDCT
from codec.network.spectral import LowBand, SpectralDecoder, SpectralEncoder

HOP, RATE = 512, 16000
CONFIG = SpectralConfig(
    n_fft=512,
    stft_hop=128,
    phase_bins=16,
    waveform_bins=0,
    level_latents=24,
    level_bands=12,
    level_knee=20,
    levels_per_frame=2,
    exact_levels=True,
    mdct_latents=64,  # up to 1 kHz
    strides=(2,),
    fold=2,
    widths=(8, 8),
    encoder_depths=(1, 1),
    decoder_depths=(1, 1),
)
DIM = CONFIG.level_latents + CONFIG.mdct_latents


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_all_coefficients_give_the_waveform_back_to_its_edges(frames: int) -> None:
    mdct = LowMDCT(HOP, HOP)
    waveform = torch.randn(2, frames * HOP, generator=torch.Generator().manual_seed(0))
    coefficients = mdct(waveform)
    assert coefficients.shape == (2, frames, HOP)
    torch.testing.assert_close(mdct.inverse(coefficients), waveform, atol=1e-5, rtol=0)


def test_coefficients_of_noise_have_its_rms() -> None:
    noise = 0.1 * torch.randn(1, 50 * HOP, generator=torch.Generator().manual_seed(0))
    assert LowMDCT(HOP, HOP)(noise).std() == pytest.approx(0.1, rel=0.02)


def test_a_low_sine_is_in_the_lowest_coefficients_and_a_high_one_is_not() -> None:
    mdct = LowMDCT(HOP, 64)
    time = torch.arange(20 * HOP) / RATE
    inner = slice(2 * HOP, -2 * HOP)
    low, high = (torch.sin(2 * math.pi * hz * time)[None] for hz in (300.0, 2000.0))
    torch.testing.assert_close(mdct.inverse(mdct(low))[:, inner], low[:, inner], atol=0.02, rtol=0)
    assert mdct.inverse(mdct(high))[:, inner].abs().max() < 0.02


def test_latents_are_over_the_level_of_their_band() -> None:
    """Quieter by 40 dB or not, noise has the same latents, of about unit variance."""
    encoder = SpectralEncoder(CONFIG, 1, 2 * DIM)
    noise = torch.randn(1, 1, 40 * HOP, generator=torch.Generator().manual_seed(0))
    loud, quiet = (encoder(gain * noise)[0, CONFIG.level_latents : DIM] for gain in (1.0, 0.01))
    assert loud.std() == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(quiet, loud, atol=0.02, rtol=0)


@pytest.mark.parametrize("onset", [0, 200, 300, 500])
@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_an_attack_is_within_what_is_coded(onset: int, noise: float) -> None:
    """Its frames are not a hundred times what their levels say, whatever was before."""
    encoder = SpectralEncoder(CONFIG, 1, 2 * DIM)
    time = torch.arange(40 * HOP)
    waveform = 0.3 * torch.sin(0.2 * time) * (time >= 20 * HOP + onset)
    waveform += noise * torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    latents = encoder(waveform[None, None])[0, CONFIG.level_latents : DIM]
    assert latents[:, :21].abs().max() < 12  # later ones have what leaks from a bare sine


def test_the_worst_latents_decode_to_finite_numbers() -> None:
    encoder, decoder = SpectralEncoder(CONFIG, 1, 2 * DIM), SpectralDecoder(CONFIG, 1, DIM)
    with torch.no_grad():
        levels = encoder.measure(torch.randn(4, 1, 20 * HOP)).flatten(0, 1)
        principal_components(levels, encoder.levels_in, decoder.levels_out)
        decoder.levels_out.weight *= 20  # levels from -1000 to 1000 dB
        z = 24 * torch.rand(2, DIM, 20, generator=torch.Generator().manual_seed(0)) - 12
        assert torch.isfinite(decoder(z)).all()


def test_low_band_returns_the_waveform_it_analysed() -> None:
    whole = CONFIG.model_copy(update={"mdct_latents": HOP})
    low_band = LowBand(whole, SpectralDecoder(whole, 1, 600).levels, HOP)
    waveform = torch.randn(2, 12 * HOP, generator=torch.Generator().manual_seed(0))
    levels = torch.randn(2, 12, CONFIG.levels, generator=torch.Generator().manual_seed(1))
    back = low_band.waveform(low_band.analyse(waveform, levels), levels)
    torch.testing.assert_close(back, waveform, atol=1e-4, rtol=0)


def test_a_decoder_follows_the_waveform_below_its_last_coefficient() -> None:
    """An untrained one: nothing has to be learned for that, once its network is silent."""
    encoder, decoder = SpectralEncoder(CONFIG, 1, 2 * DIM), SpectralDecoder(CONFIG, 1, DIM)
    time = torch.arange(40 * HOP) / RATE
    waveform = sum(torch.sin(2 * math.pi * hz * time + hz) for hz in (150.0, 420.0, 730.0))
    waveform = 0.1 * waveform[None, None]
    with torch.no_grad():
        levels = encoder.measure(torch.randn(4, 1, 20 * HOP)).flatten(0, 1)
        principal_components(levels, encoder.levels_in, decoder.levels_out)
        decoder.head.weight.zero_()
        decoder.head.bias.zero_()
        decoded = decoder(encoder(waveform)[:, :DIM])
    inner = slice(4 * HOP, -4 * HOP)
    error = (decoded - waveform)[..., inner]
    assert error.square().mean() < 0.01 * waveform.square().mean()


def test_without_learned_latents_the_encoder_has_no_network() -> None:
    encoder = SpectralEncoder(CONFIG, 1, 2 * DIM)
    assert {name for name, _ in encoder.named_parameters()} == {
        "levels_in.weight",
        "levels_in.bias",
        "log_variances",
    }
    with_network = SpectralEncoder(CONFIG, 1, 2 * DIM + 6)
    waveform = torch.randn(1, 1, 6 * HOP)
    assert with_network(waveform).shape == (1, 2 * DIM + 6, 6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"exact_levels": False}, "mdct_latents needs exact_levels"),
        ({"waveform_bins": 1}, "waveform_bins 1 with mdct_latents: expected 0"),
        ({"levels_per_frame": 3}, "does not divide the 4 frames"),
    ],
)
def test_networks_that_make_no_sense_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpectralConfig(**{**CONFIG.model_dump(), **values})


@pytest.mark.parametrize(
    ("latent_dim", "channels", "mdct", "message"),
    [
        (87, 1, 64, "exceed latent_dim 87"),
        (88, 2, 63, "a multiple of channels"),
        (600, 1, 513, "exceeds the 512 samples"),
    ],
)
def test_models_that_make_no_sense_are_refused(
    latent_dim: int, channels: int, mdct: int, message: str
) -> None:
    network = CONFIG.model_copy(update={"mdct_latents": mdct})
    with pytest.raises(ValueError, match=message):
        ModelConfig(
            name="x", sample_rate=RATE, latent_dim=latent_dim, channels=channels, network=network
        )
