"""What it is to train the diffusion stage: its loss, its validation, its checkpoint."""

from __future__ import annotations

import copy
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from codec.errors import CheckpointError
from codec.metrics.pictures import spectrogram_pair
from codec.model.latent_codec import LatentCodec
from codec.settings import check_same
from codec.training.data import item_rng
from codec.training.task import StepLoss
from diffusion.generation import DEFAULT_SAMPLING
from diffusion.model import checkpoint, flow
from diffusion.model.checkpoint import DiffusionCheckpoint
from diffusion.model.conditioning import Conditioning
from diffusion.model.config import DiffusionConfig
from diffusion.model.ema import PowerEMA
from diffusion.model.profile import Profiles
from diffusion.model.samplers import dpmpp_2m, guided, time_grid
from diffusion.model.shipped import find_checkpoint
from diffusion.model.transformer import Transformer
from diffusion.training.baselines import Baselines
from diffusion.training.config import DiffusionTrainingConfig
from diffusion.training.windows import Windows, WindowSource

VALIDATION_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
BASELINE_WINDOWS, BASELINE_FRAMES = 1024, 1 << 18
"""The Gaussian predictor is fitted to so many training windows, or as many as have the frames."""

PREVIEW_ITEMS = 3

PREVIEW_NOISE, DROPOUT = 2, 3  # purposes of random numbers, beside those of the windows


class Averages:
    """Both lengths of the power-function average, as modules to validate and export."""

    def __init__(self, model: nn.Module) -> None:
        self._ema = PowerEMA(model)
        names = {width: f"sigma_rel_{round(100 * width):02d}" for width in self._ema.sigma_rel}
        self._names = names
        self._modules = nn.ModuleDict({name: copy.deepcopy(model) for name in names.values()})

    @property
    def module(self) -> nn.Module:
        """A ``ModuleDict`` of them, as they now are."""
        with torch.no_grad():
            for width, name in self._names.items():
                values = self._ema.average(width)
                for key, parameter in self._modules[name].named_parameters():
                    parameter.copy_(values[key])
        return self._modules

    def update_parameters(self, model: nn.Module) -> None:
        self._ema.update(model)

    def state_dict(self) -> dict[str, Tensor]:
        return self._ema.state_dict()

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        self._ema.load_state_dict(state_dict)


@dataclass(frozen=True)
class Origin:
    """What an exported checkpoint says about the latents it was trained on."""

    labels: tuple[str, ...]
    latent_id: str
    codec: str
    frame_rate: float
    hours: float
    profiles: Profiles


@dataclass(frozen=True)
class DiffusionBatch:
    """Windows, and a seed: dropout takes torch's generator, whose state a killed run would lose."""

    windows: Windows
    dropout_seed: int

    def pin_memory(self) -> DiffusionBatch:
        return replace(self, windows=self.windows.pin_memory())


