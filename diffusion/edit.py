"""Editing sounds by their latents: with the diffusion model (vary, inpaint, extend), and with
arithmetic alone (interpolate, blend).

All functions take and return a ``Sound``. What an edit leaves alone keeps its latents, so its
waveform is the input's own decode, but for the reach of the decoder's convolutions beyond the
border. ``keep_original`` puts the input's samples back there instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from codec.errors import ConfigError, LacunaError
from codec.latent_space.arithmetic import lerp, slerp, weighted_sum
from codec.model.precision import float32_by_default
from codec.model.sound import Sound, frames_for
from diffusion.generation import DEFAULT_SAMPLING, Generator, Sampling, check_seconds
from diffusion.model.samplers import Progress, silent

FADE_SECONDS = 0.015
"""Cross-fade between the input's samples and new ones."""

SLACK = 1e-6
"""Seconds times a rate may fall just beside the whole number that is meant."""

Region = tuple[float, float]
"""From and to, in seconds."""

MODES = ("spherical", "linear")


@float32_by_default()
def vary(
    model: Generator,
    sound: Sound,
    strength: float = 0.5,
    *,
    sampling: Sampling = DEFAULT_SAMPLING,
    progress: Progress = silent,
) -> Sound:
    """Something like ``sound``: noised to the time ``strength``, and denoised again.

    Meng et al. 2021, "SDEdit: guided image synthesis and editing with stochastic differential
    equations". Strength 0 changes nothing, and 1 forgets all but the length.

    Raises:
        ConfigError: a strength outside 0 to 1, or an unknown label.
        AudioError: more channels than the model has.
    """
    check_strength(strength)
    if strength == 0:
        return sound
    unknown = torch.zeros(sound.latents.shape[2], dtype=torch.bool)
    latents = model.fill(sound.latents, unknown, sampling, start=strength, progress=progress)
    return replace(sound, latents=latents)


def check_strength(strength: float) -> None:
    """Raises ConfigError for a strength outside 0 to 1."""
    if not 0 <= strength <= 1:
        raise ConfigError(f"strength {strength:g}, expected 0 (nothing changes) to 1 (a new sound)")


@float32_by_default()
def inpaint(
    model: Generator,
    sound: Sound,
    regions: Sequence[Region],
    *,
    sampling: Sampling = DEFAULT_SAMPLING,
    progress: Progress = silent,
) -> Sound:
    """Make parts of ``sound`` anew, to fit what is around them.

    All latent frames that a region touches are made; regions may overlap. Without a label the mean
    over time of their latents is that of what is around them: their level and their color. Without
    that half of them were next to silence (docs/GENERATION.md).

    Raises:
        LacunaError: no region, one that ends before it begins, or one that is not in the sound.
        ConfigError: an unknown label.
        AudioError: more channels than the model has.
    """
    if not regions:
        raise LacunaError("no region to make anew; give at least one, from and to in seconds")
    known = torch.ones(sound.latents.shape[2], dtype=torch.bool)
    for begin, end in regions:
        if not 0 <= begin < end <= sound.seconds:
            raise LacunaError(
                f"the region from {begin:g} s to {end:g} s, expected one that ends after it begins "
                f"and lies within the sound's {sound.seconds:g} s"
            )
        known[_span((begin, end), model.codec.frame_rate)] = False
    latents = model.fill(
        sound.latents, known, sampling, progress=progress, fit=sampling.label is None
    )
    return replace(sound, latents=latents)


@float32_by_default()
def extend(
    model: Generator,
    sound: Sound,
    seconds: float,
    *,
    sampling: Sampling = DEFAULT_SAMPLING,
    progress: Progress = silent,
) -> Sound:
    """``sound`` with ``seconds`` more at its end.

    The last frame of ``sound``, or the last two if it ends within a frame, are made anew: they
    were encoded beside silence. Measured with the codec `small` on 10 cuts in recordings, the cut
    moves the last whole frame by 0.39 (root mean square, where latents have unit variance), the
    one before by 0.13, and all others by less. Without a label it has the level and the color of
    what is before it, as with ``inpaint``.

    Raises:
        LacunaError: not a length from 0 to 600 s.
        ConfigError: an unknown label.
        AudioError: more channels than the model has.
    """
    check_seconds(seconds)
    codec = model.codec
    samples = sound.samples + max(1, round(seconds * sound.sample_rate))
    coded, latent_dim, _ = sound.latents.shape
    latents = torch.zeros(coded, latent_dim, frames_for(codec, samples, sound.sample_rate))
    kept = max(0, math.floor(sound.seconds * codec.frame_rate + SLACK) - 1)
    latents[:, :, :kept] = sound.latents[:, :, :kept]
    known = torch.arange(latents.shape[2]) < kept
    longer = replace(sound, samples=samples)
    latents = model.fill(latents, known, sampling, progress=progress, fit=sampling.label is None)
    return replace(longer, latents=latents)


