"""A loss for decoders that draw: the energy distance between log spectra.

    d(x, y1) + d(x, y2) - d(y1, y2)

with two draws y1, y2 of the decoder from the same latents, which differ in their noise (Gritsenko
et al. 2020, "A spectral energy distance for parallel speech synthesis", eq. 5). Without the last
term a decoder does best by making no noise at all: any noise differs from the recording's. With
it, it does best by drawing from the distribution that the recording was drawn from.

Log spectra say what is typical, and not how much there is in all: a decoder that is unsure of
where the peaks are in time is right in every logarithm and 1 to 2 dB too quiet. So the mean power
of every band over the crop is asked for as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from codec.metrics.mel import mel_distance, mel_filters
from codec.network.float32 import in_float32
from codec.network.map_likelihood import equivalent_bandwidth
from codec.training.adversarial import Adversary, GivenGradient
from codec.training.config import AdversarialConfig
from codec.training.magnitudes import powers
from codec.training.task import Logs, StepLoss

MEL = {256: 24, 512: 48, 1024: 80, 2048: 128}
"""Bands at each window, in samples: what holds for all of the spectrum."""

FINE_HZ = 6000.0
FINE_WINDOWS = (2048, 4096, 8192)
"""Single bins up to 6 kHz in long windows too, where a missing partial is plain to see."""

LEVEL_WINDOW, LEVEL_BANDS = 2048, 32
"""For the mean power over a crop."""

LEVEL_WEIGHT, LOUD_WEIGHT = 1.0, 2.0
"""Weights of the levels' mean absolute error, in nats, and of the mean by the bands' share of the
power: the band of a clean tone is one of many, and the only one that is heard."""

FLOOR = 1e-8
"""Added to powers, of which white noise of unit variance has 1."""

WIDEST = 0.5
"""A bin never counts as more than this share of an equivalent rectangular bandwidth."""


@dataclass(frozen=True)
class Spectra:
    """What is compared of waveforms."""

    logs: list[tuple[Tensor, Tensor | None]]
    """Log magnitudes (batch, frames, values) in every window, and the values' weights."""
    levels: Tensor
    """Mean power of bands over time, (batch, LEVEL_BANDS)."""


class LogSpectra:
    """Takes waveforms (batch, time) to their spectra in several windows."""

    def __init__(self, sample_rate: int, device: torch.device) -> None:
        self.filters, self.weights = {}, {}
        for window, bands in MEL.items():
            filters = mel_filters(sample_rate, window, bands, device)
            self.filters[window] = filters / filters.sum(dim=0).clamp(min=1e-9)
        for window in FINE_WINDOWS:
            width = sample_rate / window
            hz = torch.arange(1, int(FINE_HZ / width) + 1, device=device) * width
            weight = (width / equivalent_bandwidth(hz)).clamp(max=WIDEST)
            self.weights[window] = weight / weight.sum()
        coarse = mel_filters(sample_rate, LEVEL_WINDOW, LEVEL_BANDS, device)
        self.level_bands = coarse / coarse.sum(dim=0).clamp(min=1e-9)

    def __call__(self, waveform: Tensor) -> Spectra:
        logs: list[tuple[Tensor, Tensor | None]] = []
        for window in sorted({*MEL, *FINE_WINDOWS}):
            hann = torch.hann_window(window, device=waveform.device)
            power = powers(waveform, hann, window // 2) * (8 / 3 / window)
            if window in self.filters:
                logs.append(((power @ self.filters[window] + FLOOR).log() / 2, None))
            if window in self.weights:
                weight = self.weights[window]
                fine = power[..., 1 : len(weight) + 1]
                logs.append(((fine + FLOOR).log() / 2, weight))
            if window == LEVEL_WINDOW:
                levels = power.mean(dim=1) @ self.level_bands + FLOOR
        return Spectra(logs, levels)


def distance(first: Spectra, second: Spectra) -> Tensor:
    """Mean absolute difference plus the frames' mean Euclidean one, summed over windows."""
    total = first.levels.new_zeros(())
    for (a, weight), (b, _) in zip(first.logs, second.logs, strict=True):
        difference = a - b
        if weight is None:
            weight = difference.new_full((difference.shape[-1],), 1 / difference.shape[-1])
        square = (difference.square() * weight).sum(dim=-1)
        total = total + (difference.abs() * weight).sum(dim=-1).mean()
        total = total + (square + 1e-6).sqrt().mean()
    return total


EDGE = 1024
"""Samples at both ends of a crop that are not judged: no window has all of its sound there."""


class EnergyLoss:
    """The energy distance as the loss of a training step, and discriminators' where they have a
    weight: these hear the first draw."""

    def __init__(
        self, sample_rate: int, device: torch.device, adversarial: AdversarialConfig
    ) -> None:
        self.sample_rate = sample_rate
        self.spectra = LogSpectra(sample_rate, device)
        self.opponent = Adversary(adversarial, device) if adversarial.weight > 0 else None

    def __call__(self, draws: Tensor, waveform: Tensor, step: int) -> StepLoss:
        """Two draws (batch, 2, time) for a recording (batch, 1, time)."""
        total, values = self._judge(draws, waveform)
        logs: Logs = {name: value.detach() for name, value in values.items()}
        if self.opponent is None or not self.opponent.starts(step):
            return StepLoss(total, logs)
        heard = draws[:, :1]
        verdict = self.opponent.verdict(heard, waveform, step)
        total = total + GivenGradient.apply(heard, verdict.loss, verdict.gradient)
        return StepLoss(total, {**logs, **verdict.logs}, verdict.own_loss)

    def _judge(self, draws: Tensor, waveform: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with in_float32(waveform):
            kept = slice(EDGE, -EDGE)
            recording = self.spectra(waveform[:, 0, kept].float())
            first, second = (self.spectra(draws[:, i, kept].float()) for i in (0, 1))
            apart = distance(first, second)
            near = distance(recording, first) + distance(recording, second)
            level = (first.levels + second.levels) / 2 / recording.levels
            errors = level.log().abs()
            share = recording.levels / recording.levels.sum(dim=1, keepdim=True)
            level_error = errors.mean()
            loud_error = (share * errors).sum(dim=1).mean()
        total = near - apart + LEVEL_WEIGHT * level_error + LOUD_WEIGHT * loud_error
        decibels = level_error * (10 / math.log(10))
        return total, {"distance": near / 2, "between_draws": apart, "level_db": decibels}

    def validate(self, draws: Tensor, waveform: Tensor) -> dict[str, float]:
        """Distances to log, with the ``score``."""
        total, logs = self._judge(draws, waveform)
        mel = mel_distance(draws[:, 0], waveform[:, 0], self.sample_rate).mean()
        distances = {name: float(value) for name, value in logs.items()}
        return {"score": float(total), "mel_distance": float(mel), **distances}
