"""The loss at the codec's output: reconstruction, and discriminators that it must deceive.

``discriminators.py`` has the networks and the formulas; here is how they take part in a step.

Recording and reconstruction go through the discriminators once. The same graph then gives two
gradients: that of the codec's adversarial terms at its output, and that of the discriminators' own
loss at their weights. So the codec's graph ends where its output begins, and its gradient there,
from all terms together, is handed on by :class:`GivenGradient`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from codec.audio.waveform import to_mid_side
from codec.metrics.distances import si_sdr
from codec.metrics.mel import mel_distance
from codec.network.float32 import in_float32
from codec.training.config import AdversarialConfig, TrainingConfig
from codec.training.discriminators import (
    Discriminators,
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
    rms,
)
from codec.training.kl import reduce_mean
from codec.training.losses import QUIET, ReconstructionLoss
from codec.training.optimiser import adamw, load_optimizer, optimizer_tensors, skip_unless
from codec.training.run_folder import tensors_below, tensors_named
from codec.training.task import Logs, StepLoss


@dataclass(frozen=True)
class Verdict:
    """What discriminators say of an estimate of shape (batch, channels, time)."""

    loss: Tensor
    """The codec's adversarial loss."""
    gradient: Tensor
    """The gradient of ``loss`` at the estimate."""
    own_loss: Tensor
    """The discriminators' own, to be handed to :meth:`Adversary.backward`."""
    logs: Logs


