"""Converted weights give what diffusers gives with them: means, scales and waveforms."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from published import (
    DIFFUSERS_CONFIG,
    HOP,
    TOOLS_CONFIG,
    changed,
    diffusers_weights,
    tools_weights,
    write_diffusers,
    write_tools,
)
from torch import Tensor, nn

from codec.api import Codec, load
from codec.interop.convert import convert
from codec.model import checkpoint

RELATIVE = 1e-4


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def relative(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


def through_a_file(source: Path, tmp_path: Path) -> Codec:
    """As ``lacuna convert`` and ``codec.load`` do it."""
    path = tmp_path / "converted.safetensors"
    checkpoint.save(convert(source, name="converted").checkpoint, path)
    return load(path)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """diffusers' own model with random weights, and the folder it has written."""
    diffusers = pytest.importorskip("diffusers", reason="parity is tested against diffusers")
    arguments = {k: v for k, v in DIFFUSERS_CONFIG.items() if not k.startswith("_")}
    model = diffusers.AutoencoderOobleck(**arguments).eval()
    model.load_state_dict(diffusers_weights(tools_weights()))
    folder = tmp_path_factory.mktemp("diffusers") / "vae"
    model.save_pretrained(folder)
    return model, folder


@torch.inference_mode()
@pytest.mark.parametrize("layout", ["diffusers", "stable-audio-tools", "stable-audio-tools.ckpt"])
def test_all_layouts_give_what_diffusers_gives(
    layout: str, reference: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    model, folder = reference
    if layout != "diffusers":
        pickled = layout.endswith("ckpt")
        folder = write_tools(tmp_path / "tools", tools_weights(), pickled=pickled)
    codec = through_a_file(folder, tmp_path)
    waveform, z = 0.3 * noise(2, 2, 100 * HOP), noise(2, 4, 100)
    expected = model.encode(waveform).latent_dist
    assert relative(codec.encode(waveform)[:, 0], expected.mean) < RELATIVE
    posterior = codec.autoencoder.posterior(waveform)
    assert relative(posterior.sigma, expected.std) < RELATIVE
    assert relative(posterior.logvar, expected.logvar) < RELATIVE
    assert relative(codec.decode(z[:, None]), model.decode(z).sample) < RELATIVE
    assert expected.mean.std() > 0.1  # weights that do something
    assert model.decode(z).sample.std() > 0.1


def test_both_layouts_are_one_model(tmp_path: Path) -> None:
    """Without diffusers, from names that are spelled out in published.py."""
    weights = tools_weights()
    first = convert(write_diffusers(tmp_path / "a", weights), name="x").checkpoint
    second = convert(write_tools(tmp_path / "b", weights), name="x").checkpoint
    assert first.config == second.config
    assert first.latent_id == second.latent_id
    pairs = zip(
        first.autoencoder.state_dict().values(),
        second.autoencoder.state_dict().values(),
        strict=True,
    )
    assert all(torch.equal(a, b) for a, b in pairs)


def test_saving_keeps_float32(tmp_path: Path) -> None:
    """float16 would be 5e-4 away."""
    converted = convert(write_tools(tmp_path / "a", tools_weights()), name="x").checkpoint
    codec = through_a_file(tmp_path / "a", tmp_path)
    for before, after in zip(
        converted.autoencoder.parameters(), codec.autoencoder.parameters(), strict=True
    ):
        assert torch.equal(before, after)


@torch.inference_mode()
def test_scales_below_the_smallest_log_variance_of_ours(tmp_path: Path) -> None:
    """softplus(scale) + 1e-4 goes down to a log-variance of -18.4, ours of training ends at -14."""
    weights = tools_weights()
    weights["encoder.layers.4.bias"][4:] = -40.0
    codec = Codec(convert(write_tools(tmp_path / "a", weights), name="x").checkpoint)
    sigma = codec.autoencoder.posterior(0.01 * noise(1, 2, 10 * HOP)).sigma
    torch.testing.assert_close(sigma, torch.full_like(sigma, 1e-4), rtol=1e-3, atol=0)


@torch.inference_mode()
@pytest.mark.parametrize("key", ["decoder.config.final_tanh", "decoder.soft_clip"])
def test_a_squashed_waveform(key: str, tmp_path: Path) -> None:
    weights = tools_weights()
    plain = Codec(convert(write_tools(tmp_path / "a", weights), name="x").checkpoint)
    config = changed(TOOLS_CONFIG, f"model.{key}", True)
    squashed = Codec(convert(write_tools(tmp_path / "b", weights, config), name="x").checkpoint)
    z = noise(1, 1, 4, 20)
    torch.testing.assert_close(squashed.decode(z), plain.decode(z).tanh())


def test_one_channel(tmp_path: Path) -> None:
    config = changed(DIFFUSERS_CONFIG, "audio_channels", 1)
    folder = write_diffusers(tmp_path / "a", tools_weights(channels=1), config)
    codec = Codec(convert(folder, name="x").checkpoint)
    stereo = 0.3 * noise(1, 2, 10 * HOP)
    z = codec.encode(stereo)
    assert z.shape == (1, 2, 4, 10)
    torch.testing.assert_close(z[:, :1], codec.encode(stereo[:, :1]))  # left and right, each alone
    assert codec.decode(z).shape == stereo.shape


@torch.inference_mode()
def test_odd_strides_differ_at_the_end_alone(tmp_path: Path) -> None:
    """Theirs then decode to some samples less than the frames stand for; ours fill them."""
    diffusers = pytest.importorskip("diffusers", reason="parity is tested against diffusers")
    arguments = {k: v for k, v in DIFFUSERS_CONFIG.items() if not k.startswith("_")}
    model = diffusers.AutoencoderOobleck(**{**arguments, "downsampling_ratios": [3, 5]}).eval()
    model.save_pretrained(tmp_path / "vae")
    codec = through_a_file(tmp_path / "vae", tmp_path)
    waveform, z = noise(1, 2, 40 * 15), noise(1, 4, 40)
    assert relative(codec.encode(waveform)[:, 0], model.encode(waveform).latent_dist.mean) < 1e-4
    ours, theirs = codec.decode(z[:, None]), model.decode(z).sample
    assert ours.shape[2] == 600 > theirs.shape[2]
    inside = theirs.shape[2] - 15 * codec.autoencoder.decoder.receptive_frames
    assert inside > 100
    assert relative(ours[..., :inside], theirs[..., :inside]) < RELATIVE
