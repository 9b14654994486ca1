"""Files of tokens: what they hold, at which rates, and what is refused."""

import json
import random
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from codec_helpers import BLOCK, Lacuna, music, write_wav
from token_helpers import KINDS

import codec
from codec.errors import (
    FormatError,
    LacunaError,
    RateError,
)
from codec.lac.header import LacHeader
from codec.lac.info import file_facts
from codec.lac.reader import LacReader, verify


@pytest.mark.parametrize("kind", KINDS)
def test_files_hold_the_tokens(kind: str, token_models: dict[str, codec.Codec]) -> None:
    """Three blocks of stereo, one channel of the second one silent, and back."""
    model = token_models[kind]
    waveform = music(2.5 * BLOCK / 16000, 16000, 2)
    waveform[:, BLOCK : 2 * BLOCK] = waveform[:1, BLOCK : 2 * BLOCK]
    blob = model.compress(waveform, 16000)
    reader = LacReader(blob)
    assert verify(blob).ok
    assert reader.header.tokens
    assert not reader.header.context_coded
    assert reader.header.latent_dim == model.config.tokens.books
    assert reader.block_steps == [0, 0, 0]
    direct = model.encode_tokens(torch.from_numpy(waveform)[None])[0].numpy()
    blocks = [block for block in reader.blocks(model.coder) if block is not None]
    assert [block.silent.tolist() for block in blocks] == [[False] * 2, [False, True], [False] * 2]
    stored = np.concatenate([block.symbols for block in blocks], axis=-1)
    same = stored == direct
    same[1, :, 256:512] = True  # which was silent
    assert same.mean() > 0.99  # other sums of floats at blocks' ends
    decoded, rate = model.decompress(blob)
    assert (decoded.shape, rate) == (waveform.shape, 16000)
    part, _ = model.decompress(blob, start=2.5, duration=1.0)
    assert torch.equal(part, decoded[:, 40000:56000])
    assert not torch.equal(decoded[0, :1000], decoded[1, :1000])


def test_a_rate_chooses_the_number_of_books(token_models: dict[str, codec.Codec]) -> None:
    model = token_models["residual"]
    waveform = music(8, 16000, 1)
    sizes = []
    for quality in (0, 4, 7, 10):
        blob = model.compress(waveform, 16000, quality=quality)
        sizes.append(len(blob))
        facts = file_facts(LacReader(blob), len(blob))
        assert facts["most_books"] == facts["fewest_books"] == len(sizes)
    assert sizes == sorted(sizes)
    for books, size in enumerate(sizes, 1):
        kbps = size * 8 / 8 / 1000
        assert len(model.compress(waveform, 16000, kbps=kbps + 0.001)) == size, books
    assert len(model.compress(waveform, 16000)) == sizes[-1]
    with pytest.raises(RateError, match=r"is below what this model .* choose between"):
        model.compress(waveform, 16000, kbps=0.9 * sizes[0] / 1000)
    limited = model.compress(waveform, 16000, max_kbps=(sizes[0] + sizes[1]) / 2 / 1000)
    assert set(LacReader(limited).block_steps) <= {2, 3}
    with pytest.raises(RateError, match=r"--max-kbps 0\.01 is less than the block at 0\.0 s"):
        model.compress(waveform, 16000, max_kbps=0.01)


@pytest.mark.parametrize("kind", ["vq", "fsq"])
def test_one_book_has_one_rate(kind: str, token_models: dict[str, codec.Codec]) -> None:
    model = token_models[kind]
    waveform = music(6, 16000, 1)
    size = len(model.compress(waveform, 16000))
    assert len(model.compress(waveform, 16000, kbps=size * 8 / 6 / 1000 + 0.01)) == size
    assert len(model.compress(waveform, 16000, kbps=50)) == size
    with pytest.raises(RateError, match=r"it has one rate, .*: give that or more, or leave"):
        model.compress(waveform, 16000, kbps=0.1)
    with pytest.raises(RateError, match="--quality 5: the model 'tiny' has one quality"):
        model.compress(waveform, 16000, quality=5)


