"""Decoding with less noise between partials."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from codec.api import load
from codec.metrics.tonal import partials
from codec.model.sound import decode_waveform, encode_waveform
from codec.network.clarity import AROUND, CONTRAST, sharpened
from codec.network.config import FRAME, SpectralMapConfig
from codec.network.map_waveform import MapWaveformDecoder, Place

TINY = SpectralMapConfig(
    width=16, depth=1, expansion=1, kernel_size=3, renderer_width=16, renderer_depth=1
)


def test_peaks_stand_out_more_and_the_power_stays() -> None:
    levels = torch.full((2, 3, 100), -8.0)
    levels[..., 20::30] = 2.0
    sharp = sharpened(levels, 1.0)
    rise = sharp[..., 50] - sharp[..., 45]
    assert rise == pytest.approx((1 + CONTRAST) * 10 * torch.ones(2, 3), abs=0.5)
    around = slice(50 - AROUND // 2, 50 + AROUND // 2 + 1)
    before, after = (x[..., around].exp().sum(-1) for x in (levels, sharp))
    torch.testing.assert_close(after, before, rtol=0.02, atol=0)


@pytest.mark.parametrize("level", [-20.0, 0.0, 6.0])
def test_what_is_flat_stays(level: float) -> None:
    """And at a clarity of 0 everything does."""
    flat = torch.full((1, 2, 60), level)
    torch.testing.assert_close(sharpened(flat, 2.0), flat)
    levels = torch.randn(1, 2, 60)
    torch.testing.assert_close(sharpened(levels, 0.0), levels)


@torch.no_grad()
def test_a_clear_sound_has_less_noise_at_the_same_place() -> None:
    torch.manual_seed(0)
    decoder = MapWaveformDecoder(TINY, latent_dim=4, sample_rate=44100).eval()
    decoder.map.head.weight *= 50  # some bins are much louder than others
    z = torch.randn(1, 4, 1).expand(1, 4, 60)
    usual, clear, same = (decoder(z, Place(clarity=c))[0, 0] for c in (0.0, 1.5, 0.0))
    assert usual.shape == clear.shape == (60 * FRAME,)
    assert torch.equal(usual, same)
    assert partials(clear).frames > 1.1 * partials(usual).frames


def test_what_is_between_the_partials_of_a_sound_is_quieter() -> None:
    """Partials themselves stay as loud."""
    codec = load("small")
    rng, time = np.random.default_rng(0), np.arange(3 * 44100) / 44100
    notes = sum(np.sin(2 * np.pi * 440 * k * time + k) / k for k in range(1, 8))
    sound = (0.1 * notes + 0.003 * rng.standard_normal(len(time))).astype(np.float32)
    coded = encode_waveform(codec, sound, 44100)
    window = np.hanning(8192)
    bins = np.fft.rfftfreq(8192, 1 / 44100)
    off = np.abs((bins + 220) % 440 - 220)  # from the nearest harmonic, in Hz
    inside, low = off < 30, (bins > 300) & (bins < 3200)
    levels = []
    for clarity in (0.0, 1.0):
        decoded = decode_waveform(codec, replace(coded, clarity=clarity)).numpy()
        assert decoded.shape == (1, len(sound))
        power = np.square(np.abs(np.fft.rfft(decoded[0, 44100 : 44100 + 8192] * window)))
        parts = (power[low & inside].sum(), power[low & (off > 110)].sum())
        levels.append(10 * np.log10(parts))
    partials_rise, between_rise = levels[1] - levels[0]
    assert abs(partials_rise) < 1.5
    assert between_rise < -4
