"""Configuration of a diffusion training run: the [training] table of a configs/diffusion_*.toml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from codec.settings import StrictConfig, unit
from codec.training.config import (
    Count,
    Decay,
    LoopConfig,
    OptimizerConfig,
    Positive,
    load_training_table,
)

Share = Annotated[float, Field(ge=0, le=1)]


class WindowConfig(StrictConfig):
    """How windows are cut from stored latents, and what the model is conditioned on."""

    balance: Share = 0.0
    """From 0, which draws every second of audio alike often, to 1, which draws every label so."""
    label_drop: Share = 0.1
    """Share of windows without their label, for classifier-free guidance."""
    mask_share: Share = 0.5
    """Share of windows of which a part is given, for inpainting and continuation."""
    swap_share: Share = 0.5
    """Share of stereo windows with left and right exchanged."""
    mono_share: Share = 0.1
    """Share of stereo windows of which one channel stands alone, as a mono recording's does."""
    denoise_share: Share = 0.0
    """Share of windows that are to be denoised: given as a file says them, without label and
    mask. The others are the dropout of that condition."""


UNCHANGED = WindowConfig(label_drop=0, mask_share=0, swap_share=0, mono_share=0)
"""For validation and statistics: windows as they are, with all that is known about them."""

QUANTISED = UNCHANGED.model_copy(update={"denoise_share": 1.0})
"""For validation: the same, all to be denoised."""


class DiffusionOptimizerConfig(OptimizerConfig):
    """AdamW with what works for transformers in diffusion."""

    learning_rate: Positive = 5e-4
    """Learning rate at its peak."""
    betas: tuple[Decay, Decay] = (0.9, 0.95)
    """Decay of both moments."""
    warmup_steps: Annotated[int, Field(ge=0), unit("steps")] = 1000
    """Steps over which the learning rate rises from 0."""


class DiffusionTrainingConfig(LoopConfig):
    """Everything about a diffusion run that is not the model."""

    validation_items: Count = 32
    """Windows that a validation looks at, each at five times and with each moving average."""
    windows: WindowConfig = WindowConfig()
    """Windows of the latents."""
    optimizer: DiffusionOptimizerConfig = DiffusionOptimizerConfig()
    """The optimiser."""


def load_diffusion_training(
    name_or_path: str, settings: Sequence[str], overrides: dict[str, Any]
) -> DiffusionTrainingConfig:
    """The ``[training]`` table of a config file; overrides that are None leave it as it is.

    Raises:
        ConfigError: no such file, no such table, an unknown key or a bad value.
    """
    return load_training_table(DiffusionTrainingConfig, name_or_path, settings, overrides)
