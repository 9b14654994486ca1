"""Files with a waveform layer: more bits are nearer to the wave, damage leaves the base layer, and
a part sounds as in the whole.

The codec is untrained: its base layer sounds like nothing, and all that follows the recording is
the waveform layer's.
"""

from __future__ import annotations

import struct
import warnings

import numpy as np
import pytest
from codec_helpers import music
from lac_helpers import with_crc
from untrained import layered_codec

from codec.api import Codec
from codec.errors import FormatError, RateError
from codec.lac.denoising import QuantisedBlock
from codec.lac.header import LAYERED, LacHeader
from codec.lac.rate import RateTarget
from codec.lac.reader import LacReader, verify
from codec.lac.trim import trim

RATE = 44100
SECONDS = 14.0
"""Two blocks of 11.9 s, the second one short."""


@pytest.fixture(scope="module")
def codec() -> Codec:
    return layered_codec()


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Stereo; its right channel begins late, so that mid and side differ."""
    x = music(SECONDS, RATE, 2)
    x[1, : 5 * RATE] *= 0.1
    return x


@pytest.fixture(scope="module")
def blob(codec: Codec, sound: np.ndarray) -> bytes:
    return codec.compress(sound, RATE, kbps=48)


@pytest.fixture(scope="module")
def decoded(codec: Codec, blob: bytes) -> np.ndarray:
    return quiet(codec, blob)


def test_denoising_leaves_files_with_a_layer_alone(
    codec: Codec, blob: bytes, decoded: np.ndarray
) -> None:
    """Their steps hang on latents as they are; and the layer is not lost on the way."""

    def never(block: QuantisedBlock, steps: int) -> np.ndarray:
        raise AssertionError("such a block is not denoised")

    assert np.array_equal(codec.decompress(blob, steps=2, denoiser=never)[0].numpy(), decoded)


def quiet(codec: Codec, data: bytes, *span: float) -> np.ndarray:
    """Decompressed, and any warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return codec.decompress(data, *span)[0].numpy()


def sdr(sound: np.ndarray, decoded: np.ndarray) -> float:
    """dB below 4 kHz."""
    spectra = [np.fft.rfft(x, axis=-1) for x in (sound, decoded - sound)]
    low = int(4000 * sound.shape[-1] / RATE)
    power = [np.square(np.abs(x[..., :low])).sum() for x in spectra]
    return float(10 * np.log10(power[0] / power[1]))


def kbps(data: bytes, seconds: float) -> float:
    return len(data) * 8 / seconds / 1000


def layer_start(blob: bytes, block: int) -> int:
    """Where the layer of a block begins."""
    span = LacReader(blob)._map.blocks[block]
    assert span.layer is not None
    return span.layer.payload


def test_more_bits_are_nearer_to_the_wave(codec: Codec) -> None:
    mono = music(6.0, RATE, 1)
    ratios = []
    for rate in (6, 12, 24):
        data = codec.compress(mono, RATE, kbps=rate)
        assert 0.95 * rate < kbps(data, 6.0) <= rate
        ratios.append(sdr(mono, quiet(codec, data)))
    assert ratios[0] < ratios[1] < ratios[2]
    assert ratios[2] > 15


def test_where_the_rate_is_low_there_is_no_layer(codec: Codec, sound: np.ndarray) -> None:
    reader = LacReader(codec.compress(sound[:, :RATE], RATE, kbps=5.0))
    assert not reader.header.layered
    assert reader.layers() == [None]
    assert not LacReader(codec.compress(sound[:, :RATE], RATE, quality=4)).header.layered
    assert LacReader(codec.compress(sound[:, :RATE], RATE, kbps=5.1)).header.layered
    assert LacReader(codec.compress(sound[:, :RATE], RATE)).header.layered  # 3 per channel


