"""Whatever a file holds is read, or the warning says how much was read and how much is left.

Headers, length tags and the decoder's own idea of an end are claims: joined recordings, strays in
the middle and sound beyond the promised end must not be lost without a word.
"""

from __future__ import annotations

import io
import struct
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from codec import audio
from codec.audio.contents import tag_length
from codec.audio.flac import _coded_number, _crc8, _last_sample
from codec.audio.mp3 import mp3_contents
from codec.audio.ogg import ogg_contents
from codec.errors import AudioError

RATE = 48_000
SECOND = {"mp3": RATE, "tagless.mp3": RATE + 1152}
"""Samples that a second of sound comes back as; a tagless MP3 is not trimmed to length."""
FORMATS = ["wav", "w64", "aiff", "caf", "flac", "ogg", "opus", "mp3", "tagless.mp3"]


def recording(
    folder: Path, kind: str, pitch: float = 440.0, channels: int = 1, seconds: int = 1
) -> bytes:
    """A tone as the bytes of a file."""
    t = np.arange(seconds * RATE) / RATE
    tone = np.tile(0.3 * np.sin(2 * np.pi * pitch * t), (channels, 1)).astype(np.float32)
    path = folder / f"one.{kind}"
    audio.write(path, tone, RATE, force=True)
    data = path.read_bytes()
    if kind == "tagless.mp3":
        first = data.index(b"\xff\xfb")
        data = data[data.index(b"\xff\xfb", first + 4) :]
    return data


def read_file(path: Path, data: bytes) -> tuple[int, list[str]]:
    """Samples that are read, and the warnings."""
    path.write_bytes(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        samples = audio.read(path)[0].shape[1]
    return samples, [str(warning.message) for warning in caught]


@pytest.mark.parametrize("kind", FORMATS)
def test_joined_recordings_are_read_one_after_the_other(tmp_path: Path, kind: str) -> None:
    low, high = recording(tmp_path, kind, 440.0), recording(tmp_path, kind, 1760.0)
    samples, problems = read_file(tmp_path / f"both.{kind}", low + high + low)
    second = SECOND.get(kind, RATE)
    if kind == "tagless.mp3":  # nothing marks where one ends
        assert 3 * RATE <= samples <= 3 * (second + 1152)
    else:
        assert samples == 3 * second
    assert problems == []
    y, _ = audio.read(tmp_path / f"both.{kind}")
    middle = np.abs(np.fft.rfft(y[0, RATE + 8_000 : RATE + 40_000]))
    assert middle.argmax() == pytest.approx(1760 * 32_000 / RATE, abs=2)
    pieces = []
    with audio.AudioReader(tmp_path / f"both.{kind}") as reader:
        pieces = [b.shape[1] for b in reader.blocks(10_000, start=RATE - 5, samples=25_000)]
        part = np.concatenate(list(reader.blocks(10_000, RATE - 5, 25_000)), axis=1)
    assert pieces == [10_000, 10_000, 5_000]
    assert np.array_equal(part, y[:, RATE - 5 : RATE + 24_995])


@pytest.mark.parametrize("kind", ["ogg", "opus", "mp3"])
def test_joined_recordings_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    data = recording(tmp_path, kind)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data + data)))
    assert audio.read("-")[0].shape == (1, 2 * RATE)


def test_the_length_of_joined_recordings_is_that_of_all(tmp_path: Path) -> None:
    data = recording(tmp_path, "ogg")
    (tmp_path / "two.ogg").write_bytes(data + data)
    assert audio.probe(tmp_path / "two.ogg").seconds == 2.0


def test_an_mp3_goes_on_after_as_many_frames_as_its_tag_says(tmp_path: Path) -> None:
    tagged, tagless = recording(tmp_path, "mp3"), recording(tmp_path, "tagless.mp3")
    samples, problems = read_file(tmp_path / "both.mp3", tagged + tagless)
    assert samples >= RATE + RATE
    assert problems == []


