"""Codecs of tokens: a tiny one of each kind trained, and what its tokens are."""

import copy
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from codec_helpers import music
from safetensors.torch import load_file
from token_helpers import KINDS, settings_of, train_tokens
from training_helpers import forget_accelerate

import codec
from codec.batch.folders import find_audio
from codec.errors import (
    CheckpointError,
    LacunaError,
    MissingPackageError,
)
from codec.lac.reader import LacReader
from codec.model import checkpoint
from codec.network.autoencoder import Autoencoder
from codec.network.config import load_model_config
from codec.training.codec_task import CodecTask
from codec.training.config import load_training_config
from codec.training.data import open_source
from codec.training.decoder_task import DecoderTask
from codec.training.precision import step_seconds
from codec.training.run import train_codec
from codec.training.run_calibrate import calibrate
from codec.training.run_context import train_context
from codec.training.token_task import TokenTask


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_and_says_how_its_codes_are_used(
    kind: str, token_runs: dict[str, Path], read_log: Callable[..., list[dict[str, Any]]]
) -> None:
    lines = read_log(token_runs[kind])
    losses = [line["loss"] for line in lines]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    size = codec.load(token_runs[kind] / "model.safetensors").config.tokens.size
    for line in lines:
        assert 1 <= line["perplexity"] <= size
        assert 1 / size <= line["code_use"] <= 1
    last = read_log(token_runs[kind], "valid")[-1]
    books = codec.load(token_runs[kind] / "model.safetensors").config.tokens.books
    assert sum(key.startswith("perplexity/") for key in last) == books
    assert sum(key.startswith("code_use/") for key in last) == books
    assert last["perplexity/00"] > 3
    assert 0 < last["kbps"] <= books * np.log2(size) * 125 / 1000


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_what_latents_are(kind: str, token_models: dict[str, codec.Codec]) -> None:
    model = token_models[kind]
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


def test_fewer_books_are_further_away(token_models: dict[str, codec.Codec]) -> None:
    model = token_models["residual"]
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
def test_gradients_go_straight_through(kind: str, token_models: dict[str, codec.Codec]) -> None:
    """And change no codebook, even where a larger model around the codec is in training."""
    model = token_models[kind].train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    waveform = torch.from_numpy(music(0.2, 16000, 1))[None].requires_grad_()
    model.encode(waveform).square().sum().backward()
    model.eval()
    assert waveform.grad is not None
    assert waveform.grad.abs().max() > 0
    assert waveform.grad.isfinite().all()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_killed_run_goes_on_to_the_same_end(audio_folder: Path, tmp_path: Path) -> None:
    """Codebooks, the codes that are revived and the books that are left out included."""
    original = TokenTask.loss

    def killed(self: TokenTask, model: Any, batch: Any, step: int) -> Any:
        if step == 30:
            raise KeyboardInterrupt
        return original(self, model, batch, step)

    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    train_tokens("residual", audio_folder, unbroken)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TokenTask, "loss", killed)
        with pytest.raises(KeyboardInterrupt):
            train_tokens("residual", audio_folder, broken)
    train_tokens("residual", audio_folder, broken)
    whole, parts = (
        load_file(max((run / "state").glob("step-*")) / "tensors.safetensors")
        for run in (unbroken, broken)
    )
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_the_decoder_alone_keeps_files(
    token_runs: dict[str, Path], audio_folder: Path, tmp_path: Path
) -> None:
    first = token_runs["residual"] / "model.safetensors"
    train_tokens("residual", audio_folder, tmp_path, init=str(first), decoder_only=True)
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
                # Not as many as there are books, so that one is not taken for the other.
                settings=[f"model.tokens={KINDS['residual']}", "model.latent_dim=6"],
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
def test_it_is_a_module_like_others(kind: str, token_models: dict[str, codec.Codec]) -> None:
    model = token_models[kind]
    waveform = torch.from_numpy(music(0.3, 16000, 1))[None]
    tokens = model.encode_tokens(waveform)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other.encode_tokens(waveform), tokens)
        assert torch.equal(other.decode_tokens(tokens), model.decode_tokens(tokens))
    with torch.autocast("cpu", torch.bfloat16):
        assert model.encode_tokens(waveform).shape == tokens.shape
        assert model.decode_tokens(tokens).isfinite().all()


def test_without_the_package_a_checkpoint_says_what_is_missing(
    token_runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vector_quantize_pytorch", None)
    with pytest.raises(MissingPackageError, match=r"^a model of tokens needs .*\[tokens\]"):
        codec.load(token_runs["vq"] / "model.safetensors")


def test_other_tokens_cannot_start_a_run(
    token_runs: dict[str, Path], audio_folder: Path, tmp_path: Path
) -> None:
    start = str(token_runs["residual"] / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"tokens\.books: 4 there, 1 in the config"):
        train_tokens("vq", audio_folder, tmp_path, init=start)


def test_there_is_no_context_model_for_tokens(
    token_runs: dict[str, Path], audio_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "context.safetensors"
    with pytest.raises(LacunaError, match="a model of tokens, which have static tables alone"):
        train_context(str(token_runs["vq"] / "model.safetensors"), audio_folder, out, updates=1)
    with pytest.raises(LacunaError, match="a model of tokens, whose tables are a part of its"):
        calibrate(str(token_runs["vq"] / "model.safetensors"), audio_folder, out, updates=0)
    assert not out.exists()
