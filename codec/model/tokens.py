"""What may stand for a sound where the bottleneck is one of tokens (codec/network/tokens.py)."""

from __future__ import annotations

from torch import Tensor

from codec.errors import LacunaError
from codec.network.config import ModelConfig, TokensConfig


def token_config(config: ModelConfig) -> TokensConfig:
    """The books of a model of tokens.

    Raises:
        LacunaError: it has a Gaussian bottleneck.
    """
    if config.tokens is None:
        raise LacunaError(
            f"the model '{config.name}' has continuous latents and no tokens: use encode and "
            f"decode, or train a model with [model.tokens], such as configs/tokens.toml"
        )
    return config.tokens


def check_tokens(config: ModelConfig, tokens: Tensor) -> None:
    """Raises LacunaError if these are not (batch, coded_channels, 1..books, frames) of a model."""
    books, size = token_config(config).books, token_config(config).size
    if tokens.ndim != 4 or 0 in tokens.shape or tokens.shape[2] > books:
        raise LacunaError(
            f"expected tokens (batch, coded_channels, 1..{books} books, frames) with at least one "
            f"frame, got {tuple(tokens.shape)}"
        )
    if tokens.is_floating_point() or tokens.is_complex():
        raise LacunaError(
            f"tokens are {tokens.dtype}, expected integers: encode_tokens gives them, and encode "
            f"what they stand for, which decode takes"
        )
    wrong = ((tokens < 0) | (tokens >= size)).nonzero()
    if len(wrong):
        item, channel, book, frame = wrong[0].tolist()
        raise LacunaError(
            f"token {int(tokens[item, channel, book, frame])} of book {book} at frame {frame} "
            f"(item {item}, channel {channel}) is outside 0..{size - 1}, the codes of the model "
            f"'{config.name}': take off what your language model adds to them, such as an offset "
            f"for each book or a token that ends the sequence"
        )
