"""The labels of a model that was trained with some (codec/network/labels.py)."""

from __future__ import annotations

import torch
from torch import Tensor

from codec.errors import LacunaError
from codec.network.config import ModelConfig, SpectralMapConfig
from codec.network.labels import one_hot


def labels_of(config: ModelConfig) -> tuple[str, ...]:
    """Their names, in the network's order; none for most models."""
    return config.network.labels if isinstance(config.network, SpectralMapConfig) else ()


def expect_labels(config: ModelConfig) -> tuple[str, ...]:
    """``labels_of``.

    Raises:
        LacunaError: the model has none.
    """
    labels = labels_of(config)
    if not labels:
        raise LacunaError(
            f"the model '{config.name}' was trained without labels; one with "
            f'model.network.labels = ["...", "..."] has them'
        )
    return labels


def label_rows(config: ModelConfig, label: str | None, device: torch.device) -> Tensor | None:
    """A label as the network takes it, for any number of rows: (1, labels); None for none.

    Raises:
        LacunaError: the model does not have it.
    """
    if label is None:
        return None
    labels = expect_labels(config)
    if label not in labels:
        raise LacunaError(f"label '{label}': expected one of {', '.join(labels)}, or None")
    return one_hot(torch.tensor([labels.index(label)]), len(labels)).to(device)