def test_a_better_quality_is_more_bytes_and_above_4_it_follows_the_wave(codec: Codec) -> None:
    mono = music(2.0, RATE, 1)
    files = [codec.compress(mono, RATE, quality=q) for q in (0, 2, 4, 4.1, 6, 8, 10)]
    sizes = [len(data) for data in files]
    assert sizes == sorted(set(sizes))
    assert [LacReader(data).header.layered for data in files] == 3 * [False] + 4 * [True]
    assert sdr(mono, quiet(codec, files[3])) > 10
    assert LacReader(files[4]).layer_steps == [570]  # whatever the sound is


def test_a_part_sounds_as_in_the_whole(codec: Codec, blob: bytes, decoded: np.ndarray) -> None:
    reader = LacReader(blob)
    assert reader.header.layered
    assert reader.block_count == 2
    for start, duration in ((0.0, 0.5), (11.5, 1.0), (12.5, 1.0)):
        part = quiet(codec, blob, start, duration)
        first = round(start * RATE)
        assert np.array_equal(part, decoded[:, first : first + part.shape[1]])


def test_blocks_meet_without_a_step(sound: np.ndarray, decoded: np.ndarray) -> None:
    border, reach = 256 * 2048, 512
    error = decoded - sound
    around = error[:, border - reach : border + reach]
    assert np.sqrt((around**2).mean()) < 2 * np.sqrt((error**2).mean())


def test_a_damaged_layer_leaves_the_base(codec: Codec, blob: bytes, decoded: np.ndarray) -> None:
    broken = bytearray(blob)
    broken[layer_start(blob, 0) + 20] ^= 1
    reader = LacReader(broken)
    assert (reader.damaged, reader.damaged_layers, reader.intact) == ([], [0], False)
    assert not verify(broken).ok
    with pytest.warns(UserWarning, match=r"0\.00 s to 11\.89 s lost their waveform layer"):
        found = codec.decompress(bytes(broken))[0].numpy()
    assert found.shape == decoded.shape
    beyond = 256 * 2048 + 128
    assert np.array_equal(found[:, beyond:], decoded[:, beyond:])
    base = quiet(codec, trimmed(blob, least_rate(blob)))
    inside = 255 * 2048
    assert np.allclose(found[:, :inside], base[:, :inside], atol=1e-5)


def test_a_file_that_ends_within_a_layer_keeps_what_is_before(codec: Codec, blob: bytes) -> None:
    reader = LacReader(blob[: layer_start(blob, 1) + 10])
    assert reader.damaged == []
    assert reader.damaged_layers == [1]
    assert not reader.complete


def test_bytes_missing_from_a_layer_cost_no_other_block(blob: bytes) -> None:
    """What follows begins before the place that the layer's length says."""
    at = layer_start(blob, 0) + 10
    reader = LacReader(blob[:at] + blob[at + 5 :])
    assert (reader.damaged, reader.damaged_layers) == ([], [0])
    sizes = LacReader(blob).block_bytes
    assert sizes[0] is not None
    assert reader.block_bytes == [sizes[0] - 5, sizes[1]]


def test_a_block_that_ends_within_its_layer_has_the_bytes_that_are_there(blob: bytes) -> None:
    cut = blob[: layer_start(blob, 1) + 10]
    sizes = LacReader(cut).block_bytes
    start = len(LacReader(blob).header.to_bytes())
    assert sum(size or 0 for size in sizes) == len(cut) - start


def test_what_a_layer_claims_is_checked(codec: Codec, blob: bytes) -> None:
    reader = LacReader(blob)
    start, end = len(reader.header.to_bytes()), layer_start(blob, 0)

    def forged(**changes: int) -> bytes:
        step, units, length = struct.unpack_from("<HBI", blob, start + 12)
        fields = {"step": step, "units": units, "length": length} | changes
        block = blob[start : start + 12] + struct.pack("<HBI", *fields.values())
        return blob[:start] + with_crc(block + blob[start + 19 : end - 4]) + blob[end:]

    assert forged() == blob
    assert LacReader(forged(step=1024)).damaged_layers == [0]
    assert LacReader(forged(units=129)).damaged_layers == [0]
    assert LacReader(forged(length=12)).damaged == [0]  # by the index it is longer
    assert LacReader(forged(length=1 << 31)).damaged == [0]
    with pytest.raises(FormatError, match=r"waveform layer are not those of .*damaged or forged"):
        list(LacReader(forged(units=0)).blocks(codec.coder))