class DiffusionTask:
    """Trains a :class:`Transformer` on windows of ``source``."""

    def __init__(
        self,
        transformer: Transformer,
        config: DiffusionTrainingConfig,
        source: WindowSource,
        plain: WindowSource,
        validation: WindowSource,
        quantised: WindowSource | None,
        codec: LatentCodec,
        origin: Origin,
        device: torch.device,
    ) -> None:
        """``plain`` is ``source`` without random changes, for statistics; ``quantised`` are the
        windows of ``validation`` to be denoised, if the network learns that.
        """
        self.model = transformer
        self.config = config
        self.source = source
        self.plain = plain
        self.validation = validation
        self.quantised = quantised
        self.codec = codec
        self.origin = origin
        self.device = device
        self.model_config: DiffusionConfig = transformer.config
        self._chosen = 0
        """Number of the average with the better score at the last validation."""
        self._baselines: dict[float, dict[str, float]] | None = None

    # -- training --------------------------------------------------------------------------

    @property
    def item_seconds(self) -> float:
        return self.model_config.window_frames / self.origin.frame_rate

    def average(self) -> Averages:
        return Averages(self.model)

    def load(self, indices: range) -> DiffusionBatch:
        seed = int(item_rng(self.config.seed, indices.start, DROPOUT).integers(2**62))
        return DiffusionBatch(self.source.batch(indices), seed)

    def loss(self, model: nn.Module, batch: DiffusionBatch, step: int) -> StepLoss:
        """Mean squared error of the frames that are to be found, at each item's own time.

        Frames that are given are not counted, but an item is divided by all of its values, so
        that a small gap does not weigh as much as a whole window.
        """
        windows = batch.windows.to(self.device)
        torch.manual_seed(batch.dropout_seed)
        weight = windows.real * (1 - windows.conditioning.mask[:, None, None, :])
        return StepLoss(self._errors(model, windows, windows.t, weight).mean())

    def _errors(self, model: nn.Module, windows: Windows, t: Tensor, weight: Tensor) -> Tensor:
        """(batch,): squared errors where ``weight``, divided by the number of real values."""
        x_t = flow.noised(windows.x, windows.noise, t)
        target = flow.velocity(windows.x, windows.noise)
        prediction = model(x_t, t, windows.conditioning).float()
        values = windows.real.sum(dim=(1, 2, 3)) * windows.x.shape[2]
        return ((prediction - target).square() * weight).sum(dim=(1, 2, 3)) / values

    def state(self) -> dict[str, float]:
        return {"chosen": float(self._chosen)}

    def load_state(self, state: dict[str, float]) -> None:
        self._chosen = int(state["chosen"])

    # -- validation ------------------------------------------------------------------------

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Losses of both averages on fixed windows, noise and times; the better one's are logged.

        Beside them stand those of predictors that know little (see baselines.py), on the same
        windows.
        """
        scores: dict[str, float] = {}
        losses_by_average: list[dict[float, float]] = []
        for name, average in _named(model):
            losses_by_average.append(self._validation_losses(average))
            scores[name] = _mean(losses_by_average[-1])
        self._chosen = min(range(len(losses_by_average)), key=list(scores.values()).__getitem__)
        losses = losses_by_average[self._chosen]
        score = _mean(losses)
        baselines = {
            name: _mean({t: values[name] for t, values in self.baselines().items()})
            for name in ("zero", "gaussian_frame", "gaussian")
        }
        print(
            f"validation loss {score:.4f} (zero predictor {baselines['zero']:.4f}, Gaussian "
            f"{baselines['gaussian']:.4f}, of single frames {baselines['gaussian_frame']:.4f})",
            file=sys.stderr,
            flush=True,
        )
        denoised = {}
        if self.quantised is not None:
            gain = self._denoising_gain(_named(model)[self._chosen][1], self.quantised)
            denoised = {"denoised_db": gain}
            print(f"denoised latents are {gain:.2f} dB nearer", file=sys.stderr, flush=True)
        return {
            "score": score,
            **denoised,
            **{f"loss_t{t}": value for t, value in losses.items()},
            **{f"score_{name}": value for name, value in scores.items()},
            **baselines,
        }

    def _validation_losses(self, model: nn.Module) -> dict[float, float]:
        """Time -> loss."""
        losses = dict.fromkeys(VALIDATION_TIMES, 0.0)
        items = self.config.validation_items
        for first in range(0, items, self.config.batch_size):
            indices = range(first, min(first + self.config.batch_size, items))
            windows = self.validation.batch(indices).to(self.device)
            for time in VALIDATION_TIMES:
                t = torch.full_like(windows.t, time)
                errors = self._errors(model, windows, t, windows.real)
                losses[time] += float(errors.sum()) / items
        return losses

    def _denoising_gain(self, model: nn.Module, source: WindowSource) -> float:
        """How much nearer to the latents than what files say their means under the network are, dB.

        At t = 1, where x_t says nothing. Steps are drawn as in training, the same each time.
        """
        items, before, after = self.config.validation_items, 0.0, 0.0
        for first in range(0, items, self.config.batch_size):
            indices = range(first, min(first + self.config.batch_size, items))
            windows = source.batch(indices).to(self.device)
            t = torch.ones_like(windows.t)
            estimate = flow.denoised(
                model(windows.noise, t, windows.conditioning), windows.noise, t
            )
            dequantised = windows.conditioning.dequantised
            before += float((dequantised - windows.x).square().sum())
            after += float(((estimate - windows.x) * windows.real).square().sum())
        return 10 * math.log10(before / after) if before and after else 0.0

    def baselines(self) -> dict[float, dict[str, float]]:
        """Time -> the losses of ``Baselines``."""
        if self._baselines is None:
            windows = min(BASELINE_WINDOWS, BASELINE_FRAMES // self.model_config.window_frames)
            fitted = Baselines(
                self.plain.batch(range(max(1, windows))),
                self.validation.batch(range(self.config.validation_items)),
            )
            self._baselines = {t: fitted.losses(t) for t in VALIDATION_TIMES}
        return self._baselines

    def chosen(self, model: nn.Module) -> tuple[str, Transformer]:
        """The better of the averages, and its name."""
        name, average = _named(model)[self._chosen]
        assert isinstance(average, Transformer)
        return name, average

    # -- generation ------------------------------------------------------------------------

    def generate(self, model: nn.Module, conditioning: Conditioning, first: int) -> Tensor:
        """Latents of a window's length; item i takes the noise of number ``first`` + i."""
        shape = conditioning.known.shape
        noise = torch.stack(
            [
                torch.from_numpy(
                    item_rng(self.config.seed, first + i, PREVIEW_NOISE).standard_normal(
                        shape[1:], dtype="float32"
                    )
                )
                for i in range(shape[0])
            ]
        )
        conditioning = conditioning.to(self.device)
        denoise = guided(model, conditioning, DEFAULT_SAMPLING.guidance)
        x = noise.to(self.device) * conditioning.present[:, :, None, None]
        return dpmpp_2m(denoise, x, time_grid(DEFAULT_SAMPLING.steps))

    def _wishes(self, items: int) -> Windows:
        """The first validation windows without anything given, and asked for as users do: by label
        and channels, without a length.
        """
        windows = self.validation.batch(range(items))
        config, frames = self.model_config, windows.x.shape[3]
        nothing = Conditioning.none(items, config, frames)
        conditioning = windows.conditioning
        wish = replace(nothing, label=conditioning.label, present=conditioning.present)
        return replace(windows, conditioning=wish)

    def preview(self, model: nn.Module, writer: SummaryWriter, step: int) -> None:
        """Sounds of a few labels beside validation windows of the same label."""
        _, average = self.chosen(model)
        windows = self._wishes(PREVIEW_ITEMS)
        generated = self.generate(average, windows.conditioning, first=0).cpu()
        rate = self.codec.sample_rate
        for item in range(len(generated)):
            number = int(windows.conditioning.label[item])
            label = self.origin.labels[number - 1] if number else "no label"
            coded = int(windows.conditioning.present[item].sum())
            recorded_sound, generated_sound = (
                self.codec.decode(z[None, :coded].to(self.codec.device))[0].cpu().numpy()
                for z in (windows.x[item], generated[item])
            )
            for name, sound in (("recorded", recorded_sound), ("generated", generated_sound)):
                audio = torch.from_numpy(sound[:1]).clamp(-1, 1)
                writer.add_audio(f"{item}_{label}/{name}", audio, step, rate)
            # Above the recording (that is, its latents decoded), below what was generated.
            figure = spectrogram_pair(recorded_sound, generated_sound, rate)
            writer.add_figure(f"{item}_{label}/spectrogram", figure, step)

    # -- export ----------------------------------------------------------------------------

    def export(self, model: nn.Module, path: Path, provenance: dict[str, Any]) -> None:
        name, average = self.chosen(model)
        origin = self.origin
        provenance = self.provenance(name, provenance)
        checkpoint.save(
            DiffusionCheckpoint(
                self.model_config,
                average,
                origin.labels,
                origin.latent_id,
                origin.codec,
                origin.frame_rate,
                origin.profiles,
                provenance,
            ),
            path,
        )

    def provenance(self, average: str, run: dict[str, Any]) -> dict[str, Any]:
        """What an export says of its training; ``run`` is what the loop knows."""
        return {
            **run,
            "average": average,
            "data_hours": round(self.origin.hours, 2),
            "training": self.config.model_dump(mode="json"),
        }


