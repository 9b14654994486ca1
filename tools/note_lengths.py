"""Where do made notes become too short? Partials of latents that were changed on the way.

    python tools/note_lengths.py --latents latents_dev --labels notes_piano,notes_guitar

For each label, in the first channel: clear partials that begin in a second, frames of 46 ms that
they last, median level, and the root mean square of latents, all decoded as files are:

- of recordings' latents (posterior means), decoded as they are, and with noise of the posterior;
- of the same, noised to a time and carried back: what is decided above that time is the network's;
- of latents made from nothing: from white noise with the sampler ending in an early estimate, with
  more steps, without guidance, and as `lacuna generate` makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

import cyclopts
import numpy as np
import torch
from cyclopts import Parameter
from judge_labels import Heard
from torch import Tensor

from codec.process import set_threads
from diffusion import generation
from diffusion.generation import Generator, Sampling, load
from diffusion.latents.sets import LatentSet
from diffusion.model.samplers import time_grid

SIGMAS = (0.5, 1.0)
TIMES = (0.3, 0.8, 0.9, 0.95)
ENDS = (0.15, 0.31)


def windows(
    latents: LatentSet, label: str, count: int, frames: int, coded_channels: int | None
) -> Tensor:
    """Windows of a label's recordings, by turns: (count, coded_channels, latent_dim, frames).

    Of those with as many channels as its sounds are made in, or as the first has.

    Raises:
        ValueError: there are none.
    """
    rng = np.random.default_rng(0)
    long = [clip for clip in latents.clips if clip.label == label and clip.frames >= frames]
    channels = coded_channels or (long[0].coded_channels if long else 0)
    clips = [clip for clip in long if clip.coded_channels == channels]
    if not clips:
        raise ValueError(
            f"no recording of '{label}' has {frames} frames or more and {channels or 'any'} "
            f"coded channels; name other labels"
        )
    chosen = [clips[number % len(clips)] for number in range(count)]
    starts = [int(rng.integers(clip.frames - frames + 1)) for clip in chosen]
    pairs = zip(chosen, starts, strict=True)
    return torch.stack([latents.posterior(clip, start, frames)[0] for clip, start in pairs])


def ending(last: float) -> Callable[[int, float], Tensor]:
    """A ``time_grid`` that goes from ``last`` to 0 at once, by the network's estimate there."""

    def grid(steps: int, start: float = 1.0) -> Tensor:
        times = time_grid(steps, start)
        return torch.cat([times[times > 1.2 * last], times.new_tensor([last, 0.0])])

    return grid


def white() -> AbstractContextManager[object]:
    """Meanwhile sounds are made from white noise."""
    return patch.object(generation, "colored", lambda noise, slow: noise)


def made(model: Generator, sampling: Sampling, like: Tensor) -> Tensor:
    """As many clips as ``like`` has, with as many coded channels and frames."""
    nothing_known = torch.zeros(like.shape[3], dtype=torch.bool)
    return model.fill_together(torch.zeros_like(like), nothing_known, sampling)


def main(
    *,
    latents: Annotated[Path, Parameter(help="What `lacuna latents` made.")],
    labels: Annotated[str, Parameter(help="Which, with commas.")] = "notes_piano,notes_guitar",
    count: Annotated[int, Parameter(help="Windows, and made clips, of a label.")] = 8,
    threads: int = 1,
) -> None:
    """Print a table."""
    set_threads(threads)
    model, stored = load(), LatentSet.open(latents)
    frames = model.config.window_frames
    sigma = torch.tensor(stored.index.statistics.sigma)[:, None]
    print("| label | latents | number | partials a second | frames | level (dBFS) | RMS |")
    print("|---" * 7 + "|")

    def show(label: str, what: str, z: Tensor) -> None:
        sounds = [model.codec.decode(one[None])[0, 0] for one in z]
        size = float(z.square().mean().sqrt())
        print(f"| {label} | {what} | {Heard.of(sounds)} | {size:.2f} |", flush=True)

    for label in labels.split(","):
        real = windows(stored, label, count, frames, model.profile(label).coded_channels)
        show(label, "of recordings", real)
        noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
        for share in SIGMAS:
            show(label, f"with {share:g} posterior sigma", real + share * sigma * noise)
        usual, unknown = Sampling(label), torch.zeros(frames, dtype=torch.bool)
        with white():
            for t in TIMES:
                back = model.fill_together(real + sigma * noise, unknown, usual, start=t)
                show(label, f"from t = {t:g}", back)
            for last in ENDS:
                with patch.object(generation, "time_grid", ending(last)):
                    show(label, f"the estimate at t = {last:g}", made(model, usual, real))
            for what, changed in (("24 steps", {"steps": 24}), ("no guidance", {"guidance": 1.0})):
                sampling = replace(usual, **changed)
                show(label, f"white noise, {what}", made(model, sampling, real))
            show(label, "white noise", made(model, usual, real))
        show(label, "as it is", made(model, usual, real))


if __name__ == "__main__":
    cyclopts.run(main)
