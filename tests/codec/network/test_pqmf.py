"""The PQMF: near-perfect reconstruction, no delay, and bands where they belong."""

from __future__ import annotations

import math

import pytest
import torch

from codec.errors import AudioError
from codec.network.pqmf import PQMF

BANDS = 16


@pytest.fixture(scope="module")
def pqmf() -> PQMF:
    return PQMF(BANDS)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def snr_db(reference: torch.Tensor, estimate: torch.Tensor) -> float:
    error = (reference - estimate).square().mean()
    return 10 * math.log10(reference.square().mean() / error)


def test_reconstruction_has_no_delay_and_60_db(pqmf: PQMF) -> None:
    waveform = noise(2, 2, 300 * BANDS)
    restored = pqmf.synthesis(pqmf.analysis(waveform))
    inside = slice(pqmf.reach * BANDS, -pqmf.reach * BANDS)
    assert restored.shape == waveform.shape
    assert snr_db(waveform[..., inside], restored[..., inside]) > 58


def test_reconstruction_survives_half_precision_training(pqmf: PQMF) -> None:
    waveform = noise(1, 1, 200 * BANDS)
    inside = slice(pqmf.reach * BANDS, -pqmf.reach * BANDS)
    with torch.autocast("cpu", torch.bfloat16):
        restored = pqmf.synthesis(pqmf.analysis(waveform))
    assert snr_db(waveform[..., inside], restored[..., inside]) > 58


@pytest.mark.parametrize("band", range(BANDS))
def test_sine_at_a_band_centre_lands_in_that_band(pqmf: PQMF, band: int) -> None:
    t = torch.arange(200 * BANDS, dtype=torch.float64)
    # an incommensurate phase, so that the sine is not sampled at its zeros
    sine = torch.sin((band + 0.5) * math.pi / BANDS * t + 0.3).float()
    energy = pqmf.analysis(sine[None, None])[0, :, pqmf.reach : -pqmf.reach].square().sum(1)
    assert energy.argmax() == band
    assert energy[band] / energy.sum() > 0.9999


def test_channels_stay_apart_and_in_order(pqmf: PQMF) -> None:
    waveform = noise(2, 3, 40 * BANDS)
    subbands = pqmf.analysis(waveform)
    assert subbands.shape == (2, 3 * BANDS, 40)
    for item in range(2):
        for channel in range(3):
            alone = pqmf.analysis(waveform[item, channel][None, None])[0]
            rows = subbands[item, channel * BANDS : (channel + 1) * BANDS]
            torch.testing.assert_close(rows, alone)


def test_reach_bounds_both_directions_tightly(pqmf: PQMF) -> None:
    hops, centre = 4 * pqmf.reach + 1, 2 * pqmf.reach
    pulse = torch.zeros(1, BANDS, hops)
    pulse[..., centre] = noise(BANDS)
    touched = pqmf.synthesis(pulse).reshape(hops, BANDS).abs().sum(1).nonzero().flatten() - centre
    assert (touched[0], touched[-1]) == (-pqmf.reach, pqmf.reach)
    hop_of_noise = torch.zeros(1, 1, hops * BANDS)
    hop_of_noise[..., centre * BANDS : (centre + 1) * BANDS] = noise(BANDS)
    touched = pqmf.analysis(hop_of_noise)[0].abs().sum(0).nonzero().flatten() - centre
    assert (touched[0], touched[-1]) == (-pqmf.reach, pqmf.reach)


def test_nothing_is_learned_or_stored(pqmf: PQMF) -> None:
    assert not list(pqmf.parameters())
    assert not pqmf.state_dict()


def test_lengths_that_do_not_fit_are_refused(pqmf: PQMF) -> None:
    with pytest.raises(AudioError, match=r"100 samples.*16 PQMF bands"):
        pqmf.analysis(noise(1, 1, 100))
    with pytest.raises(AudioError, match="24 rows"):
        pqmf.synthesis(noise(1, 24, 10))