def _named(model: nn.Module) -> list[tuple[str, nn.Module]]:
    assert isinstance(model, nn.ModuleDict)
    return list(model.items())


def _mean(losses: dict[float, float]) -> float:
    return sum(losses.values()) / len(losses)


def initial_weights(transformer: Transformer, path: str, origin: Origin) -> None:
    """Start from the weights of a checkpoint, or of a shipped model's name, for fine-tuning.

    Labels that both know keep what was learned of them; new ones start afresh.

    Raises:
        CheckpointError: there is no such checkpoint, or it is of another network or codec.
    """
    loaded = checkpoint.load(find_checkpoint(path))
    if loaded.latent_id != origin.latent_id:
        raise CheckpointError(
            f"'{path}' cannot start this run: it models latents of the codec '{loaded.codec}', "
            f"latent_id {loaded.latent_id}; those at hand are of '{origin.codec}', latent_id "
            f"{origin.latent_id}"
        )
    config, loaded_config = (_without_dropout(c) for c in (transformer.config, loaded.config))
    check_same(config, loaded_config, ("coded_channels", "latent_dim", "transformer"), path)
    weights = loaded.transformer.state_dict()
    name = "embed_condition.label.weight"
    old, new = weights[name], transformer.state_dict()[name].clone()
    new[0] = old[0]
    for number, label in enumerate(origin.labels, 1):
        if label in loaded.labels:
            new[number] = old[loaded.labels.index(label) + 1]
    transformer.load_state_dict({**weights, name: new})


def _without_dropout(config: DiffusionConfig) -> DiffusionConfig:
    """It is no part of the weights, and fine-tuning may want another."""
    plain = config.transformer.model_copy(update={"dropout": 0.0})
    return config.model_copy(update={"transformer": plain})