@pytest.mark.parametrize("kind", [k for k in FORMATS if k not in ("flac", "w64")])
@pytest.mark.parametrize("zeros", [900, 2_000])
def test_a_stray_stretch_in_the_middle_is_read_past_or_told(
    tmp_path: Path, kind: str, zeros: int
) -> None:
    data = recording(tmp_path, kind, seconds=5)
    middle = len(data) // 2
    samples, problems = read_file(
        tmp_path / f"hole.{kind}", data[:middle] + bytes(zeros) + data[middle:]
    )
    (problem,) = problems
    assert f"read {samples / RATE:.3f} s" in problem
    if "mp3" in kind:
        assert samples >= 5 * RATE
    assert f"{zeros:,} bytes of the file are left" in problem


def test_other_sound_after_the_first_is_told(tmp_path: Path) -> None:
    mono, stereo = recording(tmp_path, "ogg"), recording(tmp_path, "ogg", channels=2)
    samples, (problem,) = read_file(tmp_path / "both.ogg", mono + stereo)
    assert samples == RATE
    assert f"read 1.000 s, and {len(stereo):,} bytes of the file are left" in problem


@pytest.mark.parametrize("kind", ["wav", "aiff", "caf", "ogg", "mp3", "au"])
def test_what_follows_the_end_is_told(tmp_path: Path, kind: str) -> None:
    data = recording(tmp_path, kind)
    samples, (problem,) = read_file(tmp_path / f"more.{kind}", data + b"\x01\x02" * 500)
    assert samples == RATE
    assert "read 1.000 s, and 1,000 bytes of the file are left" in problem


def test_sound_beyond_the_length_in_a_header_is_told(tmp_path: Path) -> None:
    data = bytearray(recording(tmp_path, "wav"))
    size = data.index(b"data") + 4
    data[size : size + 4] = struct.pack("<I", RATE)  # bytes: half of what there is
    samples, (problem,) = read_file(tmp_path / "short.wav", bytes(data))
    assert samples == RATE // 2
    assert f"read 0.500 s, and {RATE:,} bytes of the file are left" in problem


