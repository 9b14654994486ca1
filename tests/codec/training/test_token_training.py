"""Codecs of tokens: a tiny one of each kind trained, into files and back."""

import copy
import json
import pickle
import random
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from codec_helpers import BLOCK, Lacuna, music, write_wav
from safetensors.torch import load_file
from training_helpers import forget_accelerate

import codec
from codec.batch.folders import find_audio
from codec.errors import (
    CheckpointError,
    FormatError,
    LacunaError,
    MissingPackageError,
    RateError,
)
from codec.lac.header import LacHeader
from codec.lac.info import file_facts
from codec.lac.reader import LacReader, verify
from codec.model import checkpoint
from codec.network.autoencoder import Autoencoder
from codec.network.config import load_model_config
from codec.training.codec_task import CodecTask
from codec.training.config import load_training_config
from codec.training.data import open_source
from codec.training.decoder_task import DecoderTask
from codec.training.precision import step_seconds
from codec.training.run import train_codec
from codec.training.run_context import train_context
from codec.training.token_task import TokenTask

KINDS = {
    "vq": '{kind = "vq", size = 32}',
    "residual": '{kind = "vq", books = 4, size = 16}',
    "fsq": '{kind = "fsq", levels = [5, 5, 4, 3]}',
}


def settings_of(kind: str) -> list[str]:
    return [
        "model.network.level_latents=0",
        "model.network.exact_levels=false",
        f"model.tokens={KINDS[kind]}",
    ]


def train(kind: str, audio: Path, out: Path, steps: int = 40, **arguments: Any) -> None:
    forget_accelerate()
    given = {"steps": steps, "validate_every": 20, "checkpoint_every": 20}
    with pytest.MonkeyPatch.context() as patch:
        for task in (CodecTask, DecoderTask):
            patch.setattr(task, "preview", lambda *arguments: None)
        train_codec(
            "tiny", audio, out, cpu=True, settings=settings_of(kind), overrides=given, **arguments
        )


