"""compress and decompress: exact lengths, equal bytes however fed, seeking, silence, damage."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from codec_helpers import BLOCK, music
from golden_coder import fixed_context

from codec.api import Codec
from codec.audio import resampling
from codec.entropy.context_model import ContextModel
from codec.errors import AudioError, FormatError
from codec.lac.compress import compress_stream
from codec.lac.decompress import coder_for, decompress_stream
from codec.lac.rate import RateTarget
from codec.lac.reader import LacReader
from codec.model import checkpoint
from codec.model.blocks import FRAMES_PER_BLOCK

BLOCK_SECONDS = BLOCK / 16000


def decompress(codec: Codec, data: bytes, *span: float) -> np.ndarray:
    """Whole or a span, and any warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return codec.decompress(data, *span)[0].numpy()


def block_ends(data: bytes) -> list[int]:
    """Where the header and every block end in a file, from its index (see docs/FORMAT.md)."""
    reader = LacReader(data)
    count = reader.block_count
    sizes = struct.unpack_from(f"<{count}I", data, len(data) - 20 - 4 - 4 * count)
    start = len(reader.header.to_bytes())
    return [start, *(start + np.cumsum(sizes)).tolist()]


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000, 192000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_rate_channels_and_length_come_back(tiny_codec: Codec, rate: int, channels: int):
    sound = music(0.2, rate, channels)[:, : rate // 5 - 7]
    decoded, decoded_rate = tiny_codec.decompress(tiny_codec.compress(sound, rate))
    assert decoded_rate == rate
    assert decoded.shape == sound.shape
    assert decoded.dtype == torch.float32
    assert decoded.abs().max() > 0.01


LENGTHS = [1, 2, 127, 128, 129, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 77]


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("rate", [16000, 44100, 11025, 15999])
def test_awkward_lengths_come_back(tiny_codec: Codec, rate: int, samples: int):
    sound = music(4 * BLOCK / rate, rate, 1)[:, :samples]
    data = tiny_codec.compress(sound, rate)
    assert LacReader(data).samples == samples
    assert decompress(tiny_codec, data).shape == sound.shape


def test_two_channel_network(tiny_stereo_codec: Codec):
    for channels in (1, 2):
        sound = music(1.1 * BLOCK_SECONDS, 16000, channels)
        data = tiny_stereo_codec.compress(sound, 16000)
        assert LacReader(data).header.coded_channels == 1
        assert decompress(tiny_stereo_codec, data).shape == sound.shape
    with pytest.raises(AudioError, match="one or two channels, got 6"):
        tiny_stereo_codec.compress(music(0.1, 16000, 6), 16000)


def test_mono_may_be_one_dimensional_or_a_tensor(tiny_codec: Codec):
    sound = music(0.5, 16000, 1)
    data = tiny_codec.compress(sound, 16000)
    assert tiny_codec.compress(sound[0], 16000) == data
    assert tiny_codec.compress(torch.from_numpy(sound).double(), 16000) == data
    assert tiny_codec.compress(torch.from_numpy(sound).requires_grad_(), 16000) == data


def test_finer_steps_come_closer_to_the_unquantised_sound(tiny_codec: Codec):
    sound = music(6.0, 16000, 1)
    exact = tiny_codec(torch.from_numpy(sound)[None])[0].numpy()[:, 4000:-4000]

    def distance(kbps: float) -> float:
        decoded = decompress(tiny_codec, tiny_codec.compress(sound, 16000, kbps))
        return float(np.sqrt(np.mean((decoded[:, 4000:-4000] - exact) ** 2)))

    errors = [distance(kbps) for kbps in (0.9, 1.4, 2.5)]
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 0.5 * float(exact.std())


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2)])
@pytest.mark.parametrize("size", [977, 44_101, 10**7])
def test_streamed_chunks_give_the_same_bytes(
    tiny_codec: Codec, rate: int, channels: int, size: int
):
    sound = music(2.3 * BLOCK_SECONDS, rate, channels)
    output = io.BytesIO()
    chunks = (sound[:, i : i + size] for i in range(0, sound.shape[1], size))
    report = compress_stream(tiny_codec, chunks, rate, channels, output)
    data = tiny_codec.compress(sound, rate)
    assert output.getvalue() == data
    assert report.bytes == len(data)
    assert report.samples == sound.shape[1]
    assert report.kbps == pytest.approx(len(data) * 8 / (sound.shape[1] / rate) / 1000)


def test_same_bytes_and_same_samples_again(tiny_codec: Codec):
    sound = music(1.5 * BLOCK_SECONDS, 44100, 2)
    data = tiny_codec.compress(sound, 44100)
    assert tiny_codec.compress(sound, 44100) == data
    assert np.array_equal(decompress(tiny_codec, data), decompress(tiny_codec, data))


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
        Codec, "synthesize", lambda self, z: decoded.append(z) or synthesize(self, z)
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


@pytest.mark.parametrize("rate", [16000, 44100])
def test_silence_is_silence(tiny_codec: Codec, rate: int):
    silence = np.zeros((2, 3 * rate), np.float32)
    data = tiny_codec.compress(silence, rate)
    assert len(data) < 200
    assert not decompress(tiny_codec, data).any()


