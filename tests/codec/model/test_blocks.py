"""Blocks with halos equal the whole; lost and silent blocks stay where they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from codec_helpers import BLOCK, music
from untrained import untrained

from codec.api import Codec
from codec.errors import AudioError
from codec.model.blocks import FRAMES_PER_BLOCK, LatentBlock, decode_blocks, encode_blocks


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Three blocks and a half of stereo."""
    return music(3.5 * BLOCK / 16000, 16000, 2)


@pytest.fixture(scope="module")
def blocks(tiny_codec: Codec, sound: np.ndarray) -> list[LatentBlock]:
    return list(encode_blocks(tiny_codec, [sound]))


def test_blocks_have_the_length_that_they_should(blocks: list[LatentBlock]):
    assert [b.latents.shape for b in blocks] == [(2, 4, 256)] * 3 + [(2, 4, 128)]
    assert not any(b.silent.any() for b in blocks)


@pytest.mark.parametrize("fixture", ["tiny_codec", "tiny_stereo_codec"])
def test_latents_equal_those_of_the_whole(fixture: str, sound, request: pytest.FixtureRequest):
    codec: Codec = request.getfixturevalue(fixture)
    whole = codec.encode(torch.from_numpy(sound)[None])[0].numpy()
    joined = np.concatenate([b.latents for b in encode_blocks(codec, [sound])], axis=-1)
    edge = codec.autoencoder.encoder.receptive_frames
    np.testing.assert_allclose(joined[..., edge:-edge], whole[..., edge:-edge], atol=1e-3)


def test_a_file_begins_and_ends_in_silence(tiny_codec: Codec, sound: np.ndarray, blocks):
    halo = tiny_codec.autoencoder.encoder.receptive_frames
    silence = np.zeros((2, halo * tiny_codec.hop_length), np.float32)
    padded = torch.from_numpy(np.concatenate([silence, sound, silence], axis=1))
    z = tiny_codec.encode(padded[None])[0, ..., halo:-halo].numpy()
    joined = np.concatenate([b.latents for b in blocks], axis=-1)
    np.testing.assert_allclose(joined, z, atol=1e-3)


@pytest.mark.parametrize("fixture", ["tiny_codec", "tiny_stereo_codec"])
def test_samples_equal_those_of_the_whole_and_do_not_click(
    fixture: str, sound, request: pytest.FixtureRequest
):
    codec: Codec = request.getfixturevalue(fixture)
    blocks = list(encode_blocks(codec, [sound]))
    latents = np.concatenate([b.latents for b in blocks], axis=-1)
    whole = codec.decode(torch.from_numpy(latents)[None])[0].numpy()
    joined = np.concatenate(list(decode_blocks(codec, blocks, 2)), axis=-1)
    edge = codec.autoencoder.decoder.receptive_frames * codec.hop_length
    np.testing.assert_allclose(
        joined[:, edge:-edge], whole[:, edge:-edge], atol=1e-4 * np.abs(whole).max()
    )
    jumps = np.abs(np.diff(joined[:, edge:-edge]))
    borders = np.arange(1, 4) * BLOCK - edge - 1
    assert jumps[:, borders].max() <= np.delete(jumps, borders, axis=1).max()


@pytest.mark.parametrize("size", [1, 127, 10_000, BLOCK, BLOCK + 1])
def test_chunks_do_not_matter(tiny_codec: Codec, blocks, sound, size: int):
    sound = sound if size > 1 else sound[:, :2000]
    expected = blocks if size > 1 else list(encode_blocks(tiny_codec, [sound]))
    chunks = [sound[:, i : i + size] for i in range(0, sound.shape[1], size)]
    for got, want in zip(encode_blocks(tiny_codec, chunks), expected, strict=True):
        assert np.array_equal(got.latents, want.latents)


def test_silence_is_known_for_each_channel(tiny_codec: Codec, sound: np.ndarray):
    sound = sound.copy()
    sound[1, BLOCK:] = sound[0, BLOCK:]  # no side from the second block on
    sound[:, 2 * BLOCK : 3 * BLOCK] = 0
    blocks = list(encode_blocks(tiny_codec, [sound]))
    assert [b.silent.tolist() for b in blocks] == [
        [False, False],
        [False, True],
        [True, True],
        [False, True],
    ]
    decoded = list(decode_blocks(tiny_codec, blocks, 2))
    assert (decoded[1][0] == decoded[1][1]).all()
    assert not decoded[2].any()
    assert decoded[3].any()
    kept = list(encode_blocks(tiny_codec, [sound], skip_silence=False))
    assert [b.silent.tolist() for b in kept] == [b.silent.tolist() for b in blocks]
    assert kept[2].latents.any()  # what the network makes of silence
    assert np.array_equal(kept[0].latents, blocks[0].latents)


