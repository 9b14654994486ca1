"""Making latents with a diffusion model: whole sounds, and the missing parts of given ones.

The model sees at most ``window_frames`` frames at once. Longer sounds are made window by window,
and each window is given what is known in it already, as in inpainting:

    known      |#####|                                  given, or made by earlier windows
    window 1   |#####~~~~~~~~~~~~~|
    window 2              |#######~~~~~~~~~~~~~|        the overlap is what carries on
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
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
from diffusion.model.samplers import SAMPLERS, Progress, guided, silent, time_grid
from diffusion.model.shipped import DEFAULT_MODEL, find_checkpoint

MAX_SECONDS = 600.0
"""Nothing longer is made at once: a slip of the keyboard must not take an hour."""

MAX_GUIDANCE = 30.0
"""Far beyond use: the difference that the label makes, thirty times."""

OVERLAP = 4
"""A window shares at least a 4th of its frames with what is known on either side of a gap."""


@dataclass(frozen=True)
class Sampling:
    """How latents are drawn: the same values give the same sound on the same machine.

    Raises:
        ConfigError: a value out of range.
    """

    label: str | None = None
    """What it is to sound like, one of the model's labels."""
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
        self.max_channels = config.coded_channels * codec.config.channels
        """Channels of a waveform: 2, or 1 for a model of mono sounds."""
        self._transformer = loaded.transformer.to(codec.device)

    @torch.no_grad()
    @float32_by_default()
    def fill(
        self,
        latents: Tensor,
        known: Tensor,
        sampling: Sampling,
        start: float = 1.0,
        progress: Progress = silent,
    ) -> Tensor:
        """Make the frames that are not known, window by window, from left to right.

        Known frames enter in two ways: the model gets them beside the mask, and its estimate of
        them is replaced by what they are in every step (``guided``), so that x_t around a border
        is noised from one continuous sequence. They come back unchanged.

        Each window draws its own noise, on the CPU, from one generator seeded with ``seed``.

        The model is not told how long the sound is: in the data that says from which collection a
        recording comes, and a piece of music of 6 s came out as bright and dense as recordings of
        that length are, which are noises (docs/GENERATION.md).

        Args:
            latents: (coded_channels, latent_dim, frames); what is not known matters only if
                ``start`` is below 1.
            known: (frames,) bool.
            start: the time to noise the unknown frames to, above 0 and at most 1; 1 forgets them.
            progress: called with the steps done and the steps in all windows.

        Returns:
            Latents of the same shape, on the CPU.

        Raises:
            ConfigError: a label that the model does not know.
            AudioError: more channels than the model has.
            LacunaError: the result is not finite.
        """
        device, config = self.codec.device, self.config
        coded, _, frames = latents.shape
        if coded > config.coded_channels:
            raise AudioError(
                f"the sound has {coded} coded channels, and the diffusion model '{config.name}' "
                f"makes at most {config.coded_channels}; mix it down first"
            )
        label = self.label_index(sampling.label)
        made = torch.zeros(config.coded_channels, config.latent_dim, frames, device=device)
        made[:coded] = latents.to(device)
        present = (torch.arange(config.coded_channels, device=device) < coded).float()
        known = known.to(device, torch.bool, copy=True)
        times = time_grid(sampling.steps, start)
        rng = torch.Generator().manual_seed(sampling.seed)
        windows = plan_windows(known, config.window_frames)
        for number, (first, last) in enumerate(windows):
            given, window = known[first:last], made[None, :, :, first:last]
            conditioning = replace(
                Conditioning.none(1, config, last - first, device),
                label=torch.tensor([label], device=device),
                known=window * given,
                mask=given[None].float(),
                present=present[None],
            )
            guidance = sampling.guidance if label else 1.0
            denoise = guided(self._transformer, conditioning, guidance)
            noise = torch.randn(window.shape, generator=rng).to(device)
            x = flow.noised(window, noise, torch.tensor([start], device=device))
            done = partial(_report, progress, number * sampling.steps, len(windows))
            x = SAMPLERS[sampling.sampler](denoise, x, times, done)
            made[:, :, first:last] = torch.where(given, window, x)[0]
            known[first:last] = True
        if not torch.isfinite(made).all():
            raise LacunaError(
                f"the diffusion model '{config.name}' made values that are not finite; try a "
                f"guidance below {sampling.guidance:g}, or more than {sampling.steps} steps"
            )
        return made[:coded].cpu()

    def label_index(self, label: str | None) -> int:
        """The number of a label in ``Conditioning``; 0 for none.

        Raises:
            ConfigError: an unknown label; the message lists the known ones.
        """
        if label is None:
            return 0
        if label not in self.labels:
            raise ConfigError(
                f"the diffusion model '{self.config.name}' does not know the label '{label}'; "
                f"expected one of: {', '.join(self.labels) or 'none, it was trained without'}"
            )
        return 1 + self.labels.index(label)


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