def test_a_header_with_a_layer_has_limits(blob: bytes) -> None:
    header = LacReader(blob).header
    for name, value in (("coded_channels", 9), ("frames_per_block", 257), ("hop_length", 1024)):
        fields = vars(header) | {"channels": 20, name: value}
        with pytest.raises(FormatError, match=r"a file with a waveform layer, .*damaged or forged"):
            LacHeader(**fields)
    data = bytearray(header.to_bytes())
    assert data[5] & LAYERED


def trimmed(blob: bytes, rate: float) -> bytes:
    import io

    out = io.BytesIO()
    report = trim(LacReader(blob), out, RateTarget(rate))
    assert report.bytes == len(out.getvalue())
    return out.getvalue()


def least_rate(blob: bytes) -> float:
    """What a file takes without its layer, kbps."""
    with pytest.raises(
        RateError, match=r"less than the file takes .* give [\d.]+ or more"
    ) as error:
        trimmed(blob, 0.01)
    return float(str(error.value).split("give ")[1].split()[0])


def test_trimming_takes_coarser_steps_and_then_the_layer(
    codec: Codec, blob: bytes, sound: np.ndarray, decoded: np.ndarray
) -> None:
    assert trimmed(blob, 100) == blob
    half = trimmed(blob, 24)
    base = trimmed(blob, least_rate(blob))
    assert kbps(base, SECONDS) < kbps(half, SECONDS) <= 24
    ratios = [sdr(sound, x) for x in (decoded, quiet(codec, half), quiet(codec, base))]
    assert ratios[0] > ratios[1] > ratios[2]
    assert not LacReader(base).header.layered
    assert [b.symbols.tolist() for b in LacReader(base).blocks(codec.coder) if b] == [
        b.symbols.tolist() for b in LacReader(blob).blocks(codec.coder) if b
    ]
    broken = bytearray(blob)
    broken[layer_start(blob, 0)] ^= 1
    with pytest.raises(FormatError, match="only a whole one can be trimmed"):
        trimmed(bytes(broken), 24)


def test_trimming_reaches_about_any_rate(blob: bytes) -> None:
    """Also where all symbols of one size become smaller at the same step."""
    least = least_rate(blob)
    for rate in np.geomspace(2 * least, kbps(blob, SECONDS), 8):
        assert 0.95 * rate <= kbps(trimmed(blob, rate), SECONDS) <= rate


def test_silence_stays_silence(codec: Codec, sound: np.ndarray) -> None:
    quiet_side = np.stack([sound[0], sound[0]])[:, : 2 * RATE]
    found = quiet(codec, codec.compress(quiet_side, RATE, kbps=24))
    assert np.array_equal(found[0], found[1])
    nothing = np.zeros((2, RATE), np.float32)
    assert not quiet(codec, codec.compress(nothing, RATE, kbps=24)).any()


def test_no_block_exceeds_its_ceiling(codec: Codec, sound: np.ndarray) -> None:
    data = codec.compress(sound, RATE, kbps=48, max_kbps=30)
    reader = LacReader(data)
    seconds = [256 * 2048 / RATE, SECONDS - 256 * 2048 / RATE]
    for size, duration in zip(reader.block_bytes, seconds, strict=True):
        assert size is not None
        assert size * 8 / duration / 1000 <= 31
    with pytest.raises(RateError, match="without its waveform layer: give"):
        codec.compress(sound, RATE, kbps=48, max_kbps=0.01)