def test_a_lost_block_is_silence_and_the_rest_stays(tiny_codec: Codec, blocks):
    whole = np.concatenate(list(decode_blocks(tiny_codec, blocks, 2)), axis=-1)
    gap: list[LatentBlock | None] = [blocks[0], None, *blocks[2:]]
    decoded = list(decode_blocks(tiny_codec, gap, 2))
    joined = np.concatenate(decoded, axis=-1)
    assert joined.shape == whole.shape
    assert not decoded[1].any()
    halo = tiny_codec.autoencoder.decoder.receptive_frames * tiny_codec.hop_length
    reach = max(halo, 160)  # 10 ms of fade
    assert np.array_equal(joined[:, : BLOCK - reach], whole[:, : BLOCK - reach])
    assert np.array_equal(joined[:, 2 * BLOCK + reach :], whole[:, 2 * BLOCK + reach :])
    # No click on either side of the gap.
    assert not joined[:, [BLOCK - 1, 2 * BLOCK]].any()
    assert np.abs(joined[:, BLOCK - 80]).max() > 0


def test_first_and_last_block_may_be_lost(tiny_codec: Codec, blocks):
    decoded = list(decode_blocks(tiny_codec, [None, blocks[1], None], 2))
    assert [d.shape[1] for d in decoded] == [BLOCK] * 3
    assert not decoded[0].any()
    assert decoded[1].any()
    assert not decoded[2].any()


def test_one_frame_alone(tiny_codec: Codec):
    (block,) = encode_blocks(tiny_codec, [music(1 / 16000, 16000, 1)])
    assert block.latents.shape == (1, 4, 1)
    (decoded,) = decode_blocks(tiny_codec, [block], 1)
    assert decoded.shape == (1, 128)


def test_mono_through_a_two_channel_network(tiny_stereo_codec: Codec):
    blocks = list(encode_blocks(tiny_stereo_codec, [music(1.0, 16000, 1)]))
    (decoded,) = decode_blocks(tiny_stereo_codec, blocks, 1)
    assert decoded.shape == (1, 125 * 128)


def test_no_sound_no_blocks(tiny_codec: Codec):
    assert list(encode_blocks(tiny_codec, [])) == []
    assert list(encode_blocks(tiny_codec, [np.zeros((1, 0), np.float32)])) == []
    assert list(decode_blocks(tiny_codec, [], 1)) == []


def test_samples_that_overflow_the_network_are_refused(tiny_codec: Codec):
    loud = np.full((1, 1000), 1e30, np.float32)
    with pytest.raises(AudioError, match=r"reach 1e\+30.*scale the audio down"):
        list(encode_blocks(tiny_codec, [loud]))


def test_block_length_is_part_of_the_format():
    assert FRAMES_PER_BLOCK == 256


def test_beyond_its_ends_a_spectral_map_sees_silence() -> None:
    """What the encoder saw there. A frame that goes on instead is a tone that never was, and hard
    cuts came back 22 dB too loud."""
    codec = untrained("map")
    hop, rate = codec.hop_length, codec.sample_rate
    sound = music(FRAMES_PER_BLOCK * hop / rate, rate, 1)[:, : FRAMES_PER_BLOCK * hop]
    (block,) = encode_blocks(codec, [sound])
    quiet = np.zeros((1, 40 * hop), np.float32)
    (after,) = encode_blocks(codec, [quiet], skip_silence=False)
    frame = after.latents[..., 20:21]
    silence = LatentBlock(np.repeat(frame, FRAMES_PER_BLOCK, axis=-1), np.array([False]))
    (alone,) = decode_blocks(codec, [block], 1, first_block=1)
    _, between, _ = decode_blocks(codec, [silence, block, silence], 1)
    np.testing.assert_allclose(alone, between, atol=1e-6 * np.abs(alone).max())
    repeated = LatentBlock(np.repeat(block.latents[..., -1:], 256, axis=-1), np.array([False]))
    other, _ = decode_blocks(codec, [block, repeated], 1, first_block=1)
    apart = np.abs(alone - other)[:, -hop:].max()
    assert apart > 0.01 * np.abs(alone).max()
