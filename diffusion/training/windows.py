"""Random windows of stored latents, each fixed by (seed, index) alone.

As in codec/training/data.py nothing keeps a random state, so that resumed and multi-process runs
repeat exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from codec.errors import CheckpointError, ConfigError
from codec.training.data import item_rng
from diffusion.latents.sets import Clip, LatentSet
from diffusion.model import flow
from diffusion.model.conditioning import Conditioning, drop
from diffusion.model.config import DiffusionConfig
from diffusion.training.config import WindowConfig
from diffusion.training.quantised import Quantised, Quantiser

CHOICE, NOISE = 0, 1  # purposes of random numbers

NEAR_SHARE = 0.75
"""Share of the windows to be denoised; the others have the times of generation, to 1, where one
evaluation gives the mean of the latents under what the file says."""


@dataclass(frozen=True)
class Windows:
    """A batch. ``x`` and ``noise`` are (batch, coded_channels, latent_dim, frames)."""

    x: Tensor
    """Latents drawn from the posterior, or its means where these were quantised; zero in absent
    channels and beyond the clip's end."""
    noise: Tensor
    """Unit Gaussian, zero where ``x`` holds nothing."""
    real: Tensor
    """(batch, coded_channels, 1, frames): 1 where there is something to model, else 0."""
    t: Tensor
    """(batch,): in (0, 1), the times to train at."""
    conditioning: Conditioning

    def to(self, device: torch.device) -> Windows:
        """On the device, without waiting until they are there."""
        moved = {name: value.to(device, non_blocking=True) for name, value in vars(self).items()}
        return Windows(**moved)

    def pin_memory(self) -> Windows:
        return Windows(**{name: value.pin_memory() for name, value in vars(self).items()})


@dataclass(frozen=True)
class _Choice:
    """One item before it becomes part of a batch."""

    x: Tensor
    real: Tensor
    uniform: float
    label: int
    given: np.ndarray
    drops: tuple[bool, bool]
    quantised: Quantised | None
    near: bool
    """The time is drawn near what the quantiser's step implies."""


