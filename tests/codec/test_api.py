"""Codec.encode, decode and posterior: shapes, standardisation, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from codec_helpers import music

from codec.api import Codec
from codec.errors import AudioError, LacunaError


def waveform(batch: int, channels: int, time: int) -> torch.Tensor:
    return 0.1 * torch.randn(batch, channels, time, generator=torch.Generator().manual_seed(time))


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("time", [1, 127, 128, 129, 1000])
def test_frames_are_the_time_in_hops_rounded_up(tiny_codec: Codec, channels: int, time: int):
    x = waveform(3, channels, time)
    z = tiny_codec.encode(x)
    frames = -(-time // tiny_codec.hop_length)
    assert z.shape == (3, channels, tiny_codec.latent_dim, frames)
    assert tiny_codec.decode(z).shape == (3, channels, frames * tiny_codec.hop_length)
    assert tiny_codec(x).shape == x.shape


@pytest.mark.parametrize("channels", [1, 2])
def test_two_channel_network_has_one_latent_stream(tiny_stereo_codec: Codec, channels: int):
    x = waveform(3, channels, 300)
    z = tiny_stereo_codec.encode(x)
    assert z.shape == (3, 1, 4, 3)
    assert tiny_stereo_codec.decode(z).shape == (3, 2, 384)
    assert tiny_stereo_codec(x).shape == x.shape


def test_facts_agree_with_each_other(tiny_codec: Codec):
    assert tiny_codec.frame_rate == tiny_codec.sample_rate / tiny_codec.hop_length == 125
    assert tiny_codec.latent_dim == 4
    assert tiny_codec.device.type == "cpu"
    assert not tiny_codec.training


def test_stereo_is_coded_as_mid_then_side(tiny_codec: Codec):
    x = waveform(1, 2, 1280)
    z = tiny_codec.encode(x)
    mid, side = x.mean(dim=1, keepdim=True), (x[:, :1] - x[:, 1:]) / 2
    torch.testing.assert_close(z[:, :1], tiny_codec.encode(mid), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(z[:, 1:], tiny_codec.encode(side), rtol=1e-4, atol=1e-4)
    y, m, s = tiny_codec.decode(z), tiny_codec.decode(z[:, :1]), tiny_codec.decode(z[:, 1:])
    torch.testing.assert_close(y, torch.cat([m + s, m - s], dim=1), rtol=1e-4, atol=1e-5)


def test_items_of_a_batch_do_not_influence_each_other(tiny_codec: Codec):
    x = waveform(3, 2, 1280)
    z = tiny_codec.encode(x)
    torch.testing.assert_close(z[1:2], tiny_codec.encode(x[1:2]), rtol=1e-4, atol=1e-4)
    y = tiny_codec.decode(z)
    torch.testing.assert_close(y[1:2], tiny_codec.decode(z[1:2]), rtol=1e-4, atol=1e-4)


def test_latents_are_standardised(tiny_codec: Codec):
    # The kind of noise that the statistics were measured on.
    noise = torch.randn(4, 1, 128 * 400, generator=torch.Generator().manual_seed(7))
    z = tiny_codec.encode(noise * torch.logspace(-3, 0, 4)[:, None, None])
    per_channel = z.transpose(0, 2).flatten(1)
    assert per_channel.mean(1).abs().max() < 0.15
    assert (per_channel.std(1) - 1).abs().max() < 0.15


def test_length_trims(tiny_codec: Codec):
    z = tiny_codec.encode(waveform(1, 1, 500))
    whole = tiny_codec.decode(z)
    assert torch.equal(tiny_codec.decode(z, length=500), whole[..., :500])
    assert tiny_codec.decode(z, length=512).shape[-1] == 512
    for length in (-1, 513):
        with pytest.raises(LacunaError, match=r"outside 0\.\.512"):
            tiny_codec.decode(z, length=length)


@pytest.mark.parametrize("shape", [(), (100,), (1, 100), (1, 1, 0), (1, 0, 100), (0, 1, 100)])
def test_wrong_waveform_shapes_are_named(tiny_codec: Codec, shape: tuple[int, ...]):
    with pytest.raises(AudioError, match=r"expected a waveform \(batch, channels, time\)") as error:
        tiny_codec.encode(torch.zeros(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("shape", [(4, 10), (1, 4, 10), (1, 1, 5, 10), (1, 1, 4, 0), (1, 0, 4, 2)])
def test_wrong_latent_shapes_are_named(tiny_codec: Codec, shape: tuple[int, ...]):
    with pytest.raises(LacunaError, match=r"coded_channels, 4, frames\)") as error:
        tiny_codec.decode(torch.zeros(shape))
    assert str(shape) in str(error.value)


def test_two_channel_network_refuses_what_it_cannot_code(tiny_stereo_codec: Codec):
    with pytest.raises(AudioError, match="one or two channels, got 3"):
        tiny_stereo_codec.encode(torch.zeros(1, 3, 100))
    with pytest.raises(LacunaError, match="coded_channels 1"):
        tiny_stereo_codec.decode(torch.zeros(1, 2, 4, 10))


def test_integers_are_refused(tiny_codec: Codec):
    with pytest.raises(AudioError, match=r"int16.*32768"):
        tiny_codec.encode(torch.ones(1, 1, 100, dtype=torch.int16))
    with pytest.raises(AudioError, match=r"int16.*32768"):
        tiny_codec.compress(torch.ones(1, 100, dtype=torch.int16), 16000)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_any_floating_input_gives_float32(tiny_codec: Codec, dtype: torch.dtype):
    x = waveform(1, 2, 256).to(dtype)
    z = tiny_codec.encode(x)
    assert torch.equal(z, tiny_codec.encode(x.float()))
    y = tiny_codec.decode(z.to(dtype))
    assert z.dtype == y.dtype == torch.float32


@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">f8", "<f2"])
def test_numpy_arrays_in_either_byte_order(tiny_codec: Codec, dtype: str):
    x = waveform(1, 2, 300).numpy().astype(dtype)
    tensor = torch.from_numpy(x.astype(np.float32))
    z = tiny_codec.encode(x)
    assert torch.equal(z, tiny_codec.encode(tensor))
    assert torch.equal(tiny_codec.decode(z.numpy().astype(">f4")), tiny_codec.decode(z))
    assert torch.equal(tiny_codec(x), tiny_codec(tensor))
    assert tiny_codec.compress(x[0], 16000) == tiny_codec.compress(tensor[0], 16000)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_any_kind_of_bytes(tiny_codec: Codec, kind: type):
    blob = tiny_codec.compress(music(0.3, 16000, 1), 16000)
    y, rate = tiny_codec.decompress(kind(blob))
    assert rate == 16000
    assert torch.equal(y, tiny_codec.decompress(blob)[0])


def test_a_whole_number_in_floating_point_is_a_sample_rate(tiny_codec: Codec):
    x = music(0.1, 16000, 1)
    assert tiny_codec.compress(x, 44100.0) == tiny_codec.compress(x, 44100)
    for rate in (44100.5, 0, 500, 10**6, float("nan")):
        with pytest.raises(AudioError, match="expected a whole number"):
            tiny_codec.compress(x, rate)


def test_time_before_channels_is_refused(tiny_codec: Codec):
    for call in (lambda x: tiny_codec.encode(x[None]), lambda x: tiny_codec.compress(x, 16000)):
        with pytest.raises(AudioError, match=r"100 channels of 2 samples.*transpose"):
            call(torch.zeros(100, 2))


@pytest.mark.parametrize("huge", [1e305, 1e308])
def test_huge_spans_are_whole_files_or_nothing(tiny_codec: Codec, huge: float):
    blob = tiny_codec.compress(music(0.3, 16000, 1), 16000)
    assert tiny_codec.decompress(blob, duration=huge)[0].shape == (1, 4800)
    with pytest.raises(AudioError, match="there is nothing to decode"):
        tiny_codec.decompress(blob, start=huge)
    with pytest.raises(AudioError, match="nothing to decode"):
        tiny_codec.decompress(blob, start=huge, duration=huge)


@pytest.mark.parametrize("channels", [1, 2])
def test_posterior_is_that_of_the_network_in_units_of_latents(tiny_codec: Codec, channels: int):
    x = waveform(2, channels, 700)
    posterior = tiny_codec.posterior(x)
    assert torch.equal(posterior.mean, tiny_codec.encode(x))
    assert posterior.logvar.shape == posterior.mean.shape == (2, channels, 4, 6)
    rows = tiny_codec.to_rows(torch.nn.functional.pad(x, (0, 68))).flatten(0, 1)
    raw = tiny_codec.autoencoder.posterior(rows)
    sigma = raw.sigma / tiny_codec.standardizer.std
    torch.testing.assert_close(posterior.sigma, sigma.unflatten(0, (2, channels)))