def interpolate(
    first: Sound, second: Sound, count: int = 1, mode: str = "spherical"
) -> list[Sound]:
    """Sounds on the way from ``first`` to ``second``, evenly spaced, both ends left out.

    They are as long as the shorter one and have the sample rate of the first. ``linear`` mixes
    latents; where these have nothing to do with each other they shrink, to 0.7 of their length in
    the middle. ``spherical`` keeps it: in every frame and coded channel the direction turns evenly
    (Shoemake 1985, "Animating rotation with quaternion curves") and the length changes evenly.

    Raises:
        LacunaError: no count, another mode, or sounds with different numbers of channels.
    """
    if count < 1:
        raise LacunaError(f"a count of {count}, expected 1 or more")
    if mode not in MODES:
        raise ConfigError(f"unknown mode '{mode}'; expected one of: {', '.join(MODES)}")
    mix = slerp if mode == "spherical" else lerp
    shape, (a, b) = _alike([first, second])
    return [
        replace(shape, latents=mix(a, b, number / (count + 1))) for number in range(1, count + 1)
    ]


def blend(terms: Sequence[tuple[float, Sound]]) -> Sound:
    """The sum of latents, each times a weight: A - B + C is [(1, A), (-1, B), (1, C)].

    As long as the shortest, with the sample rate of the first.

    Raises:
        LacunaError: no terms, or sounds with different numbers of channels.
    """
    if not terms:
        raise LacunaError("nothing to blend; give at least one sound")
    shape, latents = _alike([sound for _, sound in terms])
    weights = [weight for weight, _ in terms]
    return replace(shape, latents=weighted_sum(list(zip(weights, latents, strict=True))))


def _alike(sounds: Sequence[Sound]) -> tuple[Sound, list[Tensor]]:
    """The first sound, cut to the shortest, and all latents, cut likewise."""
    channels = sorted({sound.channels for sound in sounds})
    if len(channels) > 1:
        raise LacunaError(
            f"sounds with {' and '.join(map(str, channels))} channels cannot be mixed; "
            f"give all the same number"
        )
    rate = sounds[0].sample_rate
    samples = max(1, min(sound.samples * rate // sound.sample_rate for sound in sounds))
    frames = min(sound.latents.shape[2] for sound in sounds)
    return replace(sounds[0], samples=samples), [sound.latents[:, :, :frames] for sound in sounds]


def keep_original(
    original: Iterable[np.ndarray],
    decoded: Iterable[np.ndarray],
    regions: Sequence[Region],
    sample_rate: int,
) -> Iterator[np.ndarray]:
    """The input's samples outside the regions, ``decoded`` inside.

    Cross-fades of 15 ms lie outside, ending at the borders; they are linear because there the
    decoded sound is meant to equal the input.

    Args:
        original, decoded: pieces (channels, any length) at ``sample_rate``. ``decoded`` may be
            longer, with a region there.

    Yields:
        Pieces like those of ``decoded``.
    """
    fade = round(FADE_SECONDS * sample_rate)
    spans = [_span(region, sample_rate) for region in regions]
    source = iter(original)
    waiting: np.ndarray | None = None
    position = 0
    for piece in decoded:
        samples = piece.shape[1]
        waiting = np.zeros((len(piece), 0), np.float32) if waiting is None else waiting
        while waiting.shape[1] < samples:
            more = next(source, np.zeros((len(piece), samples), np.float32))
            waiting = np.concatenate([waiting, more], axis=1)
        time = np.arange(position, position + samples)
        distance = np.min(
            [np.maximum(np.maximum(s.start - time, time - (s.stop - 1)), 0) for s in spans],
            axis=0,
        )
        weight = np.clip(1 - distance / (fade + 1), 0, 1).astype(np.float32)
        yield weight * piece + (1 - weight) * waiting[:, :samples]
        waiting = waiting[:, samples:]
        position += samples


def _span(region: Region, rate: float) -> slice:
    """Everything that a region touches, of samples or frames at ``rate``."""
    begin, end = region
    return slice(math.floor(begin * rate + SLACK), math.ceil(end * rate - SLACK))