class WindowSource:
    """A set of stored latents from which windows are cut.

    A clip is drawn by its length, short ones as if they filled a window, and by how rare its
    label is (``balance``); every window in it alike. A window longer than its clip is padded;
    padding is left out of the loss, and data and
    noise are both exactly zero there, which real noisy latents never are: the network can see
    that nothing is there.
    """

    def __init__(
        self,
        latents: LatentSet,
        model: DiffusionConfig,
        config: WindowConfig,
        labels: tuple[str, ...],
        *,
        seed: int,
        batch_size: int,
        quantiser: Quantiser | None = None,
    ) -> None:
        """``quantiser`` is needed where the config has a ``denoise_share``."""
        index = latents.index
        expected, stored = ((o.coded_channels, o.latent_dim) for o in (model, index))
        if expected != stored:
            raise ConfigError(
                f"the config '{model.name}' models {expected[0]} coded channels of "
                f"{expected[1]} latents, those in '{latents.folder}' have {stored[0]} of "
                f"{stored[1]}; set coded_channels and latent_dim in [model]"
            )
        if not latents.clips:
            raise CheckpointError(f"there are no clips in '{latents.folder}' to draw windows from")
        self.latents = latents
        self.model = model
        self.config = config
        self.seed = seed
        self.batch_size = batch_size
        self._quantiser = quantiser
        assert quantiser is not None or not config.denoise_share
        self._label = {label: number for number, label in enumerate(labels, 1)}
        self._cumulative = _cumulative(latents.clips, model.window_frames, config.balance)

    def batch(self, indices: Iterable[int]) -> Windows:
        """Items ``indices``; each is the same in whatever batch it is asked for."""
        indices = list(indices)
        choices = [self._choose(index) for index in indices]
        x, real = (torch.stack([getattr(c, name) for c in choices]) for name in ("x", "real"))
        shape = x.shape[1:]
        noise = torch.stack([torch.from_numpy(self._normal(i, shape)) for i in indices])
        given = torch.from_numpy(np.stack([c.given for c in choices])) * real.amax(dim=(1, 2))
        conditioning = replace(
            Conditioning.none(len(indices), self.model, shape[2]),
            label=torch.tensor([c.label for c in choices]),
            known=x * given[:, None, None],
            mask=given,
            present=real[:, :, 0, 0],
        )
        uniform = torch.tensor([c.uniform for c in choices])
        t = flow.training_times(uniform)
        for item, choice in enumerate(choices):
            if choice.quantised is not None:
                choice.quantised.tell(conditioning, item)
                if choice.near:
                    t[item] = flow.times_near(choice.quantised.level, uniform[item])
        drops = torch.tensor([c.drops for c in choices])
        return Windows(
            x=x,
            noise=noise * real,
            real=real,
            t=t,
            conditioning=drop(conditioning, *drops.unbind(1)),
        )

    def _normal(self, index: int, shape: tuple[int, ...]) -> np.ndarray:
        return item_rng(self.seed, index, NOISE).standard_normal(shape, dtype=np.float32)

    def _choose(self, index: int) -> _Choice:
        model, config = self.model, self.config
        rng = item_rng(self.seed, index, CHOICE)
        number = int(np.searchsorted(self._cumulative, rng.random(), side="right"))
        clip = self.latents.clips[min(number, len(self.latents.clips) - 1)]
        start = int(rng.integers(max(clip.frames - model.window_frames, 0) + 1))
        mean, logvar = self.latents.posterior(clip, start, model.window_frames)
        normal = torch.from_numpy(rng.standard_normal(mean.shape, dtype=np.float32))
        denoise = bool(rng.random() < config.denoise_share)
        # Files hold means.
        x = mean if denoise else mean + (0.5 * logvar).exp() * normal

        swap, alone = rng.random() < config.swap_share, rng.random() < config.mono_share
        if len(x) == 2:
            if swap and self.latents.index.left_right:
                x = x.flip(0)
            if alone:
                x = x[:1]
        shape = (model.coded_channels, model.latent_dim, model.window_frames)
        coded, _, frames = x.shape
        whole, real = torch.zeros(shape), torch.zeros(shape[0], 1, shape[2])
        whole[:coded, :, :frames] = x
        real[:coded, :, :frames] = 1

        # Stratified over the batch (Kingma et al. 2021, "Variational diffusion models", app. I.1):
        # an optimiser step sees all noise levels, and the gradient varies less.
        uniform = (index % self.batch_size + rng.random()) / self.batch_size
        given = given_frames(rng, frames, model.window_frames)
        shares = (config.label_drop, 1 - config.mask_share)
        label_drop, mask_drop = (bool(rng.random() < share) or denoise for share in shares)
        quantised = None
        if denoise:
            assert self._quantiser is not None
            quantised = self._quantiser.draw(x, rng)
        near = bool(rng.random() < NEAR_SHARE)
        return _Choice(
            x=whole,
            real=real,
            uniform=min(max(uniform, 1e-5), 1 - 1e-5),
            label=self._label.get(clip.label, 0),
            given=given,
            drops=(label_drop, mask_drop),
            quantised=quantised,
            near=near,
        )


def _cumulative(clips: Sequence[Clip], window_frames: int, balance: float) -> np.ndarray:
    """The clips' cumulative shares of the windows. Clips without a label count as one label."""
    lengths = np.array([max(clip.frames, window_frames) for clip in clips], np.float64)
    _, number = np.unique([clip.label for clip in clips], return_inverse=True)
    shares = lengths * np.bincount(number, lengths)[number] ** -balance
    return np.cumsum(shares) / shares.sum()


def given_frames(rng: np.random.Generator, frames: int, window: int) -> np.ndarray:
    """A random inpainting task: (window,) float32, 1 in frames that are given.

    A quarter each: what comes before is given, what comes after, all around one gap, all around
    several gaps. At least one of the ``frames`` real ones is left to be found.
    """
    given = np.zeros(window, np.float32)
    kind = rng.integers(4)
    first, second = np.sort(rng.integers(0, frames, 2))
    if kind == 0:
        given[:first] = 1
    elif kind == 1:
        given[second + 1 : frames] = 1
    elif kind == 2:
        given[:frames] = 1
        given[first : second + 1] = 0
    else:
        given[:frames] = 1
        for _ in range(rng.integers(2, 5)):
            length = int(rng.integers(1, frames // 4 + 2))
            gap = int(rng.integers(0, max(frames - length, 0) + 1))
            given[gap : gap + length] = 0
    return given
