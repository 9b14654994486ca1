"""Making latents with a diffusion model: whole sounds, and the missing parts of given ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.api import Codec
from codec.api import load as load_codec
from codec.errors import AudioError, CheckpointError, ConfigError, LacunaError
from codec.model.precision import float32_by_default
from codec.model.shipped import find_latent_id
from codec.model.sound import Sound, frames_for
from diffusion.model import checkpoint, flow
from diffusion.model.adapter import adapted
from diffusion.model.checkpoint import DiffusionCheckpoint, check_codec
from diffusion.model.conditioning import Conditioning
from diffusion.model.mixture import Mixture, parse_mixture
from diffusion.model.noise import colored
from diffusion.model.profile import LabelProfile, profile_of
from diffusion.model.samplers import SAMPLERS, Progress, guided, silent, time_grid
from diffusion.model.shipped import DEFAULT_MODEL, find_checkpoint
from diffusion.model.window_plan import plan_windows

MAX_SECONDS = 600.0
"""Nothing longer is made at once: a slip of the keyboard must not take an hour."""

MAX_GUIDANCE = 30.0
"""Far beyond use: the difference that the label makes, thirty times."""

TOGETHER = 8
"""So many sounds go through the network at once."""


@dataclass(frozen=True)
class Sampling:
    """How latents are drawn: the same values give the same sound on the same machine.

    Raises:
        ConfigError: a value out of range.
    """

    label: str | None = None
    """What it is to sound like: one of the model's labels, or several, as 'rain:0.7,fire:0.3'."""
    seed: int = 0
    steps: int = 12
    """Steps of the sampler, 1 to 100."""
    guidance: float = 2.0
    """How far to exaggerate what the label changes; 1 is not at all. Unused without a label."""
    sampler: str = "dpmpp_2m"
    """A name in ``diffusion.model.samplers.SAMPLERS``."""

    def __post_init__(self) -> None:
        time_grid(self.steps)
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed {self.seed}, expected an integer from 0 to 2^63 - 1")
        if not 0 <= self.guidance <= MAX_GUIDANCE:
            raise ConfigError(
                f"guidance {self.guidance:g}, expected 0 to {MAX_GUIDANCE:g}; 2 is usual"
            )
        if self.sampler not in SAMPLERS:
            raise ConfigError(
                f"unknown sampler '{self.sampler}'; expected one of: {', '.join(SAMPLERS)}"
            )


DEFAULT_SAMPLING = Sampling()


