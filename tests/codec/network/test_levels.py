"""Levels of bands: measured, turned into latents and back, and kept by the decoder."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from codec.errors import ConfigError
from codec.network.config import SpectralConfig
from codec.network.levels import FLOOR, BandLevels, principal_components
from codec.network.spectral import SpectralDecoder, SpectralEncoder
from codec.network.stft import stft

N_FFT, HOP, STRIDE, FIRST, BANDS = 512, 128, 2, 8, 10


@pytest.fixture(scope="module")
def levels() -> BandLevels:
    return BandLevels(N_FFT, HOP, STRIDE, FIRST, BANDS)


@pytest.fixture(scope="module")
def noise() -> Tensor:
    """(2, time): 40 frames."""
    return torch.randn(2, 40 * STRIDE * HOP, generator=torch.Generator().manual_seed(0))


def test_every_bin_has_a_band_and_no_band_is_empty(levels: BandLevels) -> None:
    assert len(levels.band_of_bin) == N_FFT // 2 + 1 - FIRST
    assert (levels.band_of_bin.diff() >= 0).all()
    widths = torch.bincount(levels.band_of_bin, minlength=BANDS)
    assert widths.min() >= 2
    assert widths[-1] > 5 * widths[0]


def test_level_of_noise(levels: BandLevels, noise: Tensor) -> None:
    """White noise of deviation s has the power s^2 * sum(window^2) in every bin."""
    measured = levels.measure(0.01 * noise)
    assert measured.shape == (2, 40, BANDS)
    expected = math.log(0.01) + 0.5 * math.log(3 / 8 * N_FFT)
    assert measured[:, 2:-2].mean() == pytest.approx(expected, abs=0.1)
    torch.testing.assert_close(
        levels.measure(0.1 * noise) - measured,
        torch.full_like(measured, math.log(10)),
        atol=1e-3,
        rtol=0,
    )


def test_corrected_levels_are_those_asked_for(levels: BandLevels, noise: Tensor) -> None:
    wanted = levels.measure(noise)
    wanted[:, :, 3] += 1.5
    wanted[:, 20:, 7] -= 2
    corrected = levels.correct(noise, wanted)
    error = (levels.measure(corrected) - wanted)[:, 3:-3]
    assert error.abs().mean() < 0.1
    before, after = (stft(x, levels.window, HOP)[:, 4:-4, : FIRST - 2] for x in (noise, corrected))
    torch.testing.assert_close(after, before, atol=0.02 * before.abs().max().item(), rtol=0)


def test_a_band_that_is_50_db_off_is_brought_to_its_level(
    levels: BandLevels, noise: Tensor
) -> None:
    wanted = levels.measure(noise)
    wanted[:, :, 5] += 50 / 20 * math.log(10)
    corrected = levels.correct(noise, wanted)
    error = (levels.measure(corrected) - wanted)[:, 3:-3, 5]
    assert error.abs().max() < 0.1  # 0.9 dB


def test_levels_as_they_are_change_nothing(levels: BandLevels, noise: Tensor) -> None:
    torch.testing.assert_close(
        levels.correct(noise, levels.measure(noise)), noise, atol=1e-4, rtol=0
    )


def test_two_levels_in_a_frame_are_those_of_frames_of_half_the_length(
    levels: BandLevels, noise: Tensor
) -> None:
    twice = BandLevels(N_FFT, HOP, 2 * STRIDE, FIRST, BANDS, per_frame=2)
    found = twice.measure(noise)
    assert found.shape == (2, 20, 2 * BANDS)
    assert torch.equal(found.reshape(2, 40, BANDS), levels.measure(noise))
    wanted = levels.measure(noise) + torch.randn(2, 40, BANDS)
    corrected = twice.correct(noise, wanted.reshape(2, 20, 2 * BANDS))
    assert torch.equal(corrected, levels.correct(noise, wanted))


def test_with_a_knee_low_bands_are_about_equally_wide() -> None:
    levels = BandLevels(2048, 512, 4, 1, 32, knee=96)
    widths = torch.bincount(levels.band_of_bin, minlength=32)
    assert widths.sum() == 1024
    assert (widths.diff() >= -1).all()
    assert 6 <= widths[0] <= widths[3] <= 11
    assert widths[-1] == pytest.approx(widths[-5] * (1025 + 96) / (780 + 96), abs=6)


def test_a_knee_that_leaves_a_band_empty_is_refused() -> None:
    with pytest.raises(ConfigError, match="level_knee 1 leaves some of 32 bands without a bin"):
        BandLevels(2048, 512, 4, 1, 32, knee=1)


def test_silence_stays_silent_and_gradients_finite(levels: BandLevels) -> None:
    silence = torch.zeros(1, 20 * STRIDE * HOP, requires_grad=True)
    measured = levels.measure(silence)
    assert measured.detach() == pytest.approx(0.5 * math.log(FLOOR))
    corrected = levels.correct(silence, torch.full((1, 20, BANDS), 100.0))
    assert corrected.abs().max() == 0
    (corrected.sum() + measured.sum()).backward()
    assert silence.grad is not None
    assert torch.isfinite(silence.grad).all()


@pytest.mark.parametrize("count", [4, 6])
def test_principal_components(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([5.0, 3.0, 2.0, 1.0, 1e-4, 1e-4])
    data = (torch.randn(500, 6, generator=generator) * scale) @ torch.linalg.qr(
        torch.randn(6, 6, generator=generator)
    )[0] + 3
    into, out = nn.Linear(6, count), nn.Linear(count, 6)
    principal_components(data, into, out)
    with torch.no_grad():
        latents = into(data)
        torch.testing.assert_close(out(latents), data, atol=2e-3, rtol=0)
    assert latents[:, :4].std(dim=0) == pytest.approx(1, abs=0.01)
    assert latents.mean(dim=0) == pytest.approx(0, abs=0.01)


def test_a_decoder_keeps_to_its_first_latents() -> None:
    config = SpectralConfig(
        n_fft=N_FFT,
        stft_hop=HOP,
        phase_bins=16,
        widths=(8, 8),
        waveform_bins=FIRST,
        level_latents=3,
        level_bands=BANDS,
    )
    encoder, decoder = SpectralEncoder(config, 1, 8), SpectralDecoder(config, 1, 4)
    with torch.no_grad():
        decoder.levels_out.bias.fill_(-1)
        z = 0.5 * torch.randn(2, 4, 30, generator=torch.Generator().manual_seed(0))
        wanted = decoder.levels_out(z[:, :3].transpose(1, 2))
        got = encoder.measure(decoder(z))
    assert (got - wanted)[:, 3:-3].abs().mean() < 0.25
