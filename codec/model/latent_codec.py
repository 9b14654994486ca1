"""Tensors to tensors: waveforms to latents in standard units, and back.

Bytes and files are the business of ``codec.api.Codec``, which is a ``LatentCodec``.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from codec.errors import LacunaError
from codec.model.inputs import (
    Lengths,
    as_tensor,
    check_latents,
    check_samples,
    check_waveform,
    checked_lengths,
    within,
)
from codec.model.labels import expect_labels, labels_of
from codec.model.precision import float32_by_default
from codec.model.row_codec import RowCodec
from codec.model.tokens import check_tokens, token_config
from codec.network.bottleneck import Posterior
from codec.network.map_waveform import Place


class LatentCodec(RowCodec):
    """A trained codec.

    Latents are posterior means, standardised per channel to zero mean and unit variance over the
    training data: (batch, coded_channels, latent_dim, frames), frames = ceil(time / hop_length).
    A one-channel network codes stereo as mid and side, in this order, or as left and right if
    its config says so; other channel counts are coded channel by channel. A two-channel network
    has coded_channels 1, takes mono as two equal channels and always decodes to two.

    As an ``nn.Module`` it can be a part of a larger model: ``encode`` and ``decode`` are
    differentiable, and ``.to(device)`` moves everything. Its weights stay in float32 whatever the
    larger model is cast to; for bfloat16 speed run it under ``torch.autocast``. Inputs of any
    floating type are taken, NumPy arrays too; results are float32. (docs/EMBEDDING.md)
    """

    # -- whole waveforms -----------------------------------------------------------------------

    def encode(
        self,
        waveform: Tensor | np.ndarray,
        length: Lengths | None = None,
        *,
        label: str | None = None,
    ) -> Tensor:
        """(batch, channels, time) at ``sample_rate`` -> (batch, coded, latent_dim, frames).

        The means of ``posterior``, which has the arguments and the errors.
        """
        return self.posterior(waveform, length, label=label).mean

    def posterior(
        self,
        waveform: Tensor | np.ndarray,
        length: Lengths | None = None,
        *,
        label: str | None = None,
    ) -> Posterior:
        """The Gaussian of every latent: its mean and logvar, standardised as latents are.

        Args:
            waveform: (batch, channels, time) at ``sample_rate``.
            length: samples of each item, where a batch is padded to its longest. What lies beyond
                is not looked at, an item's latents are the same in every batch, and beyond its
                ``frames(length)`` mean and logvar are 0.
            label: one of ``labels``, what the recordings are, for a model that was trained with
                some; ``decode`` needs the same. Files are coded without.

        Returns:
            mean and logvar, each (batch, coded, latent_dim, frames).

        Raises:
            AudioError: no such shape, no samples, integers, NaN or infinity, or a channel count
                the model cannot code.
            LacunaError: a length beyond time, a tensor on another device, or no such label.
        """
        waveform, lengths = self._checked(waveform, length)
        time, coded = waveform.shape[2], self.coded_channels(waveform.shape[1])
        # Silence follows every item as far as the network sees, be it the longest or not.
        reach = 0 if lengths is None else self.autoencoder.encoder.receptive_frames
        posterior = self.analyze(self._rows_of(waveform, reach), label)
        mean, logvar = (x.unflatten(0, (-1, coded)) for x in (posterior.mean, posterior.logvar))
        if lengths is not None:
            frames = self.frames(time)
            inside = within([self.frames(n) for n in lengths], frames, self.device)[:, None, None]
            mean, logvar = (x[..., :frames].masked_fill(~inside, 0.0) for x in (mean, logvar))
        return Posterior(mean, logvar)

    @property
    def labels(self) -> tuple[str, ...]:
        """What a model that was trained with labels tells apart; none for others."""
        return labels_of(self.config)

    @float32_by_default()
    def classify(self, waveform: Tensor | np.ndarray) -> Tensor:
        """q(y|x) of recordings (batch, channels, time): (batch, labels), as probabilities.

        Channels are mixed.

        Raises:
            AudioError: as for ``encode``.
            LacunaError: the model was trained without labels.
        """
        expect_labels(self.config)
        checked, _ = self._checked(waveform)
        mono = self._padded(checked).mean(dim=1, keepdim=True)
        return self.autoencoder.classify(mono).softmax(dim=1)

    def _checked(
        self, waveform: Tensor | np.ndarray, length: Lengths | None = None
    ) -> tuple[Tensor, list[int] | None]:
        """A waveform that can be coded, silent beyond each item's length, and the lengths."""
        waveform = as_tensor(waveform, self.device)
        check_waveform(waveform)
        self.coded_channels(waveform.shape[1])
        lengths = None
        if length is not None:
            lengths = checked_lengths(length, waveform.shape[0], 1, waveform.shape[2])
            inside = within(lengths, waveform.shape[2], self.device)
            waveform = waveform.masked_fill(~inside[:, None], 0.0)
        check_samples(waveform, self.sample_rate)
        return waveform.float(), lengths

    def _padded(self, waveform: Tensor, silent_frames: int = 0) -> Tensor:
        """(batch, channels, time) of whole frames, and so many of silence."""
        hop = self.hop_length
        return F.pad(waveform, (0, -waveform.shape[2] % hop + silent_frames * hop))

    def _rows_of(self, waveform: Tensor, silent_frames: int = 0) -> Tensor:
        return self.to_rows(self._padded(waveform, silent_frames)).flatten(0, 1)

    def encode_tokens(self, waveform: Tensor | np.ndarray) -> Tensor:
        """(batch, channels, time) at ``sample_rate`` -> (batch, coded, books, frames), int64.

        Each from 0 to ``config.tokens.size - 1``. ``decode_tokens`` takes them, or those of the
        first books alone.

        Raises:
            LacunaError: the model has a Gaussian bottleneck.
            AudioError: as for ``encode``.
        """
        token_config(self.config)
        checked, _ = self._checked(waveform)
        tokens = self.quantise(self._rows_of(checked))
        return tokens.unflatten(0, (-1, self.coded_channels(checked.shape[1])))

    def decode_tokens(self, tokens: Tensor | np.ndarray, length: Lengths | None = None) -> Tensor:
        """(batch, coded, 1..books, frames), integers -> (batch, channels, time).

        ``length`` is as for ``decode``.

        Raises:
            LacunaError: the model has a Gaussian bottleneck, no such shape, tokens that are no
                integers or not in their book, or a length beyond the frames.
        """
        tokens = as_tensor(tokens, self.device)
        check_tokens(self.config, tokens)
        latents = self.latents_of(tokens.long().flatten(0, 1))
        return self._decode(latents.unflatten(0, tokens.shape[:2]), length)

    def decode(
        self,
        z: Tensor | np.ndarray,
        length: Lengths | None = None,
        label: str | None = None,
    ) -> Tensor:
        """(batch, coded, latent_dim, frames) -> (batch, channels, time) at ``sample_rate``.

        Args:
            z: latents, standardised as ``encode`` gives them.
            length: samples to keep; without it time is frames * hop_length. One number for each
                item of a padded batch gives the longest of them as time, zeros after each item's
                end, and every item as in any other batch.
            label: as for ``posterior``.

        Raises:
            LacunaError: no such shape, integers, NaN or infinity, a length beyond the frames, no
                such label, or a tensor on another device.
        """
        return self._decode(as_tensor(z, self.device), length, label=label)

    def forward(self, waveform: Tensor | np.ndarray) -> Tensor:
        """Encode and decode without quantisation; (batch, channels, time) -> the same."""
        waveform = as_tensor(waveform, self.device)
        return self._decode(self.encode(waveform), waveform.shape[2], waveform.shape[1])

    def _decode(
        self,
        z: Tensor,
        length: Lengths | None,
        channels: int | None = None,
        label: str | None = None,
    ) -> Tensor:
        if z.ndim != 4 or z.shape[2] != self.latent_dim or 0 in z.shape:
            raise LacunaError(
                f"expected latents (batch, coded_channels, {self.latent_dim}, frames) with at "
                f"least one frame, got {tuple(z.shape)}"
            )
        if self.config.channels == 2 and z.shape[1] != 1:
            raise LacunaError(
                f"expected latents with coded_channels 1, since the model '{self.config.name}' "
                f"codes two channels at once, got {tuple(z.shape)}"
            )
        check_latents(z)
        batch, coded, _, frames = z.shape
        available = frames * self.hop_length
        if length is None or isinstance(length, int | np.integer | torch.SymInt):
            if length is not None and not 0 <= length <= available:
                raise LacunaError(
                    f"length {length} is outside 0..{available}, what {frames} frames hold"
                )
            return self._waveform(z.float(), channels, label)[..., :length]
        lengths = checked_lengths(length, batch, 0, available)
        # Beyond its end an item's last frame goes on, as at the end of a file.
        ends = torch.tensor([max(1, self.frames(n)) for n in lengths], device=self.device)
        reach = frames + self.autoencoder.decoder.receptive_frames
        index = torch.arange(reach, device=self.device).minimum(ends[:, None] - 1)
        z = z.float().gather(3, index[:, None, None].expand(-1, coded, self.latent_dim, -1))
        time = max(lengths)
        waveform = self._waveform(z, channels, label)[..., :time]
        return waveform.masked_fill(~within(lengths, time, self.device)[:, None], 0.0)

    def _waveform(self, z: Tensor, channels: int | None, label: str | None) -> Tensor:
        """Latents of the right shape to a waveform of all their frames."""
        coded = z.shape[1]
        rows = self.synthesize(z.flatten(0, 1), Place(channels=range(coded)), label)
        return self.from_rows(rows.unflatten(0, (-1, coded)), channels)