class Generator:
    """A diffusion model together with the codec that its latents are of.

    Raises:
        CheckpointError: the model was trained on another codec's latents.
    """

    def __init__(self, loaded: DiffusionCheckpoint, codec: Codec) -> None:
        check_codec(loaded, codec)
        config = loaded.config
        self.codec = codec
        self.config = config
        self.labels = loaded.labels
        self.profiles = loaded.profiles
        self.max_channels = config.coded_channels * codec.config.channels
        """Channels of a waveform: 2, or 1 for a model of mono sounds."""
        self._transformer = loaded.transformer.to(codec.device)

    def fill(
        self,
        latents: Tensor,
        known: Tensor,
        sampling: Sampling,
        start: float = 1.0,
        progress: Progress = silent,
        fit: bool = False,
    ) -> Tensor:
        """As :meth:`fill_together`, of one sound: (coded_channels, latent_dim, frames)."""
        return self.fill_together(latents[None], known, sampling, start, progress, fit=fit)[0]

    @torch.no_grad()
    @float32_by_default()
    def fill_together(
        self,
        latents: Tensor,
        known: Tensor,
        sampling: Sampling,
        start: float = 1.0,
        progress: Progress = silent,
        pooled: Tensor | None = None,
        fit: bool = False,
    ) -> Tensor:
        """Make the frames that are not known, window by window, from left to right.

        Known frames enter in two ways: the model gets them beside the mask, and its estimate of
        them is replaced by what they are in every step (``guided``), so that x_t around a border
        is noised from one continuous sequence. They come back unchanged.

        Each window of item i draws its own noise, on the CPU, from one generator seeded with
        ``seed`` + i: an item is what it is alone, but for rounding.

        The model is not told how long the sound is: in the data that says from which collection a
        recording comes, and a piece of music of 6 s came out as bright and dense as recordings of
        that length are, which are noises (docs/GENERATION.md).

        Args:
            latents: (items, coded_channels, latent_dim, frames); what is not known matters only
                if ``start`` is below 1.
            known: (frames,) bool.
            start: the time to noise the unknown frames to, above 0 and at most 1; 1 forgets them.
            progress: called with the steps done and the steps in all windows.
            pooled: (coded_channels, latent_dim), the mean over time that each window is to have.
            fit: what is made in a window is to have the mean of what is known there.

        Returns:
            Latents of the same shape, on the CPU.

        Raises:
            ConfigError: a label that the model does not know.
            AudioError: more channels than the model has.
            LacunaError: the result is not finite.
        """
        device, config = self.codec.device, self.config
        items, coded, _, frames = latents.shape
        if coded > config.coded_channels:
            raise AudioError(
                f"the sound has {coded} coded channels, and the diffusion model '{config.name}' "
                f"makes at most {config.coded_channels}; mix it down first"
            )
        mixture, slow = self.mixture(sampling.label), self.profile(sampling.label).slow
        shape = items, config.coded_channels, config.latent_dim, frames
        filled = latents.new_zeros(shape, device=device)
        filled[:, :coded] = latents.to(device)
        present = (torch.arange(config.coded_channels, device=device) < coded).float()
        if pooled is not None:
            pooled = F.pad(pooled, (0, 0, 0, config.coded_channels - coded)).to(device)
        known = known.to(device, torch.bool, copy=True)
        times = time_grid(sampling.steps, start)
        seeds = [replace(sampling, seed=sampling.seed + item).seed for item in range(items)]
        rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        windows = plan_windows(known, config.window_frames)
        for number, (first, last) in enumerate(windows):
            mask, window = known[first:last], filled[:, :, :, first:last]
            conditioning = replace(
                Conditioning.none(items, config, last - first, device),
                known=window * mask,
                mask=mask.float().expand(items, -1),
                present=present.expand(items, -1),
            )
            mean = window[..., mask].mean(dim=3) if fit and mask.any() else pooled
            denoise = guided(self._transformer, conditioning, sampling.guidance, mixture, mean)
            drawn = [torch.randn(window.shape[1:], generator=rng) for rng in rngs]
            noise = colored(torch.stack(drawn), slow).to(device)
            x = flow.noised(window, noise, noise.new_full((items,), start))
            done = partial(_report, progress, number * sampling.steps, len(windows))
            x = SAMPLERS[sampling.sampler](denoise, x, times, done)
            filled[:, :, :, first:last] = torch.where(mask, window, x)
            known[first:last] = True
        if not torch.isfinite(filled).all():
            raise LacunaError(
                f"the diffusion model '{config.name}' made values that are not finite; try a "
                f"guidance below {sampling.guidance:g}, or more than {sampling.steps} steps"
            )
        return filled[:, :coded].cpu()

    def mixture(self, label: str | None) -> Mixture:
        """The labels that ``label`` names, and their shares.

        Raises:
            ConfigError: an unknown label; the message lists the known ones.
        """
        return parse_mixture(label, self.labels, self.config.name)

    def profile(self, label: str | None) -> LabelProfile:
        """What recordings of ``label``, as for ``mixture``, are like."""
        return profile_of(self.mixture(label), self.labels, self.profiles)

    def channels(self, label: str | None, wanted: int | None = None) -> int:
        """Channels of a waveform: ``wanted``, or what most recordings of ``label`` have.

        Without either as many as the model makes.

        Raises:
            LacunaError: more are wanted than it makes, or less than one.
            ConfigError: a label that the model does not know.
        """
        coded = self.profile(label).coded_channels or self.config.coded_channels
        usual = min(coded * self.codec.config.channels, self.max_channels)
        channels = usual if wanted is None else wanted
        if not 1 <= channels <= self.max_channels:
            raise LacunaError(
                f"{channels} channels, expected 1 to {self.max_channels}, what the diffusion "
                f"model '{self.config.name}' makes"
            )
        return channels


def _report(progress: Progress, before: int, windows: int, done: int, steps: int) -> None:
    progress(before + done, windows * steps)


