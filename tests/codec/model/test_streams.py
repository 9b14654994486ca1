"""Hours of audio through encode and decode in constant memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from codec_helpers import BLOCK, music

from codec.api import Codec
from codec.errors import AudioError, LacunaError


@pytest.mark.parametrize("channels", [1, 2])
def test_a_stream_is_the_whole(tiny_codec: Codec, channels: int):
    x = music(2.5 * BLOCK / 16000, 16000, channels)
    pieces = [x[:, :1000], x[:, 1000:1000], torch.from_numpy(x[:, 1000:50_000]), x[:, 50_000:]]
    latents = list(tiny_codec.encode_stream(pieces))
    assert [piece.shape[2] for piece in latents] == [256, 256, 128]
    z, whole = torch.cat(latents, dim=-1), tiny_codec.encode(x[None])[0]
    halo = tiny_codec.autoencoder.encoder.receptive_frames
    inner = slice(halo, -halo)
    torch.testing.assert_close(z[..., inner], whole[..., inner], rtol=1e-4, atol=1e-4)

    y = torch.cat(list(tiny_codec.decode_stream(latents)), dim=-1)
    same = torch.cat(
        list(tiny_codec.decode_stream(z.numpy()[..., i : i + 7] for i in range(0, z.shape[2], 7))),
        dim=-1,
    )
    assert torch.equal(y, same)
    halo = tiny_codec.autoencoder.decoder.receptive_frames * 128
    expected = tiny_codec.decode(z[None])[0]
    torch.testing.assert_close(y[:, halo:-halo], expected[:, halo:-halo], rtol=1e-4, atol=1e-4)


def test_other_sample_rates(tiny_codec: Codec):
    x = music(1.0, 44100, 1)
    z = torch.cat(list(tiny_codec.encode_stream([x[:, :9999], x[:, 9999:]], 44100)), dim=-1)
    assert z.shape == (1, 4, 125)


def test_a_network_of_two_channels(tiny_stereo_codec: Codec):
    for channels in (1, 2):
        [z] = tiny_stereo_codec.encode_stream([music(0.5, 16000, channels)])
        assert z.shape == (1, 4, 63)
        [y] = tiny_stereo_codec.decode_stream([z], channels=channels)
        assert y.shape == (channels, 63 * 128)


def test_nothing_gives_nothing(tiny_codec: Codec):
    assert not list(tiny_codec.encode_stream([]))
    assert not list(tiny_codec.decode_stream([]))


def test_bad_pieces_are_named(tiny_codec: Codec):
    good, bad = np.zeros((1, 16000), np.float32), np.zeros((1, 100), np.float32)
    bad[0, 16] = np.nan
    with pytest.raises(AudioError, match=r"channel 1 holds nan at 1\.001000 s"):
        list(tiny_codec.encode_stream([good, bad]))
    with pytest.raises(AudioError, match="2 channels after pieces of 1"):
        list(tiny_codec.encode_stream([good, np.zeros((2, 100), np.float32)]))
    with pytest.raises(AudioError, match="int16"):
        list(tiny_codec.encode_stream([good.astype(np.int16)]))
    for shape in ((1, 5, 10), (4, 10), (1, 4, 0)):
        with pytest.raises(LacunaError, match="expected latents"):
            list(tiny_codec.decode_stream([torch.zeros(shape)]))


SCRIPT = """
import resource, sys
import numpy as np
import codec

model = codec.load(sys.argv[1])
peaks = []
for seconds in (10, 10, 150):
    pieces = (np.full((2, 16000), 0.1, np.float32) for _ in range(seconds))
    count = sum(y.shape[1] for y in model.decode_stream(model.encode_stream(pieces)))
    assert count >= seconds * 16000
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(peaks[2] - peaks[1])
"""


def test_memory_does_not_grow_with_length(tiny_path: Path):
    """Megabytes that 150 s of stereo take beyond 10 s; their samples alone are 19."""
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tiny_path)], capture_output=True, text=True, check=True
    )
    assert float(result.stdout) < 10