@pytest.fixture(scope="module")
def runs(audio_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for kind in KINDS:
        folders[kind] = tmp_path_factory.mktemp(kind)
        train(kind, audio_folder, folders[kind])
    return folders


@pytest.fixture(scope="module")
def models(runs: dict[str, Path]) -> dict[str, codec.Codec]:
    return {kind: codec.load(run / "model.safetensors") for kind, run in runs.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_and_says_how_its_codes_are_used(
    kind: str, runs: dict[str, Path], read_log: Callable[..., list[dict[str, Any]]]
) -> None:
    lines = read_log(runs[kind])
    losses = [line["loss"] for line in lines]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    size = codec.load(runs[kind] / "model.safetensors").config.tokens.size
    for line in lines:
        assert 1 <= line["perplexity"] <= size
        assert 1 / size <= line["code_use"] <= 1
    last = read_log(runs[kind], "valid")[-1]
    books = codec.load(runs[kind] / "model.safetensors").config.tokens.books
    assert sum(key.startswith("perplexity/") for key in last) == books
    assert sum(key.startswith("code_use/") for key in last) == books
    assert last["perplexity/00"] > 3
    assert 0 < last["kbps"] <= books * np.log2(size) * 125 / 1000


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_what_latents_are(kind: str, models: dict[str, codec.Codec]) -> None:
    model = models[kind]
    waveform = torch.from_numpy(np.stack([music(0.5, 16000, 2, seed) for seed in range(2)]))
    tokens = model.encode_tokens(waveform)
    config = model.config.tokens
    assert tokens.shape == (2, 2, config.books, 63)
    assert tokens.dtype == torch.int64
    assert 0 <= tokens.min() <= tokens.max() < config.size
    assert torch.equal(
        model.decode_tokens(tokens, 8000), model.decode(model.encode(waveform), 8000)
    )
    assert torch.equal(model.decode_tokens(tokens.numpy()), model.decode_tokens(tokens))
    assert model.encode(waveform).std() == pytest.approx(1, abs=0.7)


def test_fewer_books_are_further_away(models: dict[str, codec.Codec]) -> None:
    model = models["residual"]
    waveform = torch.from_numpy(music(1, 16000, 1))[None]
    tokens = model.encode_tokens(waveform)
    rows = model.to_rows(waveform)[0]
    exact = model.autoencoder._encoded(torch.nn.functional.pad(rows, (0, -rows.shape[-1] % 128)))
    found = [
        (model.standardizer.inverse(model.latents_of(tokens[0, :, :books])) - exact).square().mean()
        for books in range(1, 5)
    ]
    assert found == sorted(found, reverse=True)
    assert found[3] < 0.6 * found[0]
    assert model.decode_tokens(tokens[:, :, :2]).shape[-1] == 125 * 128


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_go_straight_through(kind: str, models: dict[str, codec.Codec]) -> None:
    """And change no codebook, even where a larger model around the codec is in training."""
    model = models[kind].train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    waveform = torch.from_numpy(music(0.2, 16000, 1))[None].requires_grad_()
    model.encode(waveform).square().sum().backward()
    model.eval()
    assert waveform.grad is not None
    assert waveform.grad.abs().max() > 0
    assert waveform.grad.isfinite().all()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_files_hold_the_tokens(kind: str, models: dict[str, codec.Codec]) -> None:
    """Three blocks of stereo, one channel of the second one silent, and back."""
    model = models[kind]
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


def test_a_rate_chooses_the_number_of_books(models: dict[str, codec.Codec]) -> None:
    model = models["residual"]
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
def test_one_book_has_one_rate(kind: str, models: dict[str, codec.Codec]) -> None:
    model = models[kind]
    waveform = music(6, 16000, 1)
    size = len(model.compress(waveform, 16000))
    assert len(model.compress(waveform, 16000, kbps=size * 8 / 6 / 1000 + 0.01)) == size
    assert len(model.compress(waveform, 16000, kbps=50)) == size
    with pytest.raises(RateError, match=r"it has one rate, .*: give that or more, or leave"):
        model.compress(waveform, 16000, kbps=0.1)
    with pytest.raises(RateError, match="--quality 5: the model 'tiny' has one quality"):
        model.compress(waveform, 16000, quality=5)


def test_wrong_tokens_are_refused_with_the_remedy(models: dict[str, codec.Codec]) -> None:
    model = models["residual"]
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


def test_forged_headers_are_refused(models: dict[str, codec.Codec]) -> None:
    model = models["residual"]
    header = LacReader(model.compress(music(1, 16000, 1), 16000)).header
    for name, value in (("tokens", False), ("latent_dim", 3)):
        fields = {**vars(header), name: value}
        blob = LacHeader(**fields).to_bytes()
        with pytest.raises(FormatError, match=f"the file's {name} is {value}"):
            model.decompress(blob + b"\0" * 100)
    with pytest.raises(FormatError, match="of tokens that is context coded"):
        LacHeader(**{**vars(header), "context_coded": True})


def test_a_killed_run_goes_on_to_the_same_end(
    runs: dict[str, Path], audio_folder: Path, tmp_path: Path
) -> None:
    """Codebooks, the codes that are revived and the books that are left out included."""
    original = TokenTask.loss

    def killed(self: TokenTask, model: Any, batch: Any, step: int) -> Any:
        if step == 30:
            raise KeyboardInterrupt
        return original(self, model, batch, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TokenTask, "loss", killed)
        with pytest.raises(KeyboardInterrupt):
            train("residual", audio_folder, tmp_path)
    train("residual", audio_folder, tmp_path)
    whole, parts = (
        load_file(max((run / "state").glob("step-*")) / "tensors.safetensors")
        for run in (runs["residual"], tmp_path)
    )
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_the_decoder_alone_keeps_files(
    runs: dict[str, Path], audio_folder: Path, tmp_path: Path
) -> None:
    first = runs["residual"] / "model.safetensors"
    train("residual", audio_folder, tmp_path, init=str(first), decoder_only=True)
    before, after = checkpoint.load(first), checkpoint.load(tmp_path / "model.safetensors")
    assert before.latent_id == after.latent_id
    waveform = music(1, 16000, 1)
    blob = codec.Codec(before).compress(waveform, 16000)
    assert codec.Codec(after).decompress(blob)[0].shape == waveform.shape


def test_a_spectral_map_of_tokens(audio_folder: Path, tmp_path: Path) -> None:
    """Through both of its phases, and into a file."""
    first = str(tmp_path / "base/model.safetensors")
    phases: list[tuple[str, dict[str, Any]]] = [
        ("base", {}),
        ("decoder", {"init": first, "decoder_only": True}),
    ]
    for out, arguments in phases:
        forget_accelerate()
        with pytest.MonkeyPatch.context() as patch:
            for task in (CodecTask, DecoderTask):
                patch.setattr(task, "preview", lambda *arguments: None)
            train_codec(
                "tiny_map",
                audio_folder,
                tmp_path / out,
                cpu=True,
                settings=[f"model.tokens={KINDS['residual']}"],
                overrides={"steps": 3},
                **arguments,
            )
    model = codec.load(tmp_path / "decoder/model.safetensors")
    blob = model.compress(music(1, 44100, 1), 44100)
    assert LacReader(blob).header.tokens
    assert model.decompress(blob)[0].shape == (1, 44100)


def test_measuring_precision_leaves_codebooks_alone(audio_folder: Path) -> None:
    model = load_model_config("tiny", settings_of("residual"))
    config = load_training_config("tiny")
    device = torch.device("cpu")
    source = open_source(find_audio(audio_folder), model, config.data, seed=0, device=device)
    task = TokenTask(Autoencoder(model), config, source, source, device)
    before = {key: value.clone() for key, value in task.model.state_dict().items()}
    step_seconds(task, 4, device)
    assert all(torch.equal(value, before[key]) for key, value in task.model.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_a_module_like_others(kind: str, models: dict[str, codec.Codec]) -> None:
    model = models[kind]
    waveform = torch.from_numpy(music(0.3, 16000, 1))[None]
    tokens = model.encode_tokens(waveform)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other.encode_tokens(waveform), tokens)
        assert torch.equal(other.decode_tokens(tokens), model.decode_tokens(tokens))
    with torch.autocast("cpu", torch.bfloat16):
        assert model.encode_tokens(waveform).shape == tokens.shape
        assert model.decode_tokens(tokens).isfinite().all()


def test_without_the_package_a_checkpoint_says_what_is_missing(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vector_quantize_pytorch", None)
    with pytest.raises(MissingPackageError, match=r"^a model of tokens needs .*\[tokens\]"):
        codec.load(runs["vq"] / "model.safetensors")


def test_other_tokens_cannot_start_a_run(
    runs: dict[str, Path], audio_folder: Path, tmp_path: Path
) -> None:
    start = str(runs["residual"] / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"tokens\.books: 4 there, 1 in the config"):
        train("vq", audio_folder, tmp_path, init=start)


def test_the_commands_say_what_a_file_of_tokens_holds(
    runs: dict[str, Path], lacuna: Lacuna, tmp_path: Path
) -> None:
    sound = write_wav(tmp_path / "in.wav", 6)
    small, back = tmp_path / "out.lac", tmp_path / "out.wav"
    model = runs["residual"] / "model.safetensors"
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


def test_mutated_files_raise_nothing_but_format_errors(models: dict[str, codec.Codec]) -> None:
    model = models["residual"]
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


def test_there_is_no_context_model_for_tokens(
    runs: dict[str, Path], audio_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "context.safetensors"
    with pytest.raises(LacunaError, match="a model of tokens, which have static tables alone"):
        train_context(str(runs["vq"] / "model.safetensors"), audio_folder, out, updates=1)
    assert not out.exists()
