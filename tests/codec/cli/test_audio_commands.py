"""compress and decompress: spans, sample formats, pipes, peaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from codec_helpers import BLOCK, Lacuna, music

from codec.api import Codec, load
from codec.model import checkpoint


def test_compress_then_decompress(lacuna: Lacuna, wav: Path, tiny_path: Path, tmp_path: Path):
    result = lacuna("compress", wav, tmp_path / "a.lac", "--model", tiny_path, "--kbps", "3")
    assert result.code == 0
    size = (tmp_path / "a.lac").stat().st_size
    assert f"{size:,} bytes for 1.00 s" in result.stderr
    assert result.stdout == b""
    result = lacuna("decompress", tmp_path / "a.lac", tmp_path / "a.wav", "--model", tiny_path)
    assert result.code == 0
    assert "1.00 s, 44100 Hz, 2 channels" in result.stderr
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.samplerate, info.channels, info.frames) == (44100, 2, 44100)
    assert info.subtype == "PCM_16"


def test_above_the_range_it_says_so(lacuna: Lacuna, wav: Path, tiny_path: Path, tmp_path: Path):
    out = tmp_path / "a.lac"
    result = lacuna("compress", wav, out, "--model", tiny_path, "--kbps", "500")
    assert result.code == 0
    assert "finest useful" in result.stderr
    result = lacuna("compress", wav, out, "--model", tiny_path, "--kbps", "2", "--force")
    assert result.code == 0
    assert "finest useful" not in result.stderr


def test_files_and_arrays_give_the_same_bytes(
    lacuna: Lacuna, tiny_codec: Codec, tiny_path: Path, tmp_path: Path
):
    sound = music(2.5, 44100, 2)
    soundfile.write(tmp_path / "in.wav", sound.T, 44100, subtype="FLOAT")
    assert lacuna("compress", tmp_path / "in.wav", tmp_path / "a.lac", "-m", tiny_path).code == 0
    data = (tmp_path / "a.lac").read_bytes()
    assert data == tiny_codec.compress(sound, 44100)
    piped = lacuna("compress", "-", "-", "-m", tiny_path, stdin=(tmp_path / "in.wav").read_bytes())
    assert piped.stdout == data
    out = tmp_path / "a.wav"
    assert (
        lacuna("decompress", tmp_path / "a.lac", out, "-m", tiny_path, "--bits", "float").code == 0
    )
    decoded, _ = soundfile.read(out, dtype="float32")
    assert np.array_equal(decoded.T, tiny_codec.decompress(data)[0].numpy())


def test_standard_input_and_output(lacuna: Lacuna, lac: Path, tiny_path: Path, tmp_path: Path):
    to_file = lacuna("decompress", lac, tmp_path / "a.wav", "-m", tiny_path)
    piped = lacuna("decompress", "-", "-", "-m", tiny_path, stdin=lac.read_bytes())
    assert to_file.code == piped.code == 0
    assert piped.stdout == (tmp_path / "a.wav").read_bytes()
    assert lacuna("info", "-", stdin=lac.read_bytes()).code == 0
    assert lacuna("verify", "-", stdin=lac.read_bytes()).code == 0


def test_a_span(lacuna: Lacuna, lac: Path, tiny_path: Path, tmp_path: Path):
    lacuna("decompress", lac, tmp_path / "whole.wav", "-m", tiny_path)
    span = ("--start", "2.5", "--duration", "1.25")
    assert lacuna("decompress", lac, tmp_path / "span.wav", "-m", tiny_path, *span).code == 0
    whole, _ = soundfile.read(tmp_path / "whole.wav")
    part, _ = soundfile.read(tmp_path / "span.wav")
    assert np.array_equal(part, whole[40000:60000])


@pytest.mark.parametrize(
    ("bits", "suffix", "subtype"),
    [
        (None, ".wav", "PCM_16"),
        ("24", ".wav", "PCM_24"),
        ("float", ".wav", "FLOAT"),
        ("24", ".flac", "PCM_24"),
        (None, ".ogg", "VORBIS"),
    ],
)
def test_sample_formats(
    lacuna: Lacuna, lac: Path, tiny_path: Path, tmp_path: Path, bits, suffix: str, subtype: str
):
    out = tmp_path / f"a{suffix}"
    options = ("--bits", bits) if bits else ()
    assert lacuna("decompress", lac, out, "-m", tiny_path, *options).code == 0
    info = soundfile.info(out)
    assert info.subtype == subtype
    assert info.frames == round(3.5 * BLOCK)


def test_precision_of_the_sample_formats(lacuna: Lacuna, lac, tiny_codec, tiny_path, tmp_path):
    exact = tiny_codec.decompress(lac.read_bytes())[0].numpy()[0]
    for bits, step in (("16", 2**-15), ("24", 2**-23), ("float", 0)):
        out = tmp_path / f"{bits}.wav"
        lacuna("decompress", lac, out, "-m", tiny_path, "--bits", bits)
        decoded, _ = soundfile.read(out)
        assert np.abs(decoded - np.clip(exact, -1, 1 - step)).max() <= step / 2 + 1e-9


@pytest.fixture
def loud_path(tiny_path: Path, tmp_path: Path) -> Path:
    """The tiny model with a decoder that shouts: the same latent_id, 40 dB more."""
    loaded = checkpoint.load(tiny_path)
    head = loaded.autoencoder.decoder.head
    with torch.no_grad():
        head.bias[: len(head.bias) // 3] += np.log(100)  # the log-magnitudes
    checkpoint.save(loaded, tmp_path / "loud.safetensors")
    return tmp_path / "loud.safetensors"


def test_peaks_are_clipped_and_counted_not_wrapped(
    lacuna: Lacuna, lac: Path, loud_path: Path, tmp_path: Path
):
    exact = load(loud_path).decompress(lac.read_bytes())[0].numpy()[0]
    beyond = np.count_nonzero(np.abs(exact) > 1)
    assert beyond > 100
    result = lacuna("decompress", lac, tmp_path / "a.wav", "-m", loud_path)
    assert result.code == 0
    told = f"{beyond} samples exceeded full scale and were clipped; --bits float keeps them"
    assert f"lacuna: warning: {told}" in result.stderr
    decoded, _ = soundfile.read(tmp_path / "a.wav")
    assert np.abs(decoded - np.clip(exact, -1, 1)).max() <= 2**-15
    lacuna("decompress", lac, tmp_path / "f.wav", "-m", loud_path, "--bits", "float")
    kept, _ = soundfile.read(tmp_path / "f.wav", dtype="float32")
    assert np.array_equal(kept, exact)
    result = lacuna("decompress", lac, "--out-dir", tmp_path / "many", "-m", loud_path)
    assert result.code == 0
    assert f"lacuna: warning: {lac}: {told}" in result.stderr
