"""Other codecs: the delay is found without them; the round trips need their programs."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from codec_helpers import music

from codec.errors import AudioError, LacunaError
from codec.evaluation.codecs import peers
from codec.evaluation.codecs.peers import FORMATS, Peer, aligned, installed, parse_peers

RATE = 16_000


@pytest.mark.parametrize("lag", [-700, -1, 0, 1, 1105])
def test_a_shifted_signal_is_moved_back(lag: int):
    original = np.random.default_rng(0).standard_normal((2, RATE)).astype(np.float32)
    shifted = 0.7 * np.roll(np.pad(original, ((0, 0), (2000, 2000))), lag, axis=1)[:, 2000:]
    found = aligned(shifted, original, RATE)
    assert found.shape == original.shape
    kept = slice(800, -1200)
    np.testing.assert_allclose(found[:, kept], 0.7 * original[:, kept], atol=1e-6)


def test_samples_that_are_missing_are_not_invented_and_silence_is_not_moved():
    original = music(0.5, RATE, 1)
    found = aligned(original[:, 100:4000], original, RATE)
    np.testing.assert_allclose(found[:, 100:], original[:, 100:4000])
    assert not aligned(0 * original, original, RATE).any()
    np.testing.assert_array_equal(aligned(original, 0 * original, RATE), original)


def test_the_command_line_names_codecs_and_rates():
    assert parse_peers("mp3:48, OPUS:13.5") == [Peer("mp3", 48.0), Peer("opus", 13.5)]
    assert parse_peers("opus,opus:16") == [Peer("opus", kbps) for kbps in FORMATS["opus"].kbps]
    for text in ("ogg", "", "opus:much", "opus:-3", "opus:nan"):
        with pytest.raises(LacunaError, match="--against"):
            parse_peers(text)


def test_a_missing_program_is_named_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    usable, notes = installed(parse_peers("opus,aac"))
    assert usable == []
    assert len(notes) == 2
    assert "ffmpeg" in notes[1]


def test_a_program_that_fails_or_hangs_is_an_error(monkeypatch: pytest.MonkeyPatch):
    command = "python3 -c import(sys)"
    with pytest.raises(AudioError, match="python3 failed"):
        peers._run(command)
    monkeypatch.setattr(peers, "TIMEOUT_SECONDS", 0.01)
    with pytest.raises(AudioError, match="did not end"):
        peers._run("sleep 5")


@pytest.mark.parametrize("codec", list(FORMATS))
@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (22_050, 1)])
def test_what_comes_back_follows_the_original(codec: str, rate: int, channels: int):
    for command in (FORMATS[codec].encode, FORMATS[codec].decode):
        if shutil.which(command.split()[0]) is None:
            pytest.skip(f"{command.split()[0]} is not installed")
    original = music(2.0, rate, channels)
    trip = Peer(codec, 64.0)(original, rate)
    assert trip.waveform.shape == original.shape
    assert 20 < trip.bytes * 8 / 2.0 / 1000 < 100
    for x, y in zip(trip.waveform, original, strict=True):
        assert np.corrcoef(x, y)[0, 1] > 0.95
