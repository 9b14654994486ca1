"""The spectral network: shapes, exact STFT inverse, receptive field, gradients."""

from __future__ import annotations

import pytest
import torch

from codec.network.config import SpectralConfig
from codec.network.spectral import SpectralDecoder, SpectralEncoder
from codec.network.stft import inverse_stft, stft

TINY = SpectralConfig(
    n_fft=128,
    stft_hop=32,
    phase_bins=16,
    strides=(2,),
    widths=(12, 8),
    encoder_depths=(1, 2),
    decoder_depths=(2, 1),
    kernel_size=5,
)
DEEPER = SpectralConfig(
    n_fft=128,
    stft_hop=16,
    phase_bins=16,
    strides=(2, 3),
    widths=(12, 8, 8),
    encoder_depths=(1, 1, 1),
    decoder_depths=(1, 1, 1),
    kernel_size=3,
)
CONFIGS = [
    pytest.param(TINY, id="one-stride"),
    pytest.param(DEEPER, id="two-strides"),
]


def test_inverse_stft_returns_the_waveform():
    waveform = torch.randn(2, 40 * 64)
    window = torch.hann_window(256)
    back = inverse_stft(stft(waveform, window, 64), window, 64)
    torch.testing.assert_close(back, waveform, atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("channels", [1, 2])
def test_shapes(config: SpectralConfig, channels: int):
    hop = config.hop_length
    z = SpectralEncoder(config, channels, 10)(torch.randn(3, channels, 7 * hop))
    assert z.shape == (3, 10, 7)
    y = SpectralDecoder(config, channels, 10)(z)
    assert y.shape == (3, channels, 7 * hop)


@pytest.mark.parametrize("config", CONFIGS)
def test_gradients_reach_every_parameter(config: SpectralConfig):
    encoder, decoder = SpectralEncoder(config, 1, 10), SpectralDecoder(config, 1, 10)
    decoder(encoder(torch.randn(2, 1, 6 * config.hop_length))).pow(2).sum().backward()
    for name, parameter in [*encoder.named_parameters(), *decoder.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("config", CONFIGS)
def test_encoder_sees_no_further_than_its_receptive_field(config: SpectralConfig):
    encoder = SpectralEncoder(config, 1, 10)
    reach, hop = encoder.receptive_frames, config.hop_length
    frames = 2 * reach + 9
    waveform = torch.randn(1, 1, frames * hop, requires_grad=True)
    encoder(waveform)[..., reach + 4].sum().backward()
    assert waveform.grad is not None
    touched = waveform.grad[0, 0].reshape(frames, hop).abs().sum(1).nonzero().flatten()
    assert touched.min() >= 4
    assert touched.max() <= 2 * reach + 4


@pytest.mark.parametrize("config", CONFIGS)
def test_decoder_sees_no_further_than_its_receptive_field(config: SpectralConfig):
    decoder = SpectralDecoder(config, 1, 5)
    reach, hop = decoder.receptive_frames, config.hop_length
    z = torch.randn(1, 5, 2 * reach + 9, requires_grad=True)
    middle = reach + 4
    decoder(z)[..., middle * hop : (middle + 1) * hop].sum().backward()
    assert z.grad is not None
    touched = z.grad[0].abs().sum(0).nonzero().flatten()
    assert touched.min() >= 4
    assert touched.max() <= 2 * reach + 4


@pytest.mark.parametrize("config", CONFIGS)
def test_a_block_with_halo_equals_the_whole(config: SpectralConfig):
    encoder, decoder = SpectralEncoder(config, 1, 10).eval(), SpectralDecoder(config, 1, 5).eval()
    hop = config.hop_length
    with torch.inference_mode():
        halo = encoder.receptive_frames
        waveform = torch.randn(1, 1, (2 * halo + 10) * hop)
        whole = encoder(waveform)
        part = encoder(waveform[..., 2 * hop : (2 * halo + 8) * hop])
        torch.testing.assert_close(
            part[..., halo : halo + 6], whole[..., halo + 2 : halo + 8], atol=1e-5, rtol=1e-4
        )
        halo = decoder.receptive_frames
        z = torch.randn(1, 5, 2 * halo + 10)
        whole = decoder(z)
        part = decoder(z[..., 2 : 2 * halo + 8])
        torch.testing.assert_close(
            part[..., halo * hop : (halo + 6) * hop],
            whole[..., (halo + 2) * hop : (halo + 8) * hop],
            atol=1e-5,
            rtol=1e-4,
        )


def test_silence_and_full_scale_give_finite_values_and_gradients():
    encoder, decoder = SpectralEncoder(TINY, 1, 4), SpectralDecoder(TINY, 1, 4)
    for waveform in (torch.zeros(1, 1, 640), torch.ones(1, 1, 640), 100 * torch.randn(1, 1, 640)):
        y = decoder(encoder(waveform))
        y.sum().backward()
        assert torch.isfinite(y).all()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)