def load(
    name_or_path: str | Path = DEFAULT_MODEL,
    codec: str | Path | None = None,
    device: str | torch.device = "cpu",
    *,
    adapter: str | Path | None = None,
) -> Generator:
    """A shipped diffusion model by name, or any checkpoint by path, with its codec.

    Args:
        codec: a name or a path; without it the shipped codec with the right ``latent_id``.
        adapter: the path of what `lacuna train adapter` wrote; its label comes with it.

    Raises:
        CheckpointError: a checkpoint is missing or damaged, or they do not belong together.
    """
    return with_codec(load_checkpoint(name_or_path, adapter), codec, device)


def load_checkpoint(
    name_or_path: str | Path = DEFAULT_MODEL, adapter: str | Path | None = None
) -> DiffusionCheckpoint:
    """As :func:`load`, without a codec."""
    loaded = checkpoint.load(find_checkpoint(name_or_path))
    return loaded if adapter is None else adapted(loaded, adapter)


def with_codec(
    loaded: DiffusionCheckpoint, codec: str | Path | None, device: str | torch.device
) -> Generator:
    """As :func:`load`, of a diffusion model that is loaded already."""
    if codec is None:
        codec = find_latent_id(loaded.latent_id)
    if codec is None:
        raise CheckpointError(
            f"the diffusion model '{loaded.config.name}' was trained on latents of the codec "
            f"'{loaded.codec}', latent_id {loaded.latent_id}, and no such codec ships with this "
            f"package; give its checkpoint with --codec"
        )
    return Generator(loaded, load_codec(codec, device))


def check_seconds(seconds: float) -> None:
    """Raises LacunaError for a length that cannot be made."""
    if not 0 < seconds <= MAX_SECONDS:
        raise LacunaError(
            f"{seconds:g} seconds to make, expected more than 0 and at most {MAX_SECONDS:g}"
        )


def generate(
    model: Generator,
    seconds: float = 10.0,
    *,
    channels: int | None = None,
    sampling: Sampling = DEFAULT_SAMPLING,
    like: Sound | None = None,
    prior: bool = False,
    progress: Progress = silent,
) -> Sound:
    """Make a new sound, at the codec's sample rate.

    Args:
        channels: 1 or 2; without it as many as most recordings of the label have.
        like: a sound whose latents' mean over time the new one is to have, window by window: its
            level and its color, not what happens in it. With a label, both count.
        prior: draw latents from the unit Gaussian, without diffusion: what the codec alone,
            taken as a variational autoencoder, gives.
        progress: called with the steps done and all steps.

    Raises:
        LacunaError: no length from 0 to 600 s, or channels that the model does not have, or
            that ``like`` does not have.
        ConfigError: a label that the model does not know.
    """
    return generate_together(
        model,
        1,
        seconds,
        channels=channels,
        sampling=sampling,
        like=like,
        prior=prior,
        progress=progress,
    )[0]


@float32_by_default()
def generate_together(
    model: Generator,
    count: int,
    seconds: float = 10.0,
    *,
    channels: int | None = None,
    sampling: Sampling = DEFAULT_SAMPLING,
    like: Sound | None = None,
    prior: bool = False,
    progress: Progress = silent,
) -> list[Sound]:
    """As :func:`generate`, ``count`` sounds in one batch; number i is made with ``seed`` + i."""
    check_seconds(seconds)
    channels = model.channels(sampling.label, channels)
    clarity = 0.0 if prior else model.profile(sampling.label).clarity
    codec = model.codec
    samples = max(1, round(seconds * codec.sample_rate))
    frames = frames_for(codec, samples, codec.sample_rate)
    coded = codec.coded_channels(channels)
    shape = (coded, codec.latent_dim, frames)
    if like is not None and len(like.latents) < coded:
        raise LacunaError(
            f"a sound of {like.channels} channel to be like, and {channels} to make; make one, or "
            f"give the sound as many"
        )
    if prior:
        latents = torch.stack(
            [
                torch.randn(shape, generator=torch.Generator().manual_seed(sampling.seed + item))
                for item in range(count)
            ]
        )
    else:
        latents = model.fill_together(
            torch.zeros(count, *shape),
            torch.zeros(frames, dtype=torch.bool),
            sampling,
            progress=progress,
            pooled=None if like is None else like.latents[:coded].mean(dim=2),
        )
    return [Sound(one, codec.sample_rate, channels, samples, clarity) for one in latents]
