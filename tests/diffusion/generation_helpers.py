"""Tiny codecs and diffusion models for the tests of generation and editing.

Beside a network that is not trained there are two whose answers are known: exact denoisers of
data that a test can tell from anything else.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from codec.api import Codec
from codec.entropy.static_tables import EntropyTables
from codec.lac import denoising
from codec.model import checkpoint as codec_checkpoint
from codec.model.checkpoint import Checkpoint
from codec.model.sound import Sound, encode_waveform
from codec.model.statistics import LatentStatistics
from codec.model.useful_range import measure_range
from codec.network.autoencoder import Autoencoder
from codec.network.config import load_model_config
from diffusion.generation import Generator
from diffusion.model.checkpoint import DiffusionCheckpoint
from diffusion.model.conditioning import Conditioning
from diffusion.model.config import DiffusionConfig, load_diffusion_config
from diffusion.model.transformer import Transformer

LABELS = ("bell", "piano", "rain")
WINDOW = 32
"""Frames in a window of the tiny models: 0.256 s."""


def codec_file(seed: int = 0, channels: int = 1, stereo: str = "left_right") -> Checkpoint:
    """The config ``tiny`` (16 kHz, hop 128, four latents), not trained."""
    torch.manual_seed(seed)
    config = load_model_config("tiny").model_copy(update={"channels": channels, "stereo": stereo})
    rng = np.random.default_rng(seed)
    sigma = np.full(4, 0.2, np.float32)
    tables = EntropyTables.fit(rng.standard_normal((4, 512), np.float32), sigma)
    latents = rng.standard_normal((1, 4, 512), np.float32)
    return Checkpoint(
        config,
        Autoencoder(config).eval(),
        LatentStatistics(torch.zeros(4), torch.ones(4), torch.from_numpy(sigma)),
        tables,
        measure_range([latents], tables, config.frame_rate, 200, 500),
    )


@cache
def tiny_codec(seed: int = 0, channels: int = 1, stereo: str = "left_right") -> Codec:
    return Codec(codec_file(seed, channels, stereo)).eval().requires_grad_(False)


class ConstantWorld(nn.Module):
    """The exact network for sounds whose latents never change, Gaussian from sound to sound.

    What is known tells all; without it the mean of x_t over time is the best there is.
    """

    def forward(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        mask = conditioning.mask[:, None, None, :]
        time = t[:, None, None, None]
        if mask.any():
            clean = (conditioning.known * mask).sum(3, keepdim=True) / mask.sum(3, keepdim=True)
        else:
            alpha, variance = 1 - time, time**2 / x_t.shape[3]
            clean = alpha * x_t.mean(3, keepdim=True) / (alpha**2 + variance)
        return (x_t - clean) / time


class SilentWorld(nn.Module):
    """The network for sounds whose latents are all 0."""

    def forward(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        return x_t / t[:, None, None, None]


class WhiteWorld(nn.Module):
    """The exact network for latents that are independent unit Gaussians."""

    def forward(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        time = t[:, None, None, None]
        return (x_t - (1 - time) * x_t / ((1 - time) ** 2 + time**2)) / time


def untrained(config: DiffusionConfig, seed: int = 0) -> Transformer:
    """A transformer in which every parameter plays a part, as after some training."""
    torch.manual_seed(seed)
    transformer = Transformer(config, len(LABELS)).eval()
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return transformer


def diffusion_file(codec: Codec, network: nn.Module | None = None) -> DiffusionCheckpoint:
    config = load_diffusion_config("diffusion_tiny").model_copy(
        update={"coded_channels": codec.coded_channels(2), "window_frames": WINDOW}
    )
    return DiffusionCheckpoint(
        config,
        untrained(config) if network is None else network,  # type: ignore[arg-type]
        LABELS,
        codec.latent_id,
        codec.config.name,
        codec.frame_rate,
    )


def tiny_generator(codec: Codec | None = None, network: nn.Module | None = None) -> Generator:
    codec = tiny_codec() if codec is None else codec
    return Generator(diffusion_file(codec, network), codec)


def save_both(folder: Path) -> tuple[Path, Path]:
    """A diffusion checkpoint and its codec's: their paths."""
    from diffusion.model import checkpoint

    codec_checkpoint.save(codec_file(), folder / "codec.safetensors")
    codec = Codec(codec_checkpoint.load(folder / "codec.safetensors"))
    checkpoint.save(diffusion_file(codec), folder / "diffusion.safetensors")
    return folder / "diffusion.safetensors", folder / "codec.safetensors"


def offer_denoiser(monkeypatch: pytest.MonkeyPatch) -> None:
    """What pyproject.toml says, whichever version of the package is installed."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    points = [
        EntryPoint(name, value, denoising.GROUP)
        for name, value in project["entry-points"][denoising.GROUP].items()
    ]
    monkeypatch.setattr(denoising, "entry_points", lambda group: points)


def tone(seconds: float, sample_rate: int = 16000, channels: int = 2, seed: int = 0) -> np.ndarray:
    """Tones in noise, float32 (channels, time), other in each channel."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    pitches = rng.uniform(150, 900, (channels, 1))
    sound = 0.2 * np.sin(2 * np.pi * pitches * time)
    return (sound + 0.05 * rng.standard_normal(sound.shape)).astype(np.float32)


def tone_sound(seconds: float, sample_rate: int = 16000, channels: int = 2, seed: int = 0) -> Sound:
    return encode_waveform(tiny_codec(), tone(seconds, sample_rate, channels, seed), sample_rate)
