"""What encode and decode refuse, and batches whose items have lengths of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from codec.api import Codec
from codec.errors import AudioError, LacunaError

LENGTHS = [1000, 129, 640]


def waveform(batch: int, channels: int, time: int) -> torch.Tensor:
    return 0.1 * torch.randn(batch, channels, time, generator=torch.Generator().manual_seed(time))


@pytest.mark.parametrize("as_numpy", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_named(tiny_codec: Codec, value: float, as_numpy: bool):
    x, z = waveform(2, 2, 16000), torch.zeros(2, 2, 4, 5)
    x[1, 1, 8000] = z[1, 0, 2, 3] = value
    given = (x.numpy(), z.numpy()) if as_numpy else (x, z)
    for call in (tiny_codec.encode, tiny_codec.posterior, tiny_codec):
        with pytest.raises(
            AudioError, match=r"item 1 .*channel 2 holds -?(nan|inf) at 0\.500000 s"
        ):
            call(given[0])
    with pytest.raises(LacunaError, match=r"hold -?(nan|inf) at \[1, 0, 2, 3\]"):
        tiny_codec.decode(given[1])


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.bool_, np.complex64])
def test_what_is_not_floating_is_refused(tiny_codec: Codec, dtype: type):
    with pytest.raises(AudioError, match="expected floating point"):
        tiny_codec.encode(np.ones((1, 1, 100), dtype))
    with pytest.raises(LacunaError, match="expected floating point"):
        tiny_codec.decode(np.ones((1, 1, 4, 3), dtype))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_an_item_is_coded_alike_in_every_batch(tiny_codec: Codec, channels: int, kind):
    x = waveform(3, channels, 1000)
    x[1, :, LENGTHS[1] :] = float("nan")  # what lies beyond is not looked at
    posterior = tiny_codec.posterior(x, length=kind(LENGTHS))
    y = tiny_codec.decode(posterior.mean, length=kind(LENGTHS))
    assert posterior.mean.shape == (3, channels, 4, 8)
    assert y.shape == (3, channels, 1000)
    for item, samples in enumerate(LENGTHS):
        alone = x[item : item + 1, :, :samples]
        frames = tiny_codec.frames(samples)
        z = tiny_codec.encode(alone, length=samples)
        for values in (posterior.mean[item], posterior.logvar[item]):
            assert (values[..., frames:] == 0).all()
        torch.testing.assert_close(posterior.mean[item : item + 1, ..., :frames], z)
        expected = tiny_codec.decode(z, length=[samples])
        torch.testing.assert_close(y[item : item + 1, :, :samples], expected)
        assert (y[item, :, samples:] == 0).all()


def test_silence_after_the_end_is_as_at_the_end_of_a_stream(tiny_codec: Codec):
    x = waveform(1, 1, 3000)
    streamed = torch.cat(list(tiny_codec.encode_stream([x[0]])), dim=-1)
    halo = tiny_codec.autoencoder.encoder.receptive_frames
    z = tiny_codec.encode(x, length=3000)[0]
    torch.testing.assert_close(z[..., halo:], streamed[..., halo:], rtol=1e-4, atol=1e-4)


def test_lengths_that_cannot_be_are_refused(tiny_codec: Codec):
    x, z = waveform(2, 1, 256), torch.zeros(2, 1, 4, 2)
    for call, value in ((tiny_codec.encode, x), (tiny_codec.decode, z)):
        with pytest.raises(LacunaError, match="3 lengths for a batch of 2"):
            call(value, length=[1, 2, 3])
        with pytest.raises(LacunaError, match=r"length 257 is outside [01]\.\.256"):
            call(value, length=[1, 257])
        with pytest.raises(LacunaError, match="expected samples as a whole number"):
            call(value, length=[1.5, 2.0])


def test_gradients_pass_lengths(tiny_codec: Codec):
    x = waveform(2, 1, 512).requires_grad_()
    z = tiny_codec.encode(x, length=[512, 200])
    tiny_codec.decode(z, length=[512, 200]).pow(2).sum().backward()
    assert x.grad is not None
    assert (x.grad[1, :, 200:] == 0).all()
    assert (x.grad[1, :, :200] != 0).float().mean() > 0.9
