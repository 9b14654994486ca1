"""A codec in the shape of diffusers' VAE: code written for that runs on both, unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from published import (
    DIFFUSERS_CONFIG,
    diffusers_weights,
    tools_weights,
    write_diffusers,
)
from tiny_checkpoint import tiny_checkpoint
from torch import Tensor, nn

from codec.api import Codec
from codec.errors import LacunaError
from codec.interop.adapter import DiffusersAutoencoder
from codec.interop.convert import convert


def noise(*shape: int) -> Tensor:
    return 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(1))


def training_step(vae: Any, waveform: Tensor, network: nn.Module) -> Tensor:
    """As scripts that train a latent diffusion model have it."""
    vae.requires_grad_(False)
    with torch.no_grad():
        latents = vae.encode(waveform).latent_dist.sample(torch.Generator().manual_seed(0))
    noisy = latents + torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
    loss = (network(noisy) - latents).square().mean()
    loss.backward()
    seconds = latents.shape[-1] * vae.hop_length / vae.config.sampling_rate
    assert seconds == pytest.approx(waveform.shape[-1] / vae.sampling_rate)
    assert waveform.shape[1] == vae.config.audio_channels
    return loss


def generation(vae: Any, frames: int) -> Tensor:
    channels = vae.config["decoder_input_channels"]
    latents = torch.randn(2, channels, frames, generator=torch.Generator().manual_seed(2))
    return vae.decode(latents.to(vae.dtype)).sample


def test_code_for_diffusers_gives_the_same_with_a_converted_model(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers", reason="parity is tested against diffusers")
    arguments = {k: v for k, v in DIFFUSERS_CONFIG.items() if not k.startswith("_")}
    theirs = diffusers.AutoencoderOobleck(**arguments).eval()
    theirs.load_state_dict(diffusers_weights(tools_weights()))
    converted = convert(write_diffusers(tmp_path / "vae", tools_weights()), name="x")
    ours = DiffusersAutoencoder(Codec(converted.checkpoint), standardized=False)
    waveform = noise(2, 2, 80)
    results = []
    for vae in (theirs, ours):
        torch.manual_seed(3)
        network = nn.Conv1d(4, 4, 3, padding=1)
        loss = training_step(vae, waveform, network)
        results.append((loss, network.weight.grad, generation(vae, 9)))
        results[-1] += (vae.encode(waveform).latent_dist.mode(), vae(waveform).sample)
        results[-1] += (vae.encode(waveform).latent_dist.kl(), vae.encode(waveform, False)[0].std)
        results[-1] += (vae.decode(torch.ones(1, 4, 3), False)[0],)
    for mine, expected in zip(*reversed(results), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4)
    for key in ("sampling_rate", "audio_channels", "decoder_input_channels"):
        assert getattr(ours.config, key) == getattr(theirs.config, key)
    assert ours.hop_length == theirs.hop_length


@pytest.mark.parametrize(
    ("network_channels", "channels", "latents"), [(1, 1, 4), (1, 2, 8), (2, 2, 4)]
)
def test_any_codec_fits(network_channels: int, channels: int, latents: int) -> None:
    codec = Codec(tiny_checkpoint(channels=network_channels)).eval()
    vae = DiffusersAutoencoder(codec, channels=channels)
    waveform = noise(2, channels, 10 * 128)
    training_step(vae, waveform, nn.Conv1d(latents, latents, 3, padding=1))
    assert generation(vae, 6).shape == (2, channels, 6 * 128)
    z = vae.encode(waveform).latent_dist.mode()
    assert z.shape == (2, latents, 10)
    assert z.dtype == vae.dtype
    torch.testing.assert_close(z, codec.encode(waveform).flatten(1, 2))
    torch.testing.assert_close(vae.decode(z).sample, codec(waveform))
    assert vae.encode(waveform[..., :-5]).latent_dist.mode().shape == z.shape  # padded


def test_units_of_the_network_are_its_own() -> None:
    codec = Codec(tiny_checkpoint()).eval()
    standard, own = (DiffusersAutoencoder(codec, 1, standardized=s) for s in (True, False))
    waveform = noise(1, 1, 1280)
    first, second = (vae.encode(waveform).latent_dist for vae in (standard, own))
    mean, std = codec.standardizer.mean, codec.standardizer.std
    torch.testing.assert_close(first.mean * std + mean, second.mean)
    torch.testing.assert_close(first.std * std, second.std)
    torch.testing.assert_close(second.var, second.std.square())
    torch.testing.assert_close(
        standard.decode(first.mode()).sample, own.decode(second.mode()).sample
    )


def test_samples_are_spread_as_the_posterior_says() -> None:
    vae = DiffusersAutoencoder(Codec(tiny_checkpoint()).eval(), 1)
    latent_dist = vae.encode(noise(1, 1, 256)).latent_dist
    draws = torch.stack([latent_dist.sample() for _ in range(2000)])
    torch.testing.assert_close(draws.mean(0), latent_dist.mean, rtol=0.1, atol=0.1)
    torch.testing.assert_close(draws.std(0), latent_dist.std, rtol=0.1, atol=0)
    seeded = [latent_dist.sample(torch.Generator().manual_seed(4)) for _ in range(2)]
    assert torch.equal(*seeded)


def test_gradients_reach_the_encoder_and_the_latents() -> None:
    vae = DiffusersAutoencoder(Codec(tiny_checkpoint()), 1)
    vae(noise(1, 1, 1280), sample_posterior=True).sample.square().mean().backward()
    assert all(p.grad is not None for p in vae.codec.autoencoder.encoder.parameters())
    z = torch.zeros(1, 4, 5, requires_grad=True)
    vae.decode(z).sample.square().mean().backward()
    assert z.grad is not None
    assert z.grad.abs().sum() > 0


def test_what_does_not_fit_is_refused() -> None:
    vae = DiffusersAutoencoder(Codec(tiny_checkpoint()), 2)
    with pytest.raises(LacunaError, match=r"expected a waveform \(batch, 2, time\), got \(1, 1"):
        vae.encode(noise(1, 1, 1280))
    with pytest.raises(LacunaError, match=r"expected latents \(batch, 8, frames\), got \(1, 4"):
        vae.decode(noise(1, 4, 3))
    with pytest.raises(LacunaError, match="expected 2"):
        DiffusersAutoencoder(Codec(tiny_checkpoint(channels=2)), 1)
    with pytest.raises(LacunaError, match="3 channels"):
        DiffusersAutoencoder(Codec(tiny_checkpoint()), 3)
    with pytest.raises(AttributeError, match="no 'colour'; it has"):
        _ = vae.config.colour
