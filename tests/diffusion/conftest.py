"""A tiny diffusion model that is not trained, yet away from its all-zero start."""

from __future__ import annotations

import pytest
import torch

from diffusion.model.conditioning import Conditioning
from diffusion.model.config import DiffusionConfig, load_diffusion_config
from diffusion.model.transformer import Transformer

LABELS = ("bell", "piano", "rain")
FRAMES = 12


@pytest.fixture(scope="session")
def tiny_diffusion() -> DiffusionConfig:
    return load_diffusion_config("diffusion_tiny")


@pytest.fixture
def tiny_transformer(tiny_diffusion: DiffusionConfig) -> Transformer:
    """With the labels of ``LABELS``; every parameter plays a part, as after some training."""
    torch.manual_seed(0)
    transformer = Transformer(tiny_diffusion, len(LABELS)).eval()
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return transformer


@pytest.fixture
def tiny_conditioning(tiny_diffusion: DiffusionConfig) -> Conditioning:
    """Three items of ``FRAMES`` frames: all given, nothing given, and mono with a label, to be
    denoised.
    """
    torch.manual_seed(1)
    mask = torch.zeros(3, FRAMES)
    mask[0, :5] = 1
    shape = (3, tiny_diffusion.coded_channels, tiny_diffusion.latent_dim, FRAMES)
    return Conditioning(
        label=torch.tensor([3, 0, 1]),
        known=torch.randn(shape) * mask[:, None, None, :],
        mask=mask,
        present=torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]]),
        dequantised=torch.randn(shape) * torch.tensor([1.0, 0, 1])[:, None, None, None],
        log_step=torch.tensor([3.0, 0.0, 1.5]),
        quantised=torch.tensor([1.0, 0.0, 1.0]),
    )
