"""Arithmetic of standardised latents, (..., latent_dim, frames), and of pooled ones.

What these mean in this codec: every latent has variance 1, and the first ones of the models that
ship say the levels of bands, as linear maps of logarithms. So ``lerp`` fades levels in decibels,
and adding a pooled vector is an equalizer of whatever the latents say. Latents that follow a
waveform carry phase; sums of those of different sounds are heard as noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def lerp(a: Tensor, b: Tensor, weight: float) -> Tensor:
    """The straight line from ``a`` (weight 0) to ``b`` (weight 1), of one shape.

    Where both have nothing to do with each other their mixture is shorter than they are, 0.7 of
    their length in the middle: a sound that is more of an average than either.
    """
    return torch.lerp(a, b, weight)


def slerp(a: Tensor, b: Tensor, weight: float) -> Tensor:
    """The arc from ``a`` to ``b``, (..., latent_dim, frames): each frame of each item by itself.

    The direction turns evenly (Shoemake 1985, "Animating rotation with quaternion curves", section
    3.3) and the length changes evenly, so that the mixture is as far from the mean of all sounds
    as both are.
    """
    length_a, length_b = (x.norm(dim=-2, keepdim=True).clamp(min=1e-6) for x in (a, b))
    unit_a, unit_b = a / length_a, b / length_b
    angle = (unit_a * unit_b).sum(dim=-2, keepdim=True).clamp(-1, 1).acos()
    # Equal and opposite directions define no arc: there, a straight line.
    arc = angle.sin() > 1e-3
    sine = torch.where(arc, angle.sin(), 1)
    from_a = torch.where(arc, ((1 - weight) * angle).sin() / sine, 1 - weight)
    from_b = torch.where(arc, (weight * angle).sin() / sine, weight)
    return (from_a * unit_a + from_b * unit_b) * torch.lerp(length_a, length_b, weight)


def weighted_sum(terms: Sequence[tuple[float, Tensor]]) -> Tensor:
    """Latents of one shape, each times a weight: A - B + C is [(1, A), (-1, B), (1, C)].

    Weights that sum to 1 stay among sounds of usual levels; others leave them.
    """
    return torch.stack([weight * latents for weight, latents in terms]).sum(dim=0)


def pooled(latents: Tensor) -> Tensor:
    """The mean over time, (..., latent_dim, frames) -> (..., latent_dim).

    What a sound is made of, without when.
    """
    return latents.mean(dim=-1)


def direction(to: Sequence[Tensor], away: Sequence[Tensor]) -> Tensor:
    """What sounds ``to`` have on average that sounds ``away`` have not: (..., latent_dim).

    The difference of the means of pooled latents (Larsen et al. 2016, "Autoencoding beyond pixels
    using a learned similarity metric", section 4.2, "visual attribute vectors"). Each of
    (..., latent_dim, frames), of any number of frames.
    """
    there, here = (torch.stack([pooled(x) for x in sounds]).mean(dim=0) for sounds in (to, away))
    return there - here


def shifted(latents: Tensor, by: Tensor, strength: float = 1.0) -> Tensor:
    """A pooled vector (..., latent_dim) added to every frame of (..., latent_dim, frames)."""
    return latents + strength * by[..., None]
