"""Configuration of a diffusion model: the [model] table of a configs/diffusion_*.toml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from codec.errors import ConfigError
from codec.settings import PositiveInt, StrictConfig, read_toml, unit, validate


class TransformerConfig(StrictConfig):
    """The network (see diffusion/model/transformer.py)."""

    width: PositiveInt = 256
    """Channels of a token; a multiple of ``4 * heads``."""
    depth: PositiveInt = 8
    """Blocks."""
    heads: PositiveInt = 4
    """Heads of the attention in each block."""
    memory_tokens: Annotated[int, Field(ge=0)] = 4
    """Learned tokens in front of the frames: a place for what concerns the whole sound."""
    expansion: PositiveInt = 3
    """Hidden units of the feed-forward layers as a multiple of ``width``."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of hidden units that is zeroed in training."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.width % (4 * self.heads):
            raise ValueError(
                f"width {self.width} must be a multiple of 4 * heads ({4 * self.heads}): rotary "
                f"embeddings turn pairs in one half of each head"
            )
        return self


class DiffusionConfig(StrictConfig):
    """What fixes a diffusion model: the latents it models, and its network."""

    name: str
    """What the model is called in messages."""
    coded_channels: PositiveInt = 2
    """Channels modelled jointly: 2 for a one-channel codec, 1 for a two-channel one."""
    latent_dim: PositiveInt = 16
    """Latents of a coded channel in each frame: the codec's."""
    window_frames: Annotated[PositiveInt, unit("latent frames")] = 256
    """Frames of a training window, and the longest sequence generated at once."""
    transformer: TransformerConfig = TransformerConfig()
    """The network."""


def load_diffusion_config(name_or_path: str, settings: Sequence[str] = ()) -> DiffusionConfig:
    """The ``[model]`` table of a config file, with ``settings`` as for a codec's config.

    Raises:
        ConfigError: no such file, no such table, an unknown key or a bad value.
    """
    tables, where = read_toml(name_or_path, settings)
    if "model" not in tables:
        raise ConfigError(
            f"{where} has no [model] table; see configs/diffusion_small.toml for an example"
        )
    return validate(DiffusionConfig, tables["model"], f"{where} [model]")
