"""Parts of a file, damaged files, files of others: what comes out of them."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from codec_helpers import BLOCK, music
from sound_helpers import BLOCK_SECONDS, block_ends, decompress

from codec.api import Codec
from codec.audio import resampling
from codec.errors import AudioError, FormatError
from codec.lac.decompress import decompress_stream
from codec.lac.reader import LacReader
from codec.model.blocks import FRAMES_PER_BLOCK

SPANS = [
    (0.0, 0.5),
    (0.0, 1 / 16000),
    (1.0, None),
    (2.048, 2.048),
    (2.047, 0.002),
    (4.2, 1.3),
    (6.1, None),
    (3.0, 100.0),
    (6.8, 0.1),
]


def check_span(codec: Codec, data: bytes, whole: np.ndarray, rate: int, *span: float | None):
    """A span must equal the slice of the whole to the last bit."""
    start, duration = span
    assert start is not None
    first = round(start * rate)
    last = whole.shape[1] if duration is None else first + round(duration * rate)
    if first < min(last, whole.shape[1]):
        wanted = () if duration is None else (duration,)
        assert np.array_equal(decompress(codec, data, start, *wanted), whole[:, first:last]), span


RATES = [16000, 44100, 48000, 8000, 96000, 22050, 44101, 11025, 15999]


@pytest.mark.parametrize("rate", RATES)
def test_a_span_equals_the_slice_of_the_whole(tiny_codec: Codec, rate: int, monkeypatch):
    monkeypatch.setattr(resampling, "_PIECE", 5000)  # borders in a short recording as well
    seconds = 7.0
    data = tiny_codec.compress(music(seconds, rate, 2), rate)
    whole = decompress(tiny_codec, data)
    rng = np.random.default_rng(rate)
    starts = rng.uniform(0, seconds, 8)
    spans = [*SPANS, *zip(starts, rng.uniform(0, 1, 8) ** 3 * (seconds - starts), strict=True)]
    if rate != 16000:
        border = resampling._Grid.of(16000, rate).piece_out / rate
        assert border < seconds / 1.5
        spans += [(border + offset / rate, 2.1 / rate) for offset in (-2, -1, 0, 1)]
    spans += [((whole.shape[1] - 1) / rate, None), (BLOCK_SECONDS - 0.01, 0.02)]
    for span in spans:
        check_span(tiny_codec, data, whole, rate, *span)


@pytest.mark.parametrize("rate", [44100, 8000])
def test_spans_of_a_longer_recording(tiny_codec: Codec, rate: int):
    data = tiny_codec.compress(music(20.0, rate, 1), rate)
    whole = decompress(tiny_codec, data)
    assert resampling.input_start(whole.shape[1] - 1, 16000, rate) > 0
    for span in [(12.3, 1.0), (8.1, 4.0), (19.9, None), (4.0, 0.2), (16.4, 0.01)]:
        check_span(tiny_codec, data, whole, rate, *span)


@pytest.mark.parametrize(("rate", "most"), [(16000, 3), (44100, 6), (8000, 8)])
@pytest.mark.parametrize("start", [10.5, 19.2, 33.3])
def test_a_span_decodes_no_more_blocks_than_it_needs(
    tiny_codec: Codec, rate: int, most: int, start: float, monkeypatch
):
    """20 blocks of 2.048 s. A piece of the resampler is 4.1 s, at 8 kHz 8.2 s."""
    data = tiny_codec.compress(music(20 * BLOCK_SECONDS, rate, 1), rate)
    decoded = []
    synthesize = Codec.synthesize
    monkeypatch.setattr(
        Codec,
        "synthesize",
        lambda self, *given, halo: decoded.append(given) or synthesize(self, *given, halo=halo),
    )
    decompress(tiny_codec, data, start, 0.1)
    assert 1 <= len(decoded) <= most


@pytest.mark.parametrize(
    ("start", "duration"),
    [
        *[(3.0, None), (1e9, None), (0.0, 0.0), (1.0, 0.0), (-1.0, None), (0.0, -1.0)],
        *[(float("nan"), None), (0.0, float("nan")), (float("inf"), 1.0)],
    ],
)
def test_spans_of_nothing_are_refused(tiny_codec: Codec, start: float, duration: float | None):
    data = tiny_codec.compress(music(3.0, 16000, 1), 16000)
    with pytest.raises(AudioError, match=r"the file has 3\.000 s|expected 0 or more seconds"):
        tiny_codec.decompress(data, start, duration)


def test_a_damaged_block_is_silence_in_its_place(tiny_codec: Codec):
    data = tiny_codec.compress(music(4.5 * BLOCK_SECONDS, 16000, 2), 16000)
    whole = decompress(tiny_codec, data)
    ends = block_ends(data)
    damaged = bytearray(data)
    damaged[(ends[2] + ends[3]) // 2] ^= 0x10
    with pytest.warns(UserWarning, match=r"^4\.10 s to 6\.14 s are damaged and silent$"):
        decoded = tiny_codec.decompress(bytes(damaged))[0].numpy()
    assert decoded.shape == whole.shape
    assert not decoded[:, 2 * BLOCK : 3 * BLOCK].any()
    halo = tiny_codec.autoencoder.decoder.receptive_frames * tiny_codec.hop_length
    reach = max(halo, 160)
    assert np.array_equal(decoded[:, : 2 * BLOCK - reach], whole[:, : 2 * BLOCK - reach])
    assert np.array_equal(decoded[:, 3 * BLOCK + reach :], whole[:, 3 * BLOCK + reach :])
    # A span elsewhere neither suffers from the damage nor speaks of it.
    span = decompress(tiny_codec, bytes(damaged), 0.5, 2.0)
    assert np.array_equal(span, whole[:, 8000:40000])
    with pytest.warns(UserWarning, match="damaged and silent"):
        tiny_codec.decompress(bytes(damaged), 6.0, 0.5)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_cut_file_gives_what_is_left(tiny_codec: Codec, rate: int):
    data = tiny_codec.compress(music(3.5 * BLOCK_SECONDS, rate, 1), rate)
    whole = decompress(tiny_codec, data)
    ends = block_ends(data)
    with pytest.warns(UserWarning, match="damaged") as caught:
        decoded = tiny_codec.decompress(data[: ends[2] + 20])[0].numpy()
    messages = sorted(str(warning.message) for warning in caught)
    assert messages == [
        "4.10 s to 6.14 s are damaged and silent",
        "the end of the file is damaged or missing",
    ]
    halo = tiny_codec.autoencoder.decoder.receptive_frames * tiny_codec.hop_length
    intact = (2 * BLOCK - max(halo, 160) - 50) * rate // 16000
    np.testing.assert_allclose(decoded[:, :intact], whole[:, :intact], atol=1e-6)
    lost = int(2.02 * BLOCK * rate / 16000)
    assert np.abs(decoded[:, lost:]).max(initial=0) < 1e-6
    assert decoded.shape[1] == 3 * BLOCK * rate // 16000


def test_without_its_end_a_file_keeps_all_its_frames(tiny_codec: Codec):
    sound = music(1.3 * BLOCK_SECONDS, 16000, 1)
    data = tiny_codec.compress(sound, 16000)
    whole = decompress(tiny_codec, data)
    with pytest.warns(UserWarning, match="end of the file") as caught:
        decoded = tiny_codec.decompress(data[: block_ends(data)[2]])[0].numpy()
    assert len(caught) == 1
    # The exact length is lost; that of the frames, less than a hop more, is known.
    assert 0 <= decoded.shape[1] - whole.shape[1] < tiny_codec.hop_length
    assert np.array_equal(decoded[:, : whole.shape[1]], whole)
    with pytest.raises(AudioError, match=r"the file has 2\.66"):
        tiny_codec.decompress(data[: block_ends(data)[2]], start=3.0)


def test_a_header_alone_is_no_sound(tiny_codec: Codec):
    data = tiny_codec.compress(music(1.0, 16000, 1), 16000)
    with pytest.raises(FormatError, match="holds no sound"):
        tiny_codec.decompress(data[: block_ends(data)[0]])


def test_report_of_damage_to_a_callers_own_writer(tiny_codec: Codec):
    data = bytearray(tiny_codec.compress(music(2.5 * BLOCK_SECONDS, 16000, 1), 16000))
    data[block_ends(bytes(data))[1] + 30] ^= 1
    pieces: list[np.ndarray] = []
    report = decompress_stream(tiny_codec, LacReader(bytes(data)), pieces.append)
    assert report.damaged_seconds == [(BLOCK_SECONDS, 2 * BLOCK_SECONDS)]
    assert report.complete
    assert report.samples == sum(piece.shape[1] for piece in pieces) == round(2.5 * BLOCK)
    assert max(piece.shape[1] for piece in pieces) <= BLOCK


def test_another_models_file_is_refused(tiny_codec: Codec, tiny_stereo_codec: Codec):
    data = tiny_codec.compress(music(0.5, 16000, 2), 16000)
    with pytest.raises(FormatError) as error:
        tiny_stereo_codec.decompress(data)
    assert tiny_codec.coding_id in str(error.value)
    assert tiny_stereo_codec.coding_id in str(error.value)


@pytest.mark.parametrize(
    ("field", "offset", "code", "value"),
    [
        ("latent_dim", 14, "<H", 2),
        ("frames_per_block", 16, "<H", FRAMES_PER_BLOCK // 2),
        ("model_sample_rate", 18, "<I", 8000),
        ("hop_length", 22, "<I", 256),
    ],
)
def test_a_forged_layout_is_refused(tiny_codec, field: str, offset: int, code: str, value: int):
    data = tiny_codec.compress(music(0.5, 16000, 1), 16000)
    length = block_ends(data)[0]
    forged = bytearray(data[: length - 4])
    struct.pack_into(code, forged, offset, value)
    forged += struct.pack("<I", zlib.crc32(forged))
    with pytest.raises(FormatError, match=f"{field} is {value}"):
        tiny_codec.decompress(bytes(forged) + data[length:])