@pytest.mark.parametrize("claimed", [1, 4_096, RATE // 2, 3 * RATE - 4_097])
@pytest.mark.parametrize("joined", [False, True])
def test_flac_with_more_than_its_header_says_is_read_to_its_end(
    tmp_path: Path, claimed: int, joined: bool
) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.flac", rng.uniform(-0.5, 0.5, (3 * RATE, 2)), RATE)
    whole = (tmp_path / "a.flac").read_bytes()
    data = bytearray(whole)
    field = int.from_bytes(data[21:26], "big")
    data[21:26] = (field - 3 * RATE + claimed).to_bytes(5, "big")
    (tmp_path / "b.flac").write_bytes(bytes(data))
    assert soundfile.info(tmp_path / "b.flac").frames == claimed  # the trap is real
    more = whole if joined else b""
    samples, problems = read_file(tmp_path / "b.flac", bytes(data) + more)
    assert (samples, problems) == ((6 if joined else 3) * RATE, [])
    y, _ = audio.read(tmp_path / "a.flac")
    assert np.array_equal(audio.read(tmp_path / "b.flac")[0][:, : 3 * RATE], y)


def test_flac_of_changing_block_sizes(tmp_path: Path) -> None:
    """Its frames are numbered by samples."""
    number = (1 << 20) + 5
    coded = bytes([0xF4, 0x80 | number >> 12 & 63, 0x80 | number >> 6 & 63, 0x80 | number & 63])
    frame = b"\xff\xf9\xc9\x18" + coded
    assert _coded_number(coded) == (number, 4)
    assert _last_sample(b"\0" * 50 + frame + bytes([_crc8(frame)]) + b"\0" * 9, 4096) == number
    assert _last_sample(b"\0" * 50 + frame + bytes([_crc8(frame) ^ 1]) + b"\0" * 9, 4096) == -1
    assert _last_sample(b"\xff" * 100 + b"\xff\xf8", 4096) == -1


@pytest.mark.parametrize("kind", ["ogg", "mp3"])
def test_a_file_that_was_cut_is_told(tmp_path: Path, kind: str) -> None:
    data = recording(tmp_path, "tagless.mp3" if kind == "mp3" else kind, seconds=5)
    _, problems = read_file(tmp_path / f"cut.{kind}", data[:-50])
    assert len(problems) == 1


@pytest.mark.parametrize(
    "tag",
    [
        b"TAG" + b"x" * 125,
        b"APETAGEX" + struct.pack("<IIII", 2000, 40, 1, 0xA0000000) + bytes(8 + 40),
        b"ID3\x03\0\0\0\0\0\x20" + b"\0" * 32,
        bytes(3_000),
    ],
)
def test_tags_and_zeros_at_the_end_are_no_loss(tmp_path: Path, tag: bytes) -> None:
    for kind in ("mp3", "wav"):
        assert read_file(tmp_path / f"tag.{kind}", recording(tmp_path, kind) + tag) == (RATE, [])


def test_an_id3_tag_between_joined_mp3s(tmp_path: Path) -> None:
    data = recording(tmp_path, "mp3")
    tag = b"ID3\x03\0\0\0\0\0\x20" + b"\0" * 32
    assert read_file(tmp_path / "two.mp3", tag + data + tag + data) == (2 * RATE, [])


def test_mp3_in_a_wav_is_whole(tmp_path: Path) -> None:
    frames = recording(tmp_path, "tagless.mp3")
    size = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 0, 1152, 0, 12, 1, 0, 1152, 1, 0)
    chunks = b"fmt " + struct.pack("<I", len(size)) + size
    chunks += b"fact" + struct.pack("<II", 4, RATE) + b"data" + struct.pack("<I", len(frames))
    body = b"WAVE" + chunks + frames
    samples, problems = read_file(tmp_path / "a.wav", b"RIFF" + struct.pack("<I", len(body)) + body)
    assert samples == read_file(tmp_path / "a.mp3", frames)[0]
    assert problems == []


def later(data: bytes, samples: int) -> bytes:
    """An Ogg file whose clock is ahead by so many samples."""
    moved = bytearray(data)
    position = 0
    while position < len(moved):
        granule = struct.unpack_from("<q", moved, position + 6)[0]
        if granule > 0:
            struct.pack_into("<q", moved, position + 6, granule + samples)
        body = position + 27 + moved[position + 26]
        end = body + sum(moved[position + 27 : body])
        moved[position + 22 : position + 26] = bytes(4)
        struct.pack_into("<I", moved, position + 22, ogg_crc(moved[position:end]))
        position = end
    return bytes(moved)


def ogg_crc(page: bytes) -> int:
    """RFC 3533: polynomial 0x04c11db7, most significant bit first, starting with 0."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x104C11DB7 if value & 0x80000000 else 0)
    return value


def test_ogg_that_was_cut_out_of_a_stream_promises_what_it_has(tmp_path: Path) -> None:
    (found,) = ogg_contents(later(recording(tmp_path, "ogg"), 3600 * RATE)).recordings
    assert found.seconds is not None
    assert found.seconds <= 1.0


@pytest.mark.parametrize("samples", [128, 1024])
def test_vorbis_whose_clock_starts_late_lacks_nothing(tmp_path: Path, samples: int) -> None:
    data = later(recording(tmp_path, "ogg", seconds=3), samples)
    assert read_file(tmp_path / "late.ogg", data) == (3 * RATE, [])


@pytest.mark.parametrize("kind", FORMATS)
def test_any_damage_ends_in_sound_or_an_error(tmp_path: Path, kind: str) -> None:
    """No traceback, no endless loop: bytes that were changed, cut out, and put in."""
    data, rng = recording(tmp_path, kind), np.random.default_rng(0)
    for _ in range(15):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), 5):
            broken[place] = rng.integers(256)
        at, length = rng.integers(0, len(broken)), rng.integers(1, 300)
        broken[at : at + length] = rng.bytes(int(rng.integers(0, 300)))
        try:
            read_file(tmp_path / f"broken.{kind}", bytes(broken))
        except AudioError:
            continue


def test_walks_of_hostile_bytes_end() -> None:
    for data in (b"OggS" * 5000, b"\xff\xfb\x90" * 5000, b"ID3" * 5000, b"RIFF....WAVE" * 2000):
        ogg_contents(data)
        mp3_contents(data)
        assert 0 <= tag_length(data, 0) <= len(data)


def test_libsndfile_still_stops_at_the_end_of_a_recording(tmp_path: Path) -> None:
    """Else the walks above are no longer needed."""
    (tmp_path / "two.ogg").write_bytes(recording(tmp_path, "ogg") * 2)
    assert soundfile.info(tmp_path / "two.ogg").frames == RATE
