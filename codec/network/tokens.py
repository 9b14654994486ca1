"""Tokens: a bottleneck of whole numbers in place of the Gaussian one.

Vector quantisation says which vector of a codebook is nearest to a latent frame (van den Oord et
al. 2017, "Neural discrete representation learning"), residual vector quantisation which one of the
next codebook is nearest to what is left (Zeghidour et al. 2021, "SoundStream"), finite scalar
quantisation rounds each of a few bounded numbers (Mentzer et al. 2023). All are those of the
package vector-quantize-pytorch. Gradients go straight through.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.errors import MissingPackageError, install_hint
from codec.network.config import TokensConfig, VQConfig
from codec.network.float32 import in_float32

DECAY = 0.99
"""Decay of the moving averages that codebooks are (van den Oord et al. 2017, appendix A.1)."""

DEAD = 0.1
"""A code that fewer latent frames of a batch chose, on a moving average, becomes one of them."""

LEFT_OUT = -1
"""In place of the token of a book that is left out; it stands for the vector 0."""


@dataclass(frozen=True)
class Quantised:
    """Tokens, and what they stand for."""

    latents: Tensor
    """(batch, latent_dim, frames), with the gradient of what was quantised."""
    tokens: Tensor
    """(batch, books, frames), from 0 on; LEFT_OUT in books that were dropped in training."""
    commitment: Tensor
    """Squared distances of what was quantised to the codes, summed over books: ()."""


class TokenBottleneck(nn.Module):
    """Latents (batch, latent_dim, frames) to tokens (batch, books, frames), and back.

    Raises:
        MissingPackageError: vector-quantize-pytorch is not installed.
    """

    def __init__(self, config: TokensConfig, latent_dim: int) -> None:
        super().__init__()
        if importlib.util.find_spec("vector_quantize_pytorch") is None:
            raise MissingPackageError(
                f"a model of tokens needs vector-quantize-pytorch, which is not installed; "
                f"{install_hint('tokens')}"
            )
        from loguru import logger
        from vector_quantize_pytorch import FSQ, ResidualVQ  # it takes a second to import

        logger.disable("vector_quantize_pytorch")  # it warns of small first batches, book by book
        self.quantiser: Any  # a class of that package
        if isinstance(config, VQConfig):
            self.quantiser = ResidualVQ(
                dim=latent_dim,
                num_quantizers=config.books,
                codebook_size=config.size,
                quantize_dropout=True,
                decay=DECAY,
                kmeans_init=True,
                threshold_ema_dead_code=DEAD,
                rotation_trick=False,
            )
        else:
            self.quantiser = FSQ(levels=list(config.levels))
        self.vectors = isinstance(config, VQConfig)
        """Codebooks are vectors that are learned; if not, what a token stands for is fixed."""
        self.quantiser.eval()

    def train(self, mode: bool = True) -> TokenBottleneck:
        """Codebooks learn in ``forward`` alone: not where a larger model in training encodes."""
        super().train(mode)
        self.quantiser.eval()
        return self

    def forward(self, latents: Tensor) -> Quantised:
        """In training codebooks learn, dead codes are revived and, at random, last books left out.

        Its random numbers are those of torch's global generator. Otherwise it is ``quantise``.
        """
        if not (self.training and self.vectors):
            return self.quantise(latents)
        finite = latents.detach().isfinite().all()
        before = [buffer.clone() for buffer in self.quantiser.buffers()]
        self.quantiser.train()
        try:
            quantised = self.quantise(latents)
        finally:
            self.quantiser.eval()
        with torch.no_grad():
            for buffer, old in zip(self.quantiser.buffers(), before, strict=True):
                buffer.copy_(torch.where(finite, buffer, old))  # else no later step would mend it
        return quantised

    def quantise(self, latents: Tensor) -> Quantised:
        """The nearest codes, whatever the mode: nothing learns."""
        with in_float32(latents):
            frames = latents.float().transpose(1, 2)
            if self.vectors:
                straight = frames
                _, tokens, losses = self.quantiser(frames)
                commitment = losses.sum()
            else:
                straight, tokens = self.quantiser(frames)
                tokens, commitment = tokens[..., None].long(), straight.new_zeros(())
            tokens = tokens.transpose(1, 2)
            exact = self.lookup(tokens) + (straight - straight.detach()).transpose(1, 2)
        return Quantised(exact, tokens, commitment)

    def lookup(self, tokens: Tensor) -> Tensor:
        """What tokens (batch, 1..books, frames) stand for: (batch, latent_dim, frames)."""
        if not self.vectors:
            return self.quantiser.indices_to_codes(tokens[:, 0]).transpose(1, 2)
        total = torch.zeros((), device=tokens.device)
        for book, codes in zip(tokens.unbind(1), self.quantiser.codebooks, strict=False):
            total = total + F.embedding(book.clamp(min=0), codes) * (book != LEFT_OUT)[..., None]
        return total.transpose(1, 2)


def use_of(tokens: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How evenly the codes of every book are used: (books,) each; NaN for a book left out.

    Perplexity, as many codes as would be used alike (the exponential of the entropy), and the
    share of codes that occur at all, in tokens (batch, books, frames).
    """
    perplexity, share = [], []
    for book in tokens.unbind(1):
        counts = torch.bincount(book.flatten() + 1, minlength=size + 1)[1:].float()
        likely = counts / counts.sum()
        perplexity.append((-torch.special.xlogy(likely, likely).sum()).exp())
        share.append((counts > 0).float().mean() * (likely.sum()))
    return torch.stack(perplexity), torch.stack(share)
