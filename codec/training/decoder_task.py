"""What it is to train a decoder alone: the second phase, in which files keep their meaning.

Encoder, statistics, entropy tables, context model and useful steps are those of a checkpoint, and
so is its ``latent_id``: files, stored latents and diffusion weights stay valid, and sound better
with the new decoder. (Files do not where a spectral map is trained too, ``map_weight``.) What it
learns to decode is what files hold, real quantised latents, where the first phase had noise in
their place. RAVE (Caillon and Esling 2021) and Stable Audio do the same, with fresh discriminators
as here.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.tensorboard import SummaryWriter

from codec.entropy.static_tables import EntropyTables
from codec.errors import CheckpointError, LacunaError
from codec.model import checkpoint
from codec.model.checkpoint import Checkpoint
from codec.model.shipped import find_checkpoint
from codec.model.statistics import Standardizer
from codec.network.config import FRAME, ModelConfig
from codec.network.float32 import in_float32
from codec.network.map_waveform import START, MapWaveformDecoder, Randomness
from codec.network.renderer import BIRTHS
from codec.network.spectral_map import MapEncoder, MapReconstruction
from codec.network.tokens import LEFT_OUT
from codec.settings import check_same
from codec.training.adversarial import WaveformLoss
from codec.training.average import moving_average
from codec.training.codec_task import (
    PREVIEW_ITEMS,
    VALIDATION_ITEMS,
    check_crops,
    training_provenance,
    write_preview,
)
from codec.training.config import TrainingConfig
from codec.training.data import AudioSource, item_rng, to_device
from codec.training.energy_distance import EnergyLoss
from codec.training.likelihood import SCALE, WAVE_FIRST_STEPS, MapLoss
from codec.training.task import StepLoss

UNQUANTISED_SHARE = 0.2
"""Share of items whose latents are not quantised: generated ones are not either."""

STEPS = 16
"""Quantiser steps to draw from, evenly spread over the useful range with both of its ends: as many
as the entropy tables keep."""


UNQUANTISED = -1
"""In place of the number of a step."""


@dataclass(frozen=True)
class DecoderBatch:
    """waveform (items, channels, time); for each item the number of its step, or UNQUANTISED."""

    waveform: Tensor
    number: Tensor
    randomness: Randomness | None
    """Two draws for a decoder that draws; None for others."""


class Quantiser:
    """What files do to standardised latents, at any of some steps, on the device of training."""

    def __init__(self, tables: EntropyTables, steps: np.ndarray, device: torch.device) -> None:
        chosen = [tables.at(int(step)) for step in steps]
        middle = max(at.centroids.shape[1] for at in chosen) // 2
        centroids = [
            np.pad(at.centroids, ((0, 0), (middle - at.centroids.shape[1] // 2,) * 2), mode="edge")
            for at in chosen
        ]
        dtype = torch.float32 if device.type == "mps" else torch.float64  # which that has not
        self._step = torch.from_numpy(np.stack([at.step for at in chosen])).to(device, dtype)
        self._limit = torch.from_numpy(np.stack([at.limit for at in chosen])).to(device)
        self._centroids = torch.from_numpy(np.stack(centroids)).to(device)

    def __call__(self, latents: Tensor, number: Tensor) -> Tensor:
        """To the centroids of their cells, each item at its own step, unless UNQUANTISED.

        Shape: (batch, latent_dim, frames), (batch,) -> (batch, latent_dim, frames)
        """
        at = number.clamp(min=0)
        limit = self._limit[at][:, :, None]
        symbols = (latents.to(self._step.dtype) / self._step[at][:, :, None]).round().long()
        symbols = torch.minimum(torch.maximum(symbols, -limit), limit)
        centroids = self._centroids[at]
        rounded = centroids.gather(2, symbols + centroids.shape[2] // 2)
        return torch.where((number == UNQUANTISED)[:, None, None], latents, rounded)


class BooksLeftOut:
    """What files do to tokens, at any of some steps."""

    def __init__(self, steps: np.ndarray, device: torch.device) -> None:
        self._count = torch.from_numpy(steps).to(device, torch.long)

    def __call__(self, tokens: Tensor, number: Tensor) -> Tensor:
        """Without as many last books as each item's step says; with all of them if UNQUANTISED.

        Shape: (batch, books, frames), (batch,) -> (batch, books, frames)
        """
        count = torch.where(number == UNQUANTISED, 0, self._count[number.clamp(min=0)])
        kept = tokens.shape[1] - count[:, None, None]
        book = torch.arange(tokens.shape[1], device=tokens.device)[:, None]
        return torch.where(book < kept, tokens, LEFT_OUT)


class DecoderTask:
    """Trains the decoder of ``start`` on crops of ``source``."""

    def __init__(
        self,
        start: Checkpoint,
        config: TrainingConfig,
        source: AudioSource,
        validation: AudioSource,
        device: torch.device,
    ) -> None:
        check_crops(source, config)
        self.start = start
        self.config = config
        self.source = source
        self.validation = validation
        self.device = device
        self.model: nn.Module = copy.deepcopy(start.autoencoder.decoder)
        self._frozen = copy.deepcopy(start.autoencoder).to(device).eval().requires_grad_(False)
        # What was trained before needs no warm-up before the discriminators come.
        at_once = config.adversarial.model_copy(update={"start_step": 0})
        config = config.model_copy(update={"adversarial": at_once})
        self.reconstruction_loss: WaveformLoss | EnergyLoss
        if isinstance(self.model, MapWaveformDecoder):
            self.model.map.requires_grad_(config.map_weight > 0)
            rate = start.config.sample_rate
            self.reconstruction_loss = EnergyLoss(rate, device, config.adversarial)
            self._map_loss = MapLoss(rate, device)
        else:
            self.reconstruction_loss = WaveformLoss(config, start.config.sample_rate, device)
        self._standardizer = Standardizer(start.statistics).to(device)
        tables, useful = start.fitted()
        self.steps = np.linspace(useful.finest_step, useful.coarsest_step, STEPS).round()
        self._quantise: Quantiser | BooksLeftOut
        if isinstance(tables, EntropyTables):
            self._quantise = Quantiser(tables, self.steps, device)
        else:
            self._quantise = BooksLeftOut(self.steps, device)

    # -- training --------------------------------------------------------------------------

    @property
    def item_seconds(self) -> float:
        return self.config.data.crop_seconds

    def average(self) -> AveragedModel:
        return moving_average(self.model, self.config.optimizer.ema_decay)

    def load(self, indices: range) -> DecoderBatch:
        numbers = torch.tensor([self._number_of(index) for index in indices])
        waveform = self.source.batch(indices).waveform
        randomness = self._randomness(self.config.seed, indices, waveform.shape[-1])
        return DecoderBatch(
            to_device(waveform, self.device), to_device(numbers, self.device), randomness
        )

    def loss(self, model: nn.Module, batch: DecoderBatch, step: int) -> StepLoss:
        latents = self.latents(batch.waveform, batch.number)
        if self.config.map_weight == 0 or batch.randomness is None:
            estimate = self._decoded(model, latents, batch.randomness)
            return self.reconstruction_loss(estimate, batch.waveform, step)
        assert isinstance(model, MapWaveformDecoder)
        estimate, expected = model.render(latents, START, batch.randomness)
        loss = self.reconstruction_loss(estimate.float(), batch.waveform, step)
        encoder = self._frozen.encoder
        assert isinstance(encoder, MapEncoder)
        reconstruction = MapReconstruction(encoder.views(batch.waveform), expected)
        likely = self._map_loss(reconstruction, batch.waveform, WAVE_FIRST_STEPS).loss
        total = loss.loss + self.config.map_weight * likely
        return StepLoss(total, {**loss.logs, "nats": likely.detach() / SCALE}, loss.opponent)

    @staticmethod
    def _decoded(model: nn.Module, latents: Tensor, randomness: Randomness | None) -> Tensor:
        return (model(latents) if randomness is None else model(latents, START, randomness)).float()

    def _randomness(self, seed: int, indices: range, time: int) -> Randomness | None:
        """What a decoder that draws gets for items of ``time`` samples, fixed by seed and index."""
        if not isinstance(self.model, MapWaveformDecoder):
            return None
        frames = time // FRAME
        births, noise = [], []
        for index in indices:
            rng = item_rng(seed, index, purpose=2)
            births.append(rng.random((frames, BIRTHS), dtype=np.float32))
            noise.append(rng.standard_normal((2, time), dtype=np.float32))
        return Randomness(
            *(to_device(torch.from_numpy(np.stack(x)), self.device) for x in (births, noise))
        )

    def _number_of(self, index: int) -> int:
        """Which of ``steps`` an item's latents are quantised at, if at all."""
        rng = item_rng(self.config.seed, index, purpose=1)
        if rng.random() < UNQUANTISED_SHARE:
            return UNQUANTISED
        return int(rng.integers(STEPS))

    @torch.no_grad()
    def latents(self, waveform: Tensor, number: Tensor) -> Tensor:
        """What a file would hold, in the network's units, each item at the step of its number.

        (batch, channels, time), (batch,) -> (batch, latent_dim, frames)
        """
        # In float32 whatever the precision of the training: other latents, other symbols.
        with in_float32(waveform):
            if self._frozen.tokens is not None:
                tokens = self._frozen.quantise(waveform).tokens
                return self._frozen.tokens.lookup(self._quantise(tokens, number))
            exact = self._frozen.posterior(waveform).mean
        standardised = self._standardizer(exact)
        return self._standardizer.inverse(self._quantise(standardised, number))

    def state(self) -> dict[str, float]:
        return {"latent_id": int(self.start.latent_id, 16)}

    def load_state(self, state: dict[str, float]) -> None:
        """Raises CheckpointError if the run was started from a checkpoint of another latent_id."""
        if state != self.state():
            raise CheckpointError(
                f"the run was started from a codec with latent_id {state['latent_id']:016x}, and "
                f"--init has {self.start.latent_id}; give the same --init, or another --out folder"
            )

    # -- validation ------------------------------------------------------------------------

    def _decode(self, model: nn.Module, items: int) -> tuple[Tensor, Tensor]:
        """Fixed crops, and what ``model`` makes of them, at steps from all over the range."""
        waveform = self.validation.batch(range(items)).waveform.to(self.device)
        numbers = torch.arange(items, device=self.device) % STEPS
        randomness = self._randomness(self.config.seed + 1, range(items), waveform.shape[-1])
        return waveform, self._decoded(model, self.latents(waveform, numbers), randomness)

    def validate(self, model: nn.Module) -> dict[str, float]:
        waveform, estimate = self._decode(model, VALIDATION_ITEMS)
        return self.reconstruction_loss.validate(estimate, waveform)

    def preview(self, model: nn.Module, writer: SummaryWriter, step: int) -> None:
        """Audio and spectrograms of the first validation crops."""
        waveform, estimate = self._decode(model, PREVIEW_ITEMS)
        estimate = estimate[:, : waveform.shape[1]]  # one draw of those that there are
        write_preview(waveform, estimate, self.start.config.sample_rate, writer, step)

    # -- export ----------------------------------------------------------------------------

    def export(self, model: nn.Module, path: Path, provenance: dict[str, Any]) -> None:
        """The checkpoint of the start with this decoder.

        Raises:
            CheckpointError: its ``latent_id`` would not be that of the start.
        """
        autoencoder = copy.deepcopy(self._frozen)
        autoencoder.decoder.load_state_dict(model.state_dict())
        history = {**provenance, **training_provenance(self.source, self.config)}
        history |= {"decoder_only": True, "before": self.start.provenance}
        trained = replace(self.start, autoencoder=autoencoder, provenance=history)
        if trained.latent_id != self.start.latent_id:
            raise CheckpointError(
                f"training the decoder has changed latent_id from {self.start.latent_id} to "
                f"{trained.latent_id}: files made with the one would not open with the other; "
                f"'{path}' is not written. This is a mistake in the program"
            )
        checkpoint.save(trained, path)


def checkpoint_to_train_on(config: ModelConfig, path: str | None) -> Checkpoint:
    """The checkpoint whose decoder is to be trained; ``config`` is the model of the run's config.

    Raises:
        LacunaError: none was named.
        CheckpointError: there is no such checkpoint, or it is of another model.
    """
    if path is None:
        raise LacunaError(
            "--decoder-only trains the decoder of a codec that is there already; name its "
            "checkpoint, or a shipped model, with --init"
        )
    start = checkpoint.load(find_checkpoint(path))
    fields = ["sample_rate", "channels", "network", "latent_dim", "tokens"]
    check_same(config, start.config, fields, path)
    return start
