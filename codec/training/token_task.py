"""What it is to train a codec whose bottleneck is one of tokens (codec/network/tokens.py)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from codec.model import checkpoint
from codec.network.autoencoder import Autoencoder
from codec.network.bottleneck import Posterior
from codec.network.tokens import use_of
from codec.training.codec_task import VALIDATION_ITEMS, CodecTask, training_provenance
from codec.training.data import to_device
from codec.training.export import fit_tokens
from codec.training.task import Logs, StepLoss


class TokenTask(CodecTask):
    """As :class:`CodecTask`, with a commitment loss in place of the KL term."""

    def load(self, indices: range) -> Tensor:  # type: ignore[override]
        """(items, channels, time)"""
        return to_device(self.source.batch(indices).waveform, self.device)

    def loss(self, model: nn.Module, batch: Tensor, step: int) -> StepLoss:  # type: ignore[override]
        with drawn_by_step(self.config.seed, step, self.device):
            output = model(batch, _mean)
        result = self.reconstruction_loss(output.reconstruction, batch, step)
        quantised = output.quantised
        perplexity, share = use_of(quantised.tokens, self._size)
        logs: Logs = {
            **result.logs,
            "commitment": quantised.commitment.detach(),
            "perplexity": perplexity.nanmean(),
            "code_use": share.nanmean(),
        }
        loss = result.loss + self.config.loss.commitment * quantised.commitment
        return StepLoss(loss, logs, result.opponent)

    @property
    def _size(self) -> int:
        assert self.model_config.tokens is not None, self.model_config
        return self.model_config.tokens.size

    def validate(self, model: nn.Module) -> dict[str, float]:
        """The loss terms and distances, and how the codes of every book are used."""
        assert isinstance(model, Autoencoder)
        waveform = self.validation.batch(range(VALIDATION_ITEMS)).waveform.to(self.device)
        output = model(waveform, _mean)
        assert output.quantised is not None, model.config
        perplexity, share = (x.tolist() for x in use_of(output.quantised.tokens, self._size))
        bits = sum(math.log2(value) for value in perplexity)
        return {
            **self.reconstruction_loss.validate(output.reconstruction, waveform),
            "kbps": bits * self.model_config.frame_rate / 1000,
            **{f"perplexity/{book:02d}": value for book, value in enumerate(perplexity)},
            **{f"code_use/{book:02d}": value for book, value in enumerate(share)},
        }

    def export(self, model: nn.Module, path: Path, provenance: dict[str, Any]) -> None:
        assert isinstance(model, Autoencoder)
        provenance = {**provenance, **training_provenance(self.source, self.config)}
        checkpoint.save(fit_tokens(model, self.source, self.device, provenance), path)


def _mean(posterior: Posterior) -> Tensor:
    return posterior.mean


@contextmanager
def drawn_by_step(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Makes torch's random numbers a function of the step, the same in every process.

    The quantiser draws which codes are revived as what, and which books are left out. So a run
    that was stopped goes on as it would have.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed((seed * 1_000_003 + step) % (1 << 63))
        yield
