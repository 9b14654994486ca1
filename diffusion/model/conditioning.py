"""What a diffusion model is conditioned on beside noisy latents, and how parts are left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from diffusion.model.config import DiffusionConfig


@dataclass(frozen=True)
class Conditioning:
    """A batch of conditions; all tensors lie on the model's device."""

    label: Tensor
    """(batch,) int64: 0 = no label, i = the checkpoint's ``labels[i - 1]``."""
    known: Tensor
    """(batch, coded_channels, latent_dim, frames): latents to keep; zero where ``mask`` is 0."""
    mask: Tensor
    """(batch, frames) float32: 1 where ``known`` is given (inpainting), else 0."""
    present: Tensor
    """(batch, coded_channels) float32: 1 where the channel exists; mono is [1, 0]."""
    dequantised: Tensor
    """(batch, coded_channels, latent_dim, frames): latents as a file says them, to be denoised;
    zero where ``quantised`` is 0."""
    log_step: Tensor
    """(batch,) float32: log2 of their quantiser's step in posterior sigmas."""
    quantised: Tensor
    """(batch,) float32: 1 where ``dequantised`` and ``log_step`` are given, else 0."""

    @staticmethod
    def none(
        batch: int, config: DiffusionConfig, frames: int, device: torch.device | str = "cpu"
    ) -> Conditioning:
        """Nothing given, all channels present."""
        shape = (batch, config.coded_channels, config.latent_dim, frames)
        return Conditioning(
            label=torch.zeros(batch, dtype=torch.int64, device=device),
            known=torch.zeros(shape, device=device),
            mask=torch.zeros(batch, frames, device=device),
            present=torch.ones(batch, config.coded_channels, device=device),
            dequantised=torch.zeros(shape, device=device),
            log_step=torch.zeros(batch, device=device),
            quantised=torch.zeros(batch, device=device),
        )

    def unconditional(self) -> Conditioning:
        """The same without label: the other side of classifier-free guidance.

        All else stays: it says what is asked, not how strongly.
        """
        return replace(self, label=torch.zeros_like(self.label))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Conditioning:
        return self._each(lambda value: value.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Conditioning:
        return self._each(lambda value: value.pin_memory())

    def followed_by(self, other: Conditioning) -> Conditioning:
        """Both batches in one."""
        return Conditioning(
            **{
                field.name: torch.cat([getattr(self, field.name), getattr(other, field.name)])
                for field in fields(self)
            }
        )

    def _each(self, change: Callable[[Tensor], Tensor]) -> Conditioning:
        return Conditioning(
            **{field.name: change(getattr(self, field.name)) for field in fields(self)}
        )


def drop(conditioning: Conditioning, label_drop: Tensor, mask_drop: Tensor) -> Conditioning:
    """Leave conditions out, item by item, so that training teaches the model to do without.

    Args:
        label_drop, mask_drop: (batch,) bool; True takes the label, or mask and known latents, away.
    """
    kept = (~mask_drop).to(conditioning.mask.dtype)
    return replace(
        conditioning,
        label=conditioning.label.masked_fill(label_drop, 0),
        known=conditioning.known * kept[:, None, None, None],
        mask=conditioning.mask * kept[:, None],
    )
