"""What it is to train the codec: its loss, its validation, its checkpoint."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.tensorboard import SummaryWriter

from codec.errors import ConfigError
from codec.metrics.pictures import spectrogram_pair
from codec.model import checkpoint
from codec.model.shipped import find_checkpoint
from codec.network.autoencoder import Autoencoder
from codec.network.bottleneck import Posterior
from codec.network.config import ModelConfig, SpectralMapConfig
from codec.network.map_waveform import MapWaveformDecoder
from codec.settings import check_same
from codec.training import kl
from codec.training.adversarial import WaveformLoss
from codec.training.average import moving_average
from codec.training.config import TrainingConfig
from codec.training.data import AudioSource, item_rng, to_device
from codec.training.export import fit_checkpoint
from codec.training.likelihood import MapLoss
from codec.training.task import Logs, StepLoss

VALIDATION_ITEMS = 32
PREVIEW_ITEMS = 3


@dataclass(frozen=True)
class CodecBatch:
    """waveform (items, channels, time); the noise of latents, (items, latent_dim, frames) each."""

    waveform: Tensor
    gaussian: Tensor
    uniform: Tensor


class CodecTask:
    """Trains an :class:`Autoencoder` on crops of ``source``."""

    def __init__(
        self,
        autoencoder: Autoencoder,
        config: TrainingConfig,
        source: AudioSource,
        validation: AudioSource,
        device: torch.device,
    ) -> None:
        self.model = autoencoder
        self.config = config
        self.source = source
        self.validation = validation
        self.device = device
        self.model_config: ModelConfig = autoencoder.config
        self.reconstruction_loss = _loss_of(self.model_config, config, device)
        self.kl_weight = kl.KLWeight(config.kl, self.model_config, config.accumulate, device)
        check_crops(source, config)
        if isinstance(autoencoder.decoder, MapWaveformDecoder):
            autoencoder.decoder.renderer.requires_grad_(False)

    # -- training --------------------------------------------------------------------------

    @property
    def item_seconds(self) -> float:
        return self.config.data.crop_seconds

    def average(self) -> AveragedModel:
        return moving_average(self.model, self.config.optimizer.ema_decay)

    def load(self, indices: range) -> CodecBatch:
        waveform = self.source.batch(indices).waveform
        config = self.model_config
        shape = (config.latent_dim, waveform.shape[-1] // config.hop_length)
        gaussian, uniform = zip(*(self._noise(index, shape) for index in indices), strict=True)
        return CodecBatch(
            to_device(waveform, self.device),
            to_device(torch.from_numpy(np.stack(gaussian)), self.device),
            to_device(torch.from_numpy(np.stack(uniform)), self.device),
        )

    def _noise(self, index: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """How an item's latents are drawn: by the posterior's noise or by a quantiser's.

        Either is zero. A quantiser's rounding error is uniform and knows nothing of the local
        posterior; here it is in units of the mean sigma of each channel.
        """
        share, (low, high) = self.config.noise.uniform_share, self.config.noise.steps
        rng = item_rng(self.config.seed, index, purpose=1)
        multiple = np.float32(np.exp(rng.uniform(np.log(low), np.log(high))))
        nothing = np.zeros(shape, np.float32)
        if rng.random() < share:
            return nothing, multiple * (rng.random(shape, dtype=np.float32) - np.float32(0.5))
        return rng.standard_normal(shape, dtype=np.float32), nothing

    def loss(self, model: nn.Module, batch: CodecBatch, step: int) -> StepLoss:
        output = model(batch.waveform, partial(self._sample, batch))
        result = self.reconstruction_loss(output.reconstruction, batch.waveform, step)

        per_channel = kl.kl_per_channel(output.posterior)
        over_processes = kl.reduce_mean(per_channel)
        weight = self.kl_weight.at(step)
        nats = over_processes.mean()
        divergence = kl.kl_loss(per_channel, over_processes, self.config.kl.free_nats)
        loss = result.loss + weight * divergence
        self.kl_weight.observe(nats)
        logs: Logs = {
            **result.logs,
            "kl_weight": weight,
            "kbps": kl.kl_to_kbps(nats, self.model_config),
            "active_channels": kl.active_channels(over_processes).float(),
        }
        return StepLoss(loss, logs, result.opponent)

    def _sample(self, batch: CodecBatch, posterior: Posterior) -> Tensor:
        """A quantiser's step is a multiple of each channel's mean sigma, the same for every frame,
        as in a file.
        """
        table = kl.reduce_mean(posterior.sigma.mean(dim=(0, 2)))[:, None]
        return posterior.sample(batch.gaussian) + batch.uniform * table

    def state(self) -> dict[str, float]:
        return self.kl_weight.state()

    def load_state(self, state: dict[str, float]) -> None:
        self.kl_weight.load_state(state)

    # -- validation ------------------------------------------------------------------------

    def validate(self, model: nn.Module) -> dict[str, float]:
        """The loss terms and distances at the posterior mean, on fixed crops."""
        assert isinstance(model, Autoencoder)
        waveform = self.validation.batch(range(VALIDATION_ITEMS)).waveform.to(self.device)
        output = model(waveform, lambda posterior: posterior.mean)
        posterior = output.posterior
        per_channel = kl.kl_per_channel(posterior)
        if kl.collapsed(per_channel):
            warnings.warn(
                f"posterior collapse: only {kl.active_channels(per_channel)} of "
                f"{len(per_channel)} latent channels carry information; lower kl.weight or "
                f"raise kl.target_kbps or kl.free_nats",
                stacklevel=2,
            )
        return {
            **self.reconstruction_loss.validate(output.reconstruction, waveform),
            "kbps": kl.kl_to_kbps(float(per_channel.mean()), self.model_config),
            "active_channels": float(kl.active_channels(per_channel)),
            **{f"kl_channel/{i:02d}": float(v) for i, v in enumerate(per_channel)},
        }

    def preview(self, model: nn.Module, writer: SummaryWriter, step: int) -> None:
        """Audio and spectrograms of the first validation crops."""
        assert isinstance(model, Autoencoder)
        waveform = self.validation.batch(range(PREVIEW_ITEMS)).waveform.to(self.device)
        estimate = model.decode(model.posterior(waveform).mean)
        write_preview(waveform, estimate, self.model_config.sample_rate, writer, step)

    # -- export ----------------------------------------------------------------------------

    def export(self, model: nn.Module, path: Path, provenance: dict[str, Any]) -> None:
        assert isinstance(model, Autoencoder)
        provenance = {**provenance, **training_provenance(self.source, self.config)}
        fitted = fit_checkpoint(model, self.source, self.device, self.config.noise, provenance)
        checkpoint.save(fitted, path)


def _loss_of(
    model: ModelConfig, config: TrainingConfig, device: torch.device
) -> WaveformLoss | MapLoss:
    """A spectral map is trained by its likelihood; its renderer comes after it, alone."""
    if isinstance(model.network, SpectralMapConfig):
        return MapLoss(model.sample_rate, device)
    return WaveformLoss(config, model.sample_rate, device)


def check_crops(source: AudioSource, config: TrainingConfig) -> None:
    """Raises ConfigError for crops that are too short for a window of the losses."""
    windows = config.loss.stft_windows
    if config.adversarial.weight > 0:
        windows += config.adversarial.stft_windows
    if source.crop_samples <= max(windows) // 2:
        raise ConfigError(
            f"crops of {source.crop_samples} samples are too short for the loss window of "
            f"{max(windows)}; raise data.crop_seconds or leave this window out of "
            f"loss.stft_windows or adversarial.stft_windows"
        )


def write_preview(
    waveform: Tensor, estimate: Tensor, sample_rate: int, writer: SummaryWriter, step: int
) -> None:
    """Audio and spectrograms of recordings and their reconstructions, (items, channels, time)."""
    for item, (original, decoded) in enumerate(zip(waveform, estimate, strict=True)):
        for name, sound in (("original", original), ("decoded", decoded)):
            writer.add_audio(f"{item}/{name}", sound[0].cpu().clamp(-1, 1)[None], step, sample_rate)
        figure = spectrogram_pair(original.cpu().numpy(), decoded.cpu().numpy(), sample_rate)
        writer.add_figure(f"{item}/spectrogram", figure, step)


def training_provenance(source: AudioSource, config: TrainingConfig) -> dict[str, Any]:
    """What a checkpoint tells of its training, beside what the loop knows of the run."""
    return {"data_hours": round(source.hours, 2), "training": config.model_dump(mode="json")}


def initial_weights(autoencoder: Autoencoder, path: str | Path) -> None:
    """Start from the weights of a checkpoint, or of a shipped model's name, for fine-tuning.

    A model with fewer latents may start one with more: they become its first ones, and the new
    ones carry nothing yet.

    Raises:
        CheckpointError: there is no such checkpoint, or it is of another network.
    """
    loaded = checkpoint.load(find_checkpoint(path))
    config, start = autoencoder.config, loaded.config
    fields = ["sample_rate", "channels", "network", "tokens"]
    if config.latent_dim < start.latent_dim:
        fields.append("latent_dim")
    check_same(config, start, fields, path)
    state = autoencoder.state_dict()
    for key, value in loaded.autoencoder.state_dict().items():
        if value.shape != state[key].shape:
            value = _widened(value, state[key], start.latent_dim, config.latent_dim)
        state[key] = value
    autoencoder.load_state_dict(state)


def _widened(value: Tensor, larger: Tensor, old_dim: int, new_dim: int) -> Tensor:
    """Weights between latents and network, with ``value`` for the first latents.

    The encoder's rows are the latents' means before as many log-variances; the decoder's have a
    column for each latent. New columns are small, so that the decoder hears its old latents first.
    """
    widened = larger.clone()
    if value.shape[0] != larger.shape[0]:
        old_means, new_means = len(value) - old_dim, len(larger) - new_dim
        widened[:old_means] = value[:old_means]
        widened[new_means : new_means + old_dim] = value[old_means:]
    else:
        widened *= 0.1
        widened[:, : value.shape[1]] = value
    return widened
