"""Latents that say more of a block at its step, found by gradient descent.

An encoder finds latents in one pass, and does not know how coarsely they will be rounded. Here they
are moved until the map of the rounded ones makes the block likelier at no more bits. That is
iterative inference at encoding time (Campos et al. 2019, "Content adaptive optimization for neural
image compression"; Yang, Bamler and Mandt 2020, "Improving inference for neural image
compression", section 3): the file's format and its decoder know nothing of it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.entropy.quantise import step_multiple
from codec.entropy.static_tables import EntropyTables
from codec.model.blocks import LatentBlock
from codec.model.latent_codec import LatentCodec
from codec.model.precision import float32_by_default
from codec.network.float32 import in_float32
from codec.network.map_likelihood import MapLikelihood
from codec.network.map_waveform import MapWaveformDecoder
from codec.network.spectral_map import MapEncoder

TRAVEL, FASTEST, BETAS = 3.0, 0.15, (0.9, 0.98)
"""Adam's learning rate is the first over the number of steps, at most the second, in quantiser
steps, and falls to nothing; its moments."""

NOISE_SHARE = 2 / 3
"""So long latents have noise of a step's width in place of being rounded: a gradient past rounding
is only good for the last corrections."""

LEVEL_SHARE = 0.3
"""Weight of the bands' levels beyond what they count in training: of those that are loud in the
recording, which PESQ hears first, and at steps that the map was not trained for also of those that
are loud in the map, lest it bursts."""

BIT_NATS, AT_MULTIPLE, EXPONENT = 0.013, 5.74, 2.0
"""What a bit of a frame has to bring, in nats per bandwidth, where the step is so many posterior
sigmas, and the power of the step by which it grows: the slope of what encoders' latents reach at
different steps, so that a search leaves the rate about where it was."""

MOST_BITS = 30.0
"""What a symbol beyond the tables is taken to cost."""


def search_latents(
    codec: LatentCodec, window: np.ndarray, block: LatentBlock, step_index: int, count: int
) -> NDArray[np.float32]:
    """Latents (coded_channels, latent_dim, frames) to be written at a step in place of a block's.

    Args:
        window: (channels, halo + block + halo) as ``block_windows`` gives it.
        count: steps of gradient descent.
    """
    found = block.latents.copy()
    heard = np.flatnonzero(~block.silent)
    assert isinstance(codec.tables, EntropyTables)
    indices = codec.tables.rules.step_indices(step_index, len(heard))
    with torch.inference_mode(mode=False), torch.enable_grad(), float32_by_default():
        rows = codec.to_rows(torch.from_numpy(window)[None])[0]
        for channel, index in zip(heard, indices, strict=True):
            row = rows[channel][None].contiguous().to(codec.device)
            found[channel] = _search(codec, row, block.latents.shape[2], index, count)
    return found


def _search(
    codec: LatentCodec, row: Tensor, frames: int, step_index: int, count: int
) -> NDArray[np.float32]:
    """Latents (latent_dim, frames) of the middle of a row (1, 1, time)."""
    encoder, decoder = codec.autoencoder.encoder, codec.autoencoder.decoder
    assert isinstance(encoder, MapEncoder)
    assert isinstance(decoder, MapWaveformDecoder)
    halo = encoder.receptive_frames
    likelihood = MapLikelihood(codec.sample_rate, codec.device)
    code = _Code(codec, step_index)
    with torch.no_grad(), in_float32(row):
        views = encoder.views(row)
        around = codec.analyze(row).mean
        before, own, after = around.split([halo, frames, around.shape[2] - halo - frames], dim=2)
        symbols = (own / code.step).requires_grad_()
    optimizer = torch.optim.Adam([symbols], betas=BETAS)
    rate = min(TRAVEL / count, FASTEST)
    random = torch.Generator().manual_seed(0)
    bit_nats = BIT_NATS * (step_multiple(step_index) / AT_MULTIPLE) ** EXPONENT

    def nats_of(quantised: Tensor) -> Tensor:
        latents = torch.cat([before, quantised * code.step, after], dim=2)
        with in_float32(row):
            expected = decoder.expect(codec.standardizer.inverse(latents))
            terms = likelihood.terms(views, expected)
            nats = likelihood.total(terms) + LEVEL_SHARE * terms["level"]
            if step_index > codec.useful.coarsest_step:  # side's may be
                nats = nats + LEVEL_SHARE * likelihood.level(expected, views).mean()
        return nats * around.shape[2]

    least, found = float("inf"), symbols.detach()
    for done in range(-1, count):  # -1: the encoder's own, as it would be rounded
        optimizer.param_groups[0]["lr"] = rate * (1.05 - done / count)
        rounded = symbols.detach().round()
        if 0 <= done < NOISE_SHARE * count:
            error = torch.rand(symbols.shape, generator=random).to(symbols) - 0.5
            nats = nats_of(symbols + error)
        else:
            nats = nats_of(symbols + (rounded - symbols.detach()))
            cost = (nats.detach() + bit_nats * code.bits(rounded)).item()
            if cost < least:
                least, found = cost, symbols.detach().clone()
        if done < 0:
            continue
        loss = nats + bit_nats * code.bits(symbols)
        (symbols.grad,) = torch.autograd.grad(loss, [symbols])
        optimizer.step()
    return (found * code.step)[0].cpu().numpy()


class _Code:
    """What symbols of one step cost by the static tables, and between them on straight lines."""

    def __init__(self, codec: LatentCodec, step_index: int) -> None:
        assert isinstance(codec.tables, EntropyTables)
        tables = codec.tables.at(step_index)
        self.step = torch.from_numpy(tables.step).to(codec.device, torch.float32)[:, None]
        self._middle = int(tables.limit.max())
        total = np.log2(tables.frequencies[0].sum())
        bits = [
            np.pad(
                total - np.log2(np.maximum(row, 1)),
                self._middle - limit,
                constant_values=MOST_BITS,
            )
            for row, limit in zip(tables.frequencies, tables.limit, strict=True)
        ]
        self._bits = torch.from_numpy(np.stack(bits)).to(codec.device, torch.float32)

    def bits(self, symbols: Tensor) -> Tensor:
        """Bits of all symbols (1, latent_dim, frames) together, whole numbers or not."""
        place = (symbols[0] + self._middle).clamp(0, 2 * self._middle)
        below = place.detach().floor().clamp(max=2 * self._middle - 1)
        low, high = (self._bits.gather(1, below.long() + above) for above in (0, 1))
        return torch.lerp(low, high, place - below).sum()
