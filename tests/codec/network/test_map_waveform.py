"""The decoder of the spectral map: what it makes up depends on the place alone."""

from dataclasses import fields

import pytest
import torch

from codec.network import keyed_noise
from codec.network.autoencoder import Autoencoder
from codec.network.config import FRAME, ModelConfig, SpectralMapConfig
from codec.network.map_waveform import MapWaveformDecoder, Place
from codec.network.renderer import ANCHOR_FRAMES
from codec.network.spectral_map import MapDecoder

TINY = SpectralMapConfig(
    width=16, depth=1, expansion=1, kernel_size=3, renderer_width=16, renderer_depth=1
)


@pytest.fixture(scope="module")
def decoder() -> MapWaveformDecoder:
    torch.manual_seed(0)
    return MapWaveformDecoder(TINY, latent_dim=4, sample_rate=44100).eval()


def latents(frames: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(1, 4, frames, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_shapes_and_repeatability(decoder: MapWaveformDecoder) -> None:
    z = latents(6)
    first = decoder(z)
    assert first.shape == (1, 1, 6 * FRAME)
    assert torch.equal(first, decoder(z))
    assert torch.isfinite(first).all()


def test_on_the_meta_device_there_are_shapes() -> None:
    decoder = MapWaveformDecoder(TINY, latent_dim=4, sample_rate=44100).to("meta")
    assert decoder(latents(6).to("meta")).shape == (1, 1, 6 * FRAME)


@torch.no_grad()
def test_other_channels_and_places_get_other_noise(decoder: MapWaveformDecoder) -> None:
    z = latents(6)
    here, there = decoder(z), decoder(z, Place(first_frame=6))
    left, right = decoder(z.expand(2, -1, -1), Place(channels=[0, 1]))
    assert torch.allclose(left[None], here, atol=1e-5)
    for other in (there[0], right):
        correlation = torch.corrcoef(torch.stack([here[0, 0], other[0]]))[0, 1]
        assert correlation.abs() < 0.2


@torch.no_grad()
def test_a_block_with_its_halo_is_a_part_of_the_whole(decoder: MapWaveformDecoder) -> None:
    """What lies a receptive field away does not matter, noise and phases included."""
    halo = decoder.receptive_frames
    first, count = ANCHOR_FRAMES, 4
    z = latents(ANCHOR_FRAMES + count + halo)
    whole = decoder(z)[..., first * FRAME : (first + count) * FRAME]
    part = decoder(z[..., first - halo :], Place(first_frame=first - halo))
    part = part[..., halo * FRAME : (halo + count) * FRAME]
    # Phases before an anchor are led to it and differ a little: heard through one window.
    assert (part - whole).abs().max() < 0.05 * whole.abs().max()
    assert (part - whole)[..., FRAME:].abs().max() < 1e-4 * whole.abs().max()


@torch.no_grad()
@pytest.mark.parametrize("further", [-5, -3, 0, 3])
def test_a_halo_is_left_out_and_changes_nothing_else(
    decoder: MapWaveformDecoder, further: int
) -> None:
    halo = decoder.receptive_frames + further
    z = latents(2 * halo + 3)
    whole, part = decoder(z), decoder(z, halo=halo)
    assert part.shape == (1, 1, 3 * FRAME)
    assert torch.allclose(part, whole[..., halo * FRAME : -halo * FRAME], atol=1e-6)


@torch.no_grad()
def test_beyond_the_receptive_field_nothing_matters(decoder: MapWaveformDecoder) -> None:
    halo = decoder.receptive_frames
    z = latents(2 * halo + 3)
    changed = z.clone()
    changed[..., -1] += 10.0
    kept = slice(0, (z.shape[2] - 1 - halo) * FRAME)
    assert torch.equal(decoder(z)[..., kept], decoder(changed)[..., kept])


def test_gradients_reach_latents_and_every_weight() -> None:
    torch.manual_seed(0)
    decoder = MapWaveformDecoder(TINY, latent_dim=4, sample_rate=44100)
    z = latents(6).requires_grad_()
    decoder(z).square().mean().backward()
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()
    assert (z.grad != 0).any()
    unused = {"head"}  # of the map, rows of spreads of the long view are for training alone
    for name, value in decoder.named_parameters():
        assert value.grad is not None, name
        if name.split(".")[-2] not in unused:
            assert torch.isfinite(value.grad).all(), name


def test_every_field_of_a_map_has_the_shape_it_says() -> None:
    decoder = MapDecoder(TINY, latent_dim=4)
    z = torch.randn(2, 5, 4)
    hidden = decoder(z)
    expected = decoder.map(z, hidden)
    for field in fields(expected):
        assert getattr(expected, field.name).shape[:2] == (2, 5), field.name
    assert torch.allclose(decoder.short(hidden), expected.short, atol=1e-5)


def test_the_autoencoder_goes_there_and_back() -> None:
    config = ModelConfig(name="tiny", sample_rate=44100, latent_dim=4, network=TINY)
    autoencoder = Autoencoder(config).eval()
    waveform = 0.1 * torch.randn(2, 1, 5 * FRAME)
    posterior = autoencoder.posterior(waveform)
    assert posterior.mean.shape == (2, 4, 5)
    assert autoencoder.decode(posterior.mean).shape == waveform.shape


def test_keyed_noise_is_of_its_place() -> None:
    whole = keyed_noise.normal(-2, 6, [0, 3], 64)
    assert torch.equal(whole[1:, 3:], keyed_noise.normal(1, 3, [3], 64))
    assert not torch.equal(whole[0], whole[1])
    assert keyed_noise.normal(0, 50, [0], 2048).std() == pytest.approx(1.0, abs=0.01)
    uniform = keyed_noise.uniform(0, 50, [0], 64)
    assert 0 <= uniform.min() < 0.01
    assert 0.99 < uniform.max() < 1
