"""What it is to train a spectral map with labels, on recordings of which some have one.

Model M2 of Kingma et al. 2014, "Semi-supervised learning with deep generative models". With J(x, y)
for the loss without labels, here with encoder and map given y (their eq. 6, upper bounds):

    labelled      J(x, y) - alpha log q(y|x)                                          (eq. 9)
    unlabelled    sum over y of q(y|x) J(x, y), less the entropy of q(y|x)            (eq. 7)

p(y) is the same for all labels, so that the two last terms of eq. 7 are the divergence of q(y|x)
from it. A nat of y counts as one of z does: the weight of the KL term. Where every recording has a
label this is the class-conditional VAE. A part of the items is coded without a label, since files
are; so one network learns both, as in classifier-free guidance (Ho and Salimans 2022).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.model.labels import labels_of
from codec.network.autoencoder import Autoencoder
from codec.network.labels import LabelledRows, one_hot
from codec.training import kl
from codec.training.codec_task import VALIDATION_ITEMS, CodecBatch, CodecTask
from codec.training.config import TrainingConfig
from codec.training.data import AudioSource, item_rng, to_device
from codec.training.labels import NO_LABEL, label_of, labels_to_train_on
from codec.training.likelihood import MapLoss
from codec.training.task import Logs, StepLoss

WITHOUT_LABEL = 0.2
"""Share of items that are coded without a label."""


@dataclass(frozen=True)
class LabelledBatch(CodecBatch):
    """Noise is that of rows: (rows, latent_dim, frames)."""

    rows: LabelledRows
    target: Tensor
    """(items,): the label's number, or NO_LABEL."""
    unlabelled: Tensor
    """(items,) bool: the item has a row for every label, and they are summed by q(y|x)."""


class LabelledTask(CodecTask):
    """As :class:`CodecTask`, with labels."""

    def __init__(
        self,
        autoencoder: Autoencoder,
        config: TrainingConfig,
        source: AudioSource,
        validation: AudioSource,
        device: torch.device,
    ) -> None:
        super().__init__(autoencoder, config, source, validation, device)
        self.labels = labels_of(autoencoder.config)
        self._of_files = labels_to_train_on(source, self.labels)
        self._of_validation = [label_of(file, self.labels) for file in validation.files]

    def load(self, indices: range) -> LabelledBatch:
        plain = super().load(indices)
        targets = [self._of_files[self.source.crop(index).file] for index in indices]
        item, label, unlabelled = [], [], []
        for place, (index, target) in enumerate(zip(indices, targets, strict=True)):
            chosen = [target] if target != NO_LABEL else list(range(len(self.labels)))
            if item_rng(self.config.seed, index, purpose=3).random() < WITHOUT_LABEL:
                chosen = [NO_LABEL]
            item += [place] * len(chosen)
            label += chosen
            unlabelled.append(len(chosen) > 1)
        items = to_device(torch.tensor(item), self.device)
        stated = one_hot(torch.tensor(label), len(self.labels))
        return LabelledBatch(
            plain.waveform,
            plain.gaussian[items],
            plain.uniform[items],
            LabelledRows(items, to_device(stated, self.device)),
            to_device(torch.tensor(targets), self.device),
            to_device(torch.tensor(unlabelled), self.device),
        )

    def loss(  # type: ignore[override]
        self, model: nn.Module, batch: LabelledBatch, step: int
    ) -> StepLoss:
        output = model(batch.waveform, lambda q: self._sample(batch, q), batch.rows)
        assert isinstance(self.reconstruction_loss, MapLoss)
        losses, logs = self.reconstruction_loss.of_items(output.reconstruction, step)
        items, log_q = len(batch.waveform), output.label_logits.log_softmax(dim=1)
        chosen = (log_q[batch.rows.item] * batch.rows.label).sum(dim=1).exp()
        summed = batch.unlabelled[batch.rows.item]
        share = torch.where(summed, chosen, 1.0) / items  # which come to 1 in all

        per_channel = (output.posterior.kl().mean(dim=2) * share[:, None]).sum(dim=0)
        over_processes = kl.reduce_mean(per_channel)
        weight = self.kl_weight.at(step)
        loss = (share * losses).sum()
        loss = loss + weight * kl.kl_loss(per_channel, over_processes, self.config.kl.free_nats)
        nats = over_processes.mean()
        self.kl_weight.observe(nats)

        divergence = math.log(len(self.labels)) + (log_q.exp() * log_q).sum(dim=1)
        per_nat = weight / output.posterior.mean[0].numel()  # as the KL term is a mean over values
        loss = loss + per_nat * (batch.unlabelled * divergence).mean()
        labelled = batch.target != NO_LABEL
        missed = F.nll_loss(log_q, batch.target, ignore_index=NO_LABEL, reduction="sum")
        missed = missed / labelled.sum().clamp(min=1)
        loss = loss + self.config.loss.labels * missed
        more: Logs = {
            "kl_weight": weight,
            "kbps": kl.kl_to_kbps(nats, self.model_config),
            "active_channels": kl.active_channels(over_processes).float(),
            "label_nats": missed.detach(),
            "label_entropy": math.log(len(self.labels)) - divergence.detach().mean(),
        }
        return StepLoss(loss, {**logs, **more})

    def validate(self, model: nn.Module) -> dict[str, float]:
        """As without labels, and how many recordings of those that have one are recognised."""
        assert isinstance(model, Autoencoder)
        values = super().validate(model)
        indices = range(VALIDATION_ITEMS)
        waveform = self.validation.batch(indices).waveform.to(self.device)
        recognised = model.classify(waveform).argmax(dim=1).cpu().numpy()
        target = np.array([self._of_validation[self.validation.crop(i).file] for i in indices])
        labelled = target != NO_LABEL
        if labelled.any():
            values["label_accuracy"] = float((recognised == target)[labelled].mean())
        return values