class Adversary:
    """The discriminators and their optimiser: an ``Opponent`` of the training loop.

    Not wrapped by Accelerate: the gradients of these small networks are averaged over processes in
    one piece, and a gradient scaler cannot serve two optimisers that step at different times.
    """

    def __init__(self, config: AdversarialConfig, device: torch.device) -> None:
        self.config = config
        self.module = Discriminators(config).to(device)
        self._parameters = list(self.module.parameters())
        self._optimizer = adamw(self._parameters, config.learning_rate, config.betas)

    def starts(self, step: int) -> bool:
        return step >= self.config.start_step

    def verdict(self, estimate: Tensor, target: Tensor, step: int) -> Verdict:
        """Both through the discriminators, once; two of (batch, channels, time)."""
        config = self.config
        leaf = estimate.detach().requires_grad_()
        with _no_half_floats(estimate.device):
            real, fake = (self.module(rows) for rows in _rows(leaf, target))
        adversarial = adversarial_loss(fake)
        matching = feature_matching_loss(real, fake)
        ramp = min(1.0, (step - config.start_step + 1) / max(1, config.ramp_steps))
        loss = ramp * (config.weight * adversarial + config.feature_matching * matching)
        (gradient,) = torch.autograd.grad(loss, leaf, retain_graph=True)
        own_loss = discriminator_loss(real, fake)
        logs: Logs = {
            "adversarial": adversarial.detach(),
            "feature_matching": matching.detach(),
            "discriminator": own_loss.detach(),
        }
        return Verdict(loss.detach(), gradient, own_loss, logs)

    @torch.inference_mode()
    def judge(self, estimate: Tensor, target: Tensor) -> dict[str, float]:
        """Values to log at a validation."""
        real, fake = (self.module(rows) for rows in _rows(estimate, target))
        return {
            "adversarial": float(adversarial_loss(fake)),
            "feature_matching": float(feature_matching_loss(real, fake)),
            "discriminator": float(discriminator_loss(real, fake)),
        }

    # -- what the loop asks for ------------------------------------------------------------

    def backward(self, loss: Tensor) -> None:
        loss.backward(inputs=self._parameters)

    def step(self, rate: float) -> Tensor:
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if not gradients:
            return torch.ones((), dtype=torch.bool, device=self._parameters[0].device)
        flat = reduce_mean(torch.cat([gradient.flatten() for gradient in gradients]))
        norm = flat.norm()
        finite = torch.isfinite(norm)
        flat = flat * (self.config.clip_norm / norm.clamp(min=self.config.clip_norm))
        pieces = flat.split([gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.learning_rate * rate
        skip_unless(finite, self._optimizer)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return finite

    def state_dict(self) -> dict[str, Tensor]:
        return {
            **tensors_named("module.", self.module.state_dict()),
            **tensors_named("optimizer.", optimizer_tensors(self._optimizer)),
        }

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        self.module.load_state_dict(tensors_below(state_dict, "module."))
        load_optimizer(self._optimizer, tensors_below(state_dict, "optimizer."))


class WaveformLoss:
    """Reconstruction terms and, with a weight above 0, the adversarial ones.

    ``score``, by which a run chooses its best weights, is the reconstruction loss alone. What
    discriminators say cannot be compared from step to step, since they are trained on; so a score
    with them would choose by how weak they are. It is also the strictest choice: adversarial
    training trades distance for likeness, and only weights that have lost nothing in distance
    against those of before are called better. ``model.safetensors`` is the newest, whatever its
    score: to prefer it is for ears, or for a measure that has never been trained on.
    """

    def __init__(self, config: TrainingConfig, sample_rate: int, device: torch.device) -> None:
        self.config = config.loss
        self.sample_rate = sample_rate
        self.reconstruction = ReconstructionLoss(config.loss, sample_rate).to(device)
        adversarial = config.adversarial
        self.opponent = Adversary(adversarial, device) if adversarial.weight > 0 else None

    def __call__(self, estimate: Tensor, target: Tensor, step: int) -> StepLoss:
        """The loss of a step; two of (batch, channels, time)."""
        opponent = self.opponent
        against = opponent is not None and opponent.starts(step)
        output = estimate.detach().requires_grad_() if against else estimate
        # In bfloat16 the loss' own filters would hiss at -50 dB.
        with in_float32(estimate):
            terms = self.reconstruction(output, target)
            loss = terms.total(self.config)
        logs: Logs = {
            "stft": terms.stft.detach(),
            "mel": terms.mel.detach(),
            "l1": terms.l1.detach(),
            "low_band": terms.low_band.detach(),
        }
        if opponent is None or not against:
            return StepLoss(loss, logs)
        (gradient,) = torch.autograd.grad(loss, output)
        verdict = opponent.verdict(estimate, target, step)
        of_reconstruction, of_discriminators = (
            x.flatten(1).norm(dim=1) for x in (gradient, verdict.gradient)
        )
        share = of_discriminators / (of_reconstruction + of_discriminators).clamp(min=1e-20)
        logs |= {**verdict.logs, "adversarial_share": share.mean()}
        total = GivenGradient.apply(
            estimate, loss.detach() + verdict.loss, gradient + verdict.gradient
        )
        return StepLoss(total, logs, verdict.own_loss)

    def validate(self, estimate: Tensor, target: Tensor) -> dict[str, float]:
        """Terms and distances to log, with the ``score``; two of (batch, channels, time)."""
        terms = self.reconstruction(estimate, target)
        decoded, original = (x.reshape(-1, x.shape[-1]) for x in (estimate, target))
        mel = float(mel_distance(decoded, original, self.sample_rate).mean())
        return {
            "score": float(terms.total(self.config)),
            "mel_distance": mel,
            "stft": float(terms.stft),
            "l1": float(terms.l1),
            "low_band": float(terms.low_band),
            "si_sdr": float(si_sdr(decoded, original).median()),
            **({} if self.opponent is None else self.opponent.judge(estimate, target)),
        }


class GivenGradient(torch.autograd.Function):
    """A scalar whose gradient at ``x`` is known already; of ``x``, the scalar and the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return outer[0] * gradient, None, None


def _rows(estimate: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Target and estimate as the discriminators hear them: rows (see losses.py) of unit power.

    Both by the level of the target, so that quiet rows are judged like loud ones, and a wrong
    level still gives itself away.
    """
    time = target.shape[-1]
    y = to_mid_side(target).reshape(-1, time)
    level = rms(y, QUIET)
    return y / level, to_mid_side(estimate).reshape(-1, time) / level


def _no_half_floats(device: torch.device) -> torch.autocast:
    """The autocast in force, bfloat16 or none; float16 would need a gradient scaler of its own."""
    half = torch.float16
    allowed = torch.is_autocast_enabled(device.type)
    allowed = allowed and torch.get_autocast_dtype(device.type) != half
    return torch.autocast(device.type, torch.bfloat16, enabled=allowed)
