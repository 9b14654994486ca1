"""Fixtures for training tests: stored latents of the tiny codec, and runs of the tiny model."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
from latent_helpers import write_codec
from training_helpers import alone, forget_accelerate  # noqa: F401 (a fixture)

from codec.api import load as load_codec
from codec.network.config import ModelConfig
from diffusion.latents.sets import LatentSet
from diffusion.model.config import load_diffusion_config
from diffusion.training.config import WindowConfig
from diffusion.training.quantised import Quantiser
from diffusion.training.run import make_latents, train_diffusion
from diffusion.training.task import DiffusionTask
from diffusion.training.windows import WindowSource


@pytest.fixture(scope="session")
def codec_path(tmp_path_factory: pytest.TempPathFactory, tiny_model: ModelConfig) -> Path:
    """A codec that codes stereo as left and right."""
    config = tiny_model.model_copy(update={"stereo": "left_right"})
    return write_codec(config, tmp_path_factory.mktemp("codec") / "tiny.safetensors")


@pytest.fixture(scope="session")
def latents_folder(
    audio_folder: Path, codec_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Latents of six recordings of 125 frames, three of them stereo."""
    forget_accelerate()
    out = tmp_path_factory.mktemp("latents")
    make_latents(audio_folder, out, codec=str(codec_path), cpu=True)
    return out


@pytest.fixture
def make_source(latents_folder: Path, codec_path: Path) -> Callable[..., WindowSource]:
    """``make_source(seed=0, batch_size=4, window_frames=32, **values of [training.windows])``."""

    def make(
        seed: int = 0, batch_size: int = 4, window_frames: int = 32, **values: Any
    ) -> WindowSource:
        latents = LatentSet.open(latents_folder)
        model = load_diffusion_config("diffusion_tiny")
        model = model.model_copy(update={"window_frames": window_frames})
        config = WindowConfig(**values)
        return WindowSource(
            latents,
            model,
            config,
            latents.labels,
            seed=seed,
            batch_size=batch_size,
            quantiser=Quantiser(load_codec(codec_path)),
        )

    return make


@pytest.fixture
def no_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing spectrograms takes longer than a tiny run."""
    monkeypatch.setattr(DiffusionTask, "preview", lambda *arguments: None)


@pytest.fixture
def train(latents_folder: Path, codec_path: Path, no_preview: None) -> Callable[..., Any]:
    """``train(out, config="diffusion_tiny", **arguments of train_diffusion)`` on the CPU."""

    def run(out: Path, config: str = "diffusion_tiny", **arguments: Any) -> Any:
        forget_accelerate()
        given = {"latents": latents_folder, "codec": str(codec_path), "cpu": True}
        return train_diffusion(config, out, **{**given, **arguments})

    return run


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Starts processes that find everything imported already, and have run nothing yet."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["diffusion.training.run", "torch._dynamo"])
    return context
