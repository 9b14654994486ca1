"""How unlikely recordings are under a codec, in nats per second of a coded channel.

Likelihood itself ranks by loudness and bandwidth, whatever the model: loud noise is the least
likely of all sounds (Nalisnick et al. 2019, "Do deep generative models know what they don't
know?"). So the score is by how much a recording is less likely than under a code that is
conditioned on its own power in every band and frame, as Serra et al. 2020 subtract what a
general-purpose code needs ("Input complexity and out-of-distribution detection with
likelihood-based generative models", eq. 2). Both are of the orthonormal MDCT
(codec/model/bounds.py). The excess has two parts:

    latents   what the entropy coder takes for the quantised latents
    misfit    by how much a code that knows the powers of the decoded sound is worse than one that
              knows the recording's

The sum is the length of a two-part code (Rissanen 1978). The bounds of a spectral map's likelihood
(codec/model/bounds.py) compare models, and do not rank recordings: their Gaussian has so thin tails
that one note below the lowest band outweighs all the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from codec.audio.waveform import as_array, check_finite
from codec.errors import AudioError, LacunaError
from codec.model.bounds import LEAST_VARIANCE, orthonormal_mdct
from codec.model.latent_codec import LatentCodec
from codec.network.config import FRAME
from codec.network.views import band_of_bin

TAIL = 4.0
"""Under a Gaussian one note below the lowest band that a model codes outweighs all the rest."""


@dataclass(frozen=True)
class Score:
    """The score of one recording, in nats per second and coded channel."""

    latents: float
    misfit: float
    """Below 0 where what is decoded fits better than whole bands do."""

    @property
    def total(self) -> float:
        """The higher, the less likely."""
        return self.latents + self.misfit


@torch.inference_mode()
def score(codec: LatentCodec, waveform: Tensor | np.ndarray) -> Score:
    """How unlikely a waveform (channels, time) at the codec's sample rate is.

    It is held in memory as a whole. Digital silence is as likely as can be.

    Raises:
        AudioError: no samples, another shape, integers, or values that are not finite.
        LacunaError: a codec of tokens.
        CheckpointError: a converted codec that was not calibrated.
    """
    array = as_array(waveform)
    check_finite(array, 0, codec.sample_rate, "the waveform")
    if codec.config.tokens is not None:
        raise LacunaError(
            f"the model '{codec.config.name}' is one of tokens, expected one with a Gaussian "
            f"bottleneck; only those are scored"
        )
    x = torch.from_numpy(array).to(codec.device)[None]
    x = F.pad(x, (0, -x.shape[2] % math.lcm(codec.hop_length, FRAME)))
    rows = codec.to_rows(x)[0]
    result = _two_parts(codec, x, rows)
    if not math.isfinite(result.total):
        raise AudioError(
            f"the samples reach {np.abs(array).max():.3g}, which the network cannot work with; "
            f"expected about +-1: scale the audio down"
        )
    per_second = codec.sample_rate / array.shape[1] / len(rows)
    return Score(result.latents * per_second, result.misfit * per_second)


def _two_parts(codec: LatentCodec, waveform: Tensor, rows: Tensor) -> Score:
    """In nats, of rows (coded_channels, 1, time)."""
    step = codec.useful.finest_step
    symbols = codec.coder.quantise(codec.encode(waveform)[0].cpu().numpy(), step)
    said = torch.from_numpy(np.float32(codec.coder.dequantise(symbols, step)))
    decoded = codec.decode(said[None].to(codec.device), length=waveform.shape[2])
    if decoded.shape[1] != waveform.shape[1]:  # a network of two channels, of mono
        waveform = waveform.expand_as(decoded)
        rows = codec.to_rows(waveform)[0]
    misfit = _nats(rows, codec.to_rows(decoded)[0]) - _nats(rows, rows)
    return Score(codec.coder.cost_bits(symbols, step) * math.log(2), misfit)


def _nats(rows: Tensor, said: Tensor) -> float:
    """What a code of the MDCT of ``rows`` takes that knows the band powers of ``said``.

    Coefficients are Student's t of TAIL degrees of freedom, in units of the band's deviation.
    """
    coefficients = orthonormal_mdct(rows.flatten(0, -2))
    power = _band_powers(said)[..., band_of_bin(2 * FRAME)[:FRAME]] + LEAST_VARIANCE
    tail = (coefficients.square() / (TAIL * power)).log1p()
    return float((0.5 * power.log() + 0.5 * (TAIL + 1) * tail).sum())


def _band_powers(rows: Tensor) -> Tensor:
    """Mean power of the MDCT's coefficients: (..., time) -> (rows, frames, bands)."""
    coefficients = orthonormal_mdct(rows.flatten(0, -2))
    means = F.one_hot(band_of_bin(2 * FRAME)[:FRAME]).to(rows)
    return coefficients.square() @ (means / means.sum(dim=0))
