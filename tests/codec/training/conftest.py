"""Fixtures for training tests: runs of the tiny model in this process or in others."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from token_helpers import KINDS, train_tokens
from torch import nn
from training_helpers import alone, forget_accelerate  # noqa: F401 (a fixture)

from codec.api import Codec, load
from codec.network.autoencoder import Autoencoder
from codec.network.config import ModelConfig
from codec.training.codec_task import CodecTask
from codec.training.config import TrainingConfig, load_training_config
from codec.training.data import open_source, split_files
from codec.training.loop import Trainer
from codec.training.run import train_codec
from codec.training.schedule import Budget


@pytest.fixture
def no_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing spectrograms takes longer than a tiny run."""
    monkeypatch.setattr(CodecTask, "preview", lambda *arguments: None)


@pytest.fixture
def train(audio_folder: Path, no_preview: None) -> Callable[..., Any]:
    """``train(out, **arguments of train_codec)`` with the tiny config on the CPU."""

    def run(out: Path, **arguments: Any) -> Any:
        forget_accelerate()
        return train_codec("tiny", audio_folder, out, cpu=True, **arguments)

    return run


@pytest.fixture(scope="module")
def start(audio_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny codec that was trained for a step."""
    out = tmp_path_factory.mktemp("start")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CodecTask, "preview", lambda *arguments: None)
        train_codec("tiny", audio_folder, out, cpu=True, overrides={"steps": 1})
    return out / "model.safetensors"


@pytest.fixture
def make_task(audio_folder: Path, tiny_model: ModelConfig) -> Callable[..., CodecTask]:
    """``make_task(**overrides of [training])``: a freshly initialised tiny codec's task."""

    def make(**overrides: Any) -> CodecTask:
        config = load_training_config("tiny", **overrides)
        device = torch.device("cpu")
        training, held_out = split_files(audio_folder, None)
        sources = [
            open_source(paths, tiny_model, config.data, seed=seed, device=device)
            for seed, paths in enumerate((training, held_out), config.seed)
        ]
        torch.manual_seed(config.seed)
        return CodecTask(Autoencoder(tiny_model), config, *sources, device)

    return make


@pytest.fixture
def make_trainer(make_task: Callable[..., CodecTask], no_preview: None) -> Callable[..., Trainer]:
    """``make_trainer(folder, budget=None, accelerator=None, **overrides of [training])``."""

    def make(
        folder: Path,
        budget: Budget | None = None,
        accelerator: Accelerator | None = None,
        **overrides: Any,
    ) -> Trainer:
        task = make_task(**overrides)
        config: TrainingConfig = task.config
        if accelerator is None:
            forget_accelerate()
            accelerator = Accelerator(cpu=True, gradient_accumulation_steps=config.accumulate)
        opponent = task.reconstruction_loss.opponent
        return Trainer(task, config, folder, accelerator, budget, opponent=opponent)

    return make


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Starts processes that find everything imported already, and have run nothing yet."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["codec.training.run", "torch._dynamo", "scipy.signal"])
    return context


@pytest.fixture
def weights() -> Callable[[nn.Module], torch.Tensor]:
    """``weights(module)``: all its parameters in one vector."""
    return lambda module: torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.fixture(scope="session")
def token_runs(audio_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for kind in KINDS:
        folders[kind] = tmp_path_factory.mktemp(kind)
        train_tokens(kind, audio_folder, folders[kind])
    return folders


@pytest.fixture(scope="session")
def token_models(token_runs: dict[str, Path]) -> dict[str, Codec]:
    return {kind: load(run / "model.safetensors") for kind, run in token_runs.items()}
