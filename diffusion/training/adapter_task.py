"""What it is to train an adapter: a diffusion model that stays as it is, and a little beside it.

The low-rank factors are PEFT's; the label's row is a parameter of its own, since whatever would be
trained inside the table of all labels would move the others (weight decay does).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from diffusion.model import adapter
from diffusion.model.adapter import MATRICES, Adapter, layers
from diffusion.model.transformer import Transformer
from diffusion.training.task import DiffusionTask

RANK = 16
NAME = "default"
"""PEFT's name for the factors."""


class OwnLabel(nn.Module):
    """A model's labels, which are left alone, and a new one after them, which is learned.

    It begins as no label at all: the sounds of every kind.
    """

    def __init__(self, labels: nn.Embedding) -> None:
        super().__init__()
        self.weight = nn.Parameter(labels.weight.detach().clone(), requires_grad=False)
        self.own = nn.Parameter(labels.weight[0].detach().clone())

    def forward(self, label: Tensor) -> Tensor:
        return F.embedding(label, torch.cat([self.weight, self.own[None]]))


def adaptable(transformer: Transformer) -> Transformer:
    """``transformer``, changed in place: only an adapter of it is trained.

    It computes what it did before, since the factors' product begins at zero.
    """
    # lora_alpha = r leaves the product as it is.
    config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(MATRICES))
    inject_adapter_in_model(config, transformer, adapter_name=NAME)
    labels = transformer.embed_condition.label
    transformer.embed_condition.label = OwnLabel(labels)  # type: ignore[assignment]
    return transformer


def row_and_factors(transformer: Transformer) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
    """What ``adaptable`` has learned: the label's row, and layer -> A and B."""
    labels = transformer.embed_condition.label
    assert isinstance(labels, OwnLabel), labels
    modules = {layer: transformer.get_submodule(layer) for layer in layers(transformer.config)}
    factors = {
        layer: (module.lora_A[NAME].weight, module.lora_B[NAME].weight)  # type: ignore[index, union-attr]
        for layer, module in modules.items()
    }
    return labels.own, factors


class AdapterTask(DiffusionTask):
    """Trains what ``adaptable`` has added to a transformer, and exports that alone."""

    def __init__(self, fingerprint: str, *rest: Any) -> None:
        """``fingerprint`` is of the model as it was; ``rest`` as for ``DiffusionTask``. The last of
        the origin's labels is the new one.
        """
        super().__init__(*rest)
        self._fingerprint = fingerprint

    def export(self, model: nn.Module, path: Path, provenance: dict[str, Any]) -> None:
        name, average = self.chosen(model)
        row, factors = row_and_factors(average)
        adapter.save(
            Adapter(
                self.origin.labels[-1],
                row,
                factors,
                self._fingerprint,
                self.model_config,
                self.origin.latent_id,
                self.provenance(name, provenance),
            ),
            path,
        )