@pytest.mark.parametrize("rate", [16000, 44100])
def test_equal_channels_stay_equal(tiny_codec: Codec, rate: int):
    mono = music(1.2 * BLOCK_SECONDS, rate, 1)
    stereo_bytes = tiny_codec.compress(np.concatenate([mono, mono]), rate, kbps=2.5)
    mono_bytes = tiny_codec.compress(mono, rate, kbps=2.5)
    assert len(stereo_bytes) == len(mono_bytes)
    decoded = decompress(tiny_codec, stereo_bytes)
    assert decoded.any()
    assert np.array_equal(decoded[0], decoded[1])
    assert np.array_equal(decoded[:1], decompress(tiny_codec, mono_bytes))


def test_one_silent_channel(tiny_codec: Codec):
    sound = music(1.0, 16000, 6)
    sound[3] = 0
    decoded = decompress(tiny_codec, tiny_codec.compress(sound, 16000))
    assert [bool(channel.any()) for channel in decoded] == [True] * 3 + [False] + [True] * 2


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
    assert tiny_codec.latent_id in str(error.value)
    assert tiny_stereo_codec.latent_id in str(error.value)


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


@pytest.mark.parametrize(
    ("sound", "rate", "message"),
    [
        (np.zeros((1, 0), np.float32), 16000, r"\(1, 0\)"),
        (np.zeros((0, 5), np.float32), 16000, r"\(0, 5\)"),
        (np.zeros((1, 2, 5), np.float32), 16000, r"\(1, 2, 5\)"),
        (np.zeros((16000, 2), np.float32), 16000, "16000 channels.*transpose"),
        (np.full((1, 9), np.nan, np.float32), 16000, "nan at 0.000000 s"),
        (np.full((2, 9), np.inf, np.float32), 16000, "inf at 0.000000 s"),
        (np.zeros((1, 9), np.float32), 0, "sample rate of 0 Hz"),
        (np.zeros((1, 9), np.float32), -8000, "sample rate of -8000 Hz"),
        (np.zeros((1, 9), np.float32), 1_000_000, "1000000 Hz.*768000"),
    ],
)
def test_impossible_sounds_are_refused(tiny_codec: Codec, sound, rate: int, message: str):
    with pytest.raises(AudioError, match=message):
        tiny_codec.compress(sound, rate)


def test_a_stream_without_samples_is_refused(tiny_codec: Codec):
    with pytest.raises(AudioError, match="no samples"):
        compress_stream(tiny_codec, [], 16000, 1, io.BytesIO())


def test_long_tags_are_shortened(tiny_codec: Codec):
    output = io.BytesIO()
    tags = {"title": "Étude", "comment": "ü" * 100_000}
    compress_stream(tiny_codec, [music(1.0, 16000, 1)], 16000, 1, output, tags=tags)
    kept = LacReader(output.getvalue()).header.tags
    assert kept["title"] == "Étude"
    assert tags["comment"].startswith(kept["comment"])
    assert 0 < len(kept["comment"]) < 1000


def test_far_beyond_full_scale_stays_finite(tiny_codec: Codec):
    sound = 100 * music(1.0, 16000, 1)
    decoded = decompress(tiny_codec, tiny_codec.compress(sound, 16000))
    assert np.isfinite(decoded).all()


# ------------------------------------------------------------- context models, and older files


@pytest.fixture(scope="module")
def context_codec(tiny_path: Path) -> Codec:
    """The tiny codec with a context model that predicts nonsense, so that escapes are common."""
    loaded = checkpoint.load(tiny_path)
    context = ContextModel(fixed_context(4).arrays, loaded.tables)
    return Codec(replace(loaded, context=context)).eval()


def compressed(codec: Codec, sound: np.ndarray, size: int = 10**7, quality: float = 5.0) -> bytes:
    output = io.BytesIO()
    chunks = (sound[:, i : i + size] for i in range(0, sound.shape[1], size))
    target = RateTarget(quality=quality)
    compress_stream(codec, chunks, 16000, len(sound), output, target)
    return output.getvalue()


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_the_coder_changes_bytes_and_not_symbols(
    tiny_codec: Codec, context_codec: Codec, channels: int
):
    sound = music(2.4 * BLOCK_SECONDS, 16000, channels)
    sound[0, BLOCK : 2 * BLOCK] = 0
    data, static = compressed(context_codec, sound), compressed(tiny_codec, sound)
    reader, other = LacReader(data), LacReader(static)
    assert reader.header.context_coded
    assert not other.header.context_coded
    blocks = zip(
        reader.blocks(coder_for(context_codec, reader.header)),
        other.blocks(coder_for(tiny_codec, other.header)),
        strict=True,
    )
    for block, expected in blocks:
        assert block is not None
        assert expected is not None
        assert (block.symbols == expected.symbols).all()
        assert (block.silent == expected.silent).all()
    assert decompress(context_codec, data).shape == sound.shape


def test_context_coded_files_stream_seek_and_survive_damage(context_codec: Codec):
    sound = music(4.5 * BLOCK_SECONDS, 16000, 2)
    data = compressed(context_codec, sound)
    assert compressed(context_codec, sound, size=5001) == data
    whole = decompress(context_codec, data)
    for start, duration in ((0.0, 1.0), (3.3, 2.5), (8.9, 0.2)):
        span = decompress(context_codec, data, start, duration)
        first = round(start * 16000)
        assert np.array_equal(span, whole[:, first : first + span.shape[1]])
    damaged = bytearray(data)
    damaged[block_ends(data)[2] + 40] ^= 1
    with pytest.warns(UserWarning, match=r"^4\.10 s to 6\.14 s are damaged and silent$"):
        decoded = context_codec.decompress(bytes(damaged))[0].numpy()
    assert np.array_equal(decoded[:, :BLOCK], whole[:, :BLOCK])