def plan_windows(known: Tensor, window: int) -> list[tuple[int, int]]:
    """Spans (first, last) of at most ``window`` frames in which everything unknown gets made.

    A gap that fits is made in one piece, in the middle of its window. A longer one is made from
    left to right, and what remains for the last window is long enough to meet what follows.

    Args:
        known: (frames,) bool.
    """
    known = known.cpu().clone()
    frames, overlap = len(known), window // OVERLAP
    windows = []
    while not known.all():
        first = int((~known).nonzero()[0])
        following = known[first:].nonzero()
        last = first + int(following[0]) if len(following) else frames
        left = overlap if first > 0 else 0
        right = overlap if last < frames else 0
        gap = last - first
        if gap <= window - left - right:
            start = max(0, min(first - (window - gap) // 2, frames - window))
            stop = min(start + window, frames)
        else:
            stop = first + min(window - left, gap - right)
            start = max(0, stop - window)
        windows.append((start, stop))
        known[start:stop] = True
    return windows


def check_seconds(seconds: float) -> None:
    """Raises LacunaError for a length that cannot be made."""
    if not 0 < seconds <= MAX_SECONDS:
        raise LacunaError(
            f"{seconds:g} seconds to make, expected more than 0 and at most {MAX_SECONDS:g}"
        )


@float32_by_default()
def generate(
    model: Generator,
    seconds: float = 10.0,
    *,
    channels: int | None = None,
    sampling: Sampling = DEFAULT_SAMPLING,
    prior: bool = False,
    progress: Progress = silent,
) -> Sound:
    """Make a new sound, at the codec's sample rate.

    Args:
        channels: 1 or 2; without it as many as the model has.
        prior: draw latents from the unit Gaussian, without diffusion: what the codec alone,
            taken as a variational autoencoder, gives.
        progress: called with the steps done and all steps.

    Raises:
        LacunaError: no length from 0 to 600 s, or channels that the model does not have.
        ConfigError: a label that the model does not know.
    """
    check_seconds(seconds)
    channels = model.max_channels if channels is None else channels
    if not 1 <= channels <= model.max_channels:
        raise LacunaError(
            f"{channels} channels, expected 1 to {model.max_channels}, what the diffusion model "
            f"'{model.config.name}' makes"
        )
    model.label_index(sampling.label)
    codec = model.codec
    samples = max(1, round(seconds * codec.sample_rate))
    frames = frames_for(codec, samples, codec.sample_rate)
    shape = (codec.coded_channels(channels), codec.latent_dim, frames)
    if prior:
        latents = torch.randn(shape, generator=torch.Generator().manual_seed(sampling.seed))
    else:
        unknown = torch.zeros(frames, dtype=torch.bool)
        latents = model.fill(torch.zeros(shape), unknown, sampling, progress=progress)
    return Sound(latents, codec.sample_rate, channels, samples)