def test_wrong_tokens_are_refused_with_the_remedy(token_models: dict[str, codec.Codec]) -> None:
    model = token_models["residual"]
    tokens = torch.zeros(1, 1, 4, 10, dtype=torch.int64)
    for value in (-1, 16, 1024):
        tokens[0, 0, 2, 7] = value
        with pytest.raises(
            LacunaError, match=rf"token {value} of book 2 at frame 7 .*0\.\.15.*off"
        ):
            model.decode_tokens(tokens)
    with pytest.raises(LacunaError, match=r"1\.\.4 books, frames\).*got \(1, 1, 5, 10\)"):
        model.decode_tokens(torch.zeros(1, 1, 5, 10, dtype=torch.int64))
    with pytest.raises(LacunaError, match=r"tokens are torch\.float32, expected integers"):
        model.decode_tokens(torch.zeros(1, 1, 4, 10))
    with pytest.raises(LacunaError, match=r"outside 0\.\.1280"):
        model.decode_tokens(torch.zeros(1, 1, 4, 10, dtype=torch.int64), length=1281)


def test_a_gaussian_model_has_none(tiny_codec: codec.Codec) -> None:
    for use in (
        lambda: tiny_codec.encode_tokens(torch.zeros(1, 1, 1000)),
        lambda: tiny_codec.decode_tokens(torch.zeros(1, 1, 1, 8, dtype=torch.int64)),
    ):
        with pytest.raises(LacunaError, match="'tiny' has continuous latents and no tokens"):
            use()


def test_forged_headers_are_refused(token_models: dict[str, codec.Codec]) -> None:
    model = token_models["residual"]
    header = LacReader(model.compress(music(1, 16000, 1), 16000)).header
    for name, value in (("tokens", False), ("latent_dim", 3)):
        fields = {**vars(header), name: value}
        blob = LacHeader(**fields).to_bytes()
        with pytest.raises(FormatError, match=f"the file's {name} is {value}"):
            model.decompress(blob + b"\0" * 100)
    with pytest.raises(FormatError, match="of tokens that is context coded"):
        LacHeader(**{**vars(header), "context_coded": True})


def test_the_commands_say_what_a_file_of_tokens_holds(
    token_runs: dict[str, Path], lacuna: Lacuna, tmp_path: Path
) -> None:
    sound = write_wav(tmp_path / "in.wav", 6)
    small, back = tmp_path / "out.lac", tmp_path / "out.wav"
    model = token_runs["residual"] / "model.safetensors"
    kbps = 0.9 * len(codec.load(model).compress(music(6, 16000, 1), 16000)) * 8 / 6 / 1000
    assert lacuna("compress", sound, small, "--model", model, "--kbps", kbps).code == 0
    facts = json.loads(lacuna("info", small, "--json").stdout)
    assert facts["tokens"]
    assert facts["most_books"] == facts["fewest_books"] == 3
    assert b"most books" in lacuna("info", small).stdout
    assert lacuna("verify", small).code == 0
    assert lacuna("decompress", small, back, "--model", model).code == 0
    message = lacuna.fails("compress", sound, small, "--model", model, "--kbps", 0.01, "--force")
    assert "is below what this model reaches on this audio: choose between" in message


def test_mutated_files_raise_format_errors_alone(
    token_models: dict[str, codec.Codec],
) -> None:
    model = token_models["residual"]
    whole = model.compress(music(5, 16000, 2), 16000)
    header_end = int.from_bytes(whole[6:8], "little")
    block_end = header_end + (LacReader(whole).block_bytes[0] or 0)
    rng = random.Random(0)
    refused = 0
    for _ in range(150):
        data = bytearray(whole)
        if rng.random() < 0.5:  # a header or a step that lies, with a CRC that holds
            start, end = rng.choice([(0, header_end), (header_end, block_end)])
            data[start + rng.randrange(4, 12)] ^= 1 << rng.randrange(8)
            data[end - 4 : end] = zlib.crc32(data[start : end - 4]).to_bytes(4, "little")
        else:
            start = rng.randrange(len(data))
            data[start : start + rng.randrange(1, 40)] = rng.randbytes(rng.randrange(40))
        try:
            for block in LacReader(bytes(data)).blocks(model.coder):
                assert block is None or block.symbols.max() < 16
        except FormatError:
            refused += 1
    assert 10 < refused < 140
