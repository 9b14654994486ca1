"""Latents that are searched for say more at the same rate, and files stay what they are."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from codec_helpers import Lacuna, music, write_wav
from untrained import layered_codec

from codec import audio
from codec.api import Codec, load
from codec.errors import RateError
from codec.lac import search as searching
from codec.lac.compress import compress_stream
from codec.lac.rate import RateTarget
from codec.lac.reader import LacReader
from codec.model.blocks import LatentBlock, block_windows, encode_blocks
from codec.model.search import search_latents
from codec.network.map_likelihood import MapLikelihood
from codec.network.map_waveform import MapWaveformDecoder
from codec.network.spectral_map import MapEncoder

PLUCKED = Path(__file__).parents[3] / "codec" / "examples" / "plucked.ogg"
RATE = 44100
SOUND = music(1.5, RATE, 2)


@pytest.fixture(scope="module")
def small_codec() -> Codec:
    return load("small")


def only_block(codec: Codec, sound: np.ndarray) -> tuple[np.ndarray, LatentBlock]:
    [(window, _)], [block] = block_windows(codec, [sound]), encode_blocks(codec, [sound])
    return window, block


def nats(codec: Codec, sound: np.ndarray, data: bytes) -> float:
    """How unlikely the sound is, given what a file says of it."""
    [block] = LacReader(data).blocks(codec.coder)
    assert block is not None
    encoder, decoder = codec.autoencoder.encoder, codec.autoencoder.decoder
    assert isinstance(encoder, MapEncoder)
    assert isinstance(decoder, MapWaveformDecoder)
    rows = codec.to_rows(torch.from_numpy(sound)[None])[0]
    views = encoder.views(torch.nn.functional.pad(rows, (0, -rows.shape[-1] % codec.hop_length)))
    expected = decoder.expect(codec.standardizer.inverse(torch.from_numpy(block.latents)))
    likelihood = MapLikelihood(RATE, torch.device("cpu"))
    return float(likelihood.total(likelihood.terms(views, expected)))


def test_a_file_of_the_same_size_says_more(small_codec: Codec) -> None:
    plucked, _ = audio.read(PLUCKED)
    sound = plucked[:1, : 3 * RATE]
    plain, searched = (small_codec.compress(sound, RATE, 1.5, search=count) for count in (0, 30))
    assert len(searched) == pytest.approx(len(plain), rel=0.03)
    assert nats(small_codec, sound, searched) < nats(small_codec, sound, plain) - 0.03


def test_a_search_that_leads_astray_is_not_written(small_codec: Codec) -> None:
    """At -120 dB the encoder's own rounding is right, and eight steps end at -28 dB."""
    noise = 1e-6 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    data = small_codec.compress(np.stack([noise, -0.5 * noise]), RATE, quality=1, search=8)
    assert small_codec.decompress(data, steps=0)[0].abs().max() < 1e-5


def test_a_silent_channel_is_left_alone(small_codec: Codec) -> None:
    sound = SOUND.copy()
    sound[1] = sound[0]  # so side is silent
    window, block = only_block(small_codec, sound)
    assert block.silent.tolist() == [False, True]
    found = search_latents(small_codec, window, block, 430, 2)
    assert not found[1].any()
    assert not np.array_equal(found[0], block.latents[0])


def test_whoever_trains_a_codec_keeps_its_gradients() -> None:
    codec = layered_codec().requires_grad_(True)
    codec.compress(SOUND, RATE, quality=0, search=1)
    assert all(weight.grad is None for weight in codec.parameters())


def test_a_search_is_in_a_file_of_latents_alone() -> None:
    codec = layered_codec()
    low, plain = (codec.compress(SOUND, RATE, quality=0, search=count) for count in (3, 0))
    assert low != plain
    high = [codec.compress(SOUND, RATE, kbps=40, search=count) for count in (3, 0)]
    assert high[0] == high[1]


def test_what_only_an_encoder_reaches_is_written_as_it_gave_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codec = layered_codec()
    least = len(codec.compress(SOUND, RATE, quality=0, search=0)) * 8 / 1.5 / 1000
    plain = codec.compress(SOUND, RATE, least, search=0)
    wild = 100 * np.random.default_rng(0).standard_normal((2, 8, 33)).astype(np.float32)
    monkeypatch.setattr(searching, "search_latents", lambda *args: wild)
    assert codec.compress(SOUND, RATE, least, search=1) == plain


def test_a_searched_block_is_not_denoised() -> None:
    codec = layered_codec()
    for count in (0, 1):
        [block] = LacReader(codec.compress(SOUND, RATE, quality=0, search=count)).blocks(
            codec.coder
        )
        assert block is not None
        assert block.denoise == (count == 0)


def test_other_networks_do_without(tiny_codec: Codec) -> None:
    sound = music(1.0, 16000, 1)
    files = {tiny_codec.compress(sound, 16000, search=count) for count in (None, 0, 5)}
    assert len(files) == 1


def test_however_it_arrives_the_file_is_the_same() -> None:
    codec, output = layered_codec(), io.BytesIO()
    sound = music(13.0, RATE, 1)  # two blocks
    pieces = np.array_split(sound, [1, 5000, 300_000], axis=1)
    seconds: list[float] = []
    target = RateTarget(quality=0, search=2)
    compress_stream(codec, pieces, RATE, 1, output, target, progress=seconds.append)
    assert output.getvalue() == codec.compress(sound, RATE, quality=0, search=2)
    assert len(list(LacReader(output.getvalue()).blocks(codec.coder))) == 2
    assert seconds == sorted(seconds)
    assert seconds[-1] == pytest.approx(13.0)


@pytest.mark.parametrize("count", [-1, 10_001])
def test_no_such_search(count: int, lacuna: Lacuna, tmp_path: Path) -> None:
    with pytest.raises(RateError, match=f"--search {count}, expected 0"):
        RateTarget(search=count)
    source = write_wav(tmp_path / "in.wav")
    error = lacuna.fails("compress", source, tmp_path / "out.lac", "--search", count)
    assert f"--search {count}" in error
    assert not (tmp_path / "out.lac").exists()
