"""Tensors to tensors: waveforms to latents in standard units, and back.

Bytes and files are the business of ``codec.api.Codec``, which is a ``LatentCodec``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.audio.waveform import check_floating, check_layout
from codec.entropy.coder import SymbolCoder
from codec.entropy.context_model import ContextModel
from codec.entropy.static_tables import EntropyTables
from codec.entropy.token_tables import TokenTables
from codec.errors import AudioError, LacunaError
from codec.model.checkpoint import Checkpoint, not_calibrated
from codec.model.labels import expect_labels, label_rows, labels_of
from codec.model.precision import float32_by_default
from codec.model.shipped import DEFAULT_MODEL
from codec.model.statistics import Standardizer
from codec.model.tokens import check_tokens, token_config
from codec.model.useful_range import UsefulRange
from codec.network import channel_layout
from codec.network.bottleneck import Posterior
from codec.network.config import ModelConfig
from codec.network.map_waveform import START, Place


class LatentCodec(nn.Module):
    """A trained codec.

    Latents are posterior means, standardised per channel to zero mean and unit variance over the
    training data: (batch, coded_channels, latent_dim, frames), frames = ceil(time / hop_length).
    A one-channel network codes stereo as mid and side, in this order, or as left and right if
    its config says so; other channel counts are coded channel by channel. A two-channel network
    has coded_channels 1, takes mono as two equal channels and always decodes to two.

    As an ``nn.Module`` it can be a part of a larger model: ``encode`` and ``decode`` are
    differentiable, and ``.to(device)`` moves everything. Its weights stay in float32, because
    the short-time Fourier transform and the statistics need it; for bfloat16 speed run it under
    ``torch.autocast``. Inputs of any floating type are taken; results are float32.
    """

    def __init__(self, loaded: Checkpoint) -> None:
        super().__init__()
        self.config: ModelConfig = loaded.config
        self.autoencoder = loaded.autoencoder
        self._tables, self._useful = loaded.tables, loaded.useful
        self.context: ContextModel | None = loaded.context
        self.latent_id = loaded.latent_id
        self.provenance: dict[str, Any] = loaded.provenance
        self.standardizer = Standardizer(loaded.statistics)

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.config.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per latent frame."""
        return self.config.hop_length

    @property
    def frame_rate(self) -> float:
        """Latent frames per second."""
        return self.config.frame_rate

    @property
    def latent_dim(self) -> int:
        return self.config.latent_dim

    @property
    def device(self) -> torch.device:
        return self.standardizer.mean.device

    @property
    def tables(self) -> EntropyTables | TokenTables:
        """Raises CheckpointError where the model was not calibrated."""
        if self._tables is None:
            raise not_calibrated(self.config.name)
        return self._tables

    @property
    def useful(self) -> UsefulRange:
        """Raises CheckpointError where the model was not calibrated."""
        if self._useful is None:
            raise not_calibrated(self.config.name)
        return self._useful

    @property
    def coder(self) -> SymbolCoder:
        """What codes the symbols of new files: the context model, if the checkpoint has one.

        Raises:
            CheckpointError: it has not even tables, since the model was not calibrated.
        """
        return self.tables if self.context is None else self.context

    def coded_channels(self, channels: int) -> int:
        """How many latent streams a signal of ``channels`` channels has.

        Raises:
            AudioError: a two-channel network cannot code that many.
        """
        if self.config.channels == 1:
            return channels
        if channels > 2:
            raise AudioError(
                f"the model '{self.config.name}' takes one or two channels, got {channels}; "
                f"use a one-channel model such as '{DEFAULT_MODEL}'"
            )
        return 1

    # -- rows: what the network codes one by one (codec/network/channel_layout.py) ------------

    def to_rows(self, waveform: Tensor) -> Tensor:
        """(batch, channels, time) -> (batch, coded_channels, network channels, time)."""
        return channel_layout.to_rows(self.config, waveform)

    def from_rows(self, rows: Tensor, channels: int | None = None) -> Tensor:
        """The inverse of ``to_rows``; with ``channels`` 1 a stereo network gives mono."""
        return channel_layout.from_rows(self.config, rows, channels)

    @float32_by_default()
    def posterior(self, rows: Tensor, label: str | None = None) -> Posterior:
        """(n, network channels, time) -> a Gaussian for every latent, each (n, latent_dim, frames).

        In standard units; time is a multiple of ``hop_length``. ``label`` is as for ``encode``.

        Raises:
            LacunaError: the weights are no longer float32, or there is no such label.
        """
        self._check_float32()
        given = label_rows(self.config, label, self.device)
        return self.standardizer.posterior(self.autoencoder.posterior(rows, given))

    @float32_by_default()
    def quantise(self, rows: Tensor) -> Tensor:
        """(n, network channels, time) -> tokens (n, books, frames), of a model of tokens."""
        self._check_float32()
        return self.autoencoder.quantise(rows).tokens

    def latents_of(self, tokens: Tensor) -> Tensor:
        """What tokens (n, 1..books, frames) stand for, in standard units: (n, latent_dim, frames).

        Books that are missing, or are -1, add nothing.
        """
        assert self.autoencoder.tokens is not None, self.config
        return self.standardizer(self.autoencoder.tokens.lookup(tokens))

    @float32_by_default()
    def synthesize(self, z: Tensor, place: Place = START, label: str | None = None) -> Tensor:
        """(n, latent_dim, frames) -> (n, network channels, frames * hop_length).

        ``place`` says which frames of a recording these are, and of which coded channels.
        ``label`` is as for ``encode``.

        Raises:
            LacunaError: the weights are no longer float32, or there is no such label.
        """
        self._check_float32()
        given = label_rows(self.config, label, self.device)
        return self.autoencoder.decode(self.standardizer.inverse(z), place, given)

    # -- whole waveforms -----------------------------------------------------------------------

    def encode(self, waveform: Tensor | np.ndarray, label: str | None = None) -> Tensor:
        """(batch, channels, time) at ``sample_rate`` -> (batch, coded, latent_dim, frames).

        A numpy array is taken as well, in either byte order. A model of labels takes what the
        recordings are, as one of ``labels``; ``decode`` needs the same. Files are coded without.

        Raises:
            AudioError: no such shape, no samples, integers, or a channel count the model cannot
                code.
            LacunaError: the weights are no longer float32, or there is no such label.
        """
        rows, coded = self._rows_of(waveform)
        return self.posterior(rows, label).mean.unflatten(0, (-1, coded))

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
        mono = self._checked(waveform).mean(dim=1, keepdim=True)
        return self.autoencoder.classify(mono).softmax(dim=1)

    def _rows_of(self, waveform: Tensor | np.ndarray) -> tuple[Tensor, int]:
        """A waveform as rows of whole frames, and how many of them are an item's."""
        checked = self._checked(waveform)
        return self.to_rows(checked).flatten(0, 1), self.coded_channels(checked.shape[1])

    def _checked(self, waveform: Tensor | np.ndarray) -> Tensor:
        """A waveform of whole frames, (batch, channels, time)."""
        waveform = self._as_tensor(waveform)
        if waveform.ndim != 3 or 0 in waveform.shape:
            raise AudioError(
                f"expected a waveform (batch, channels, time) with at least one sample, got "
                f"{tuple(waveform.shape)}; add dimensions with waveform[None]"
            )
        check_floating(waveform.dtype, waveform.is_floating_point())
        check_layout(waveform.shape)
        self.coded_channels(waveform.shape[1])
        return F.pad(waveform.float(), (0, -waveform.shape[2] % self.hop_length))

    def encode_tokens(self, waveform: Tensor | np.ndarray) -> Tensor:
        """(batch, channels, time) at ``sample_rate`` -> (batch, coded, books, frames), int64.

        Each from 0 to ``config.tokens.size - 1``. ``decode_tokens`` takes them, or those of the
        first books alone.

        Raises:
            LacunaError: the model has a Gaussian bottleneck.
            AudioError: as for ``encode``.
        """
        token_config(self.config)
        rows, coded = self._rows_of(waveform)
        return self.quantise(rows).unflatten(0, (-1, coded))

    def decode_tokens(self, tokens: Tensor | np.ndarray, length: int | None = None) -> Tensor:
        """(batch, coded, 1..books, frames), integers -> (batch, channels, time).

        ``length`` is as for ``decode``.

        Raises:
            LacunaError: the model has a Gaussian bottleneck, no such shape, tokens that are no
                integers or not in their book, or a length beyond the frames.
        """
        tokens = self._as_tensor(tokens)
        check_tokens(self.config, tokens)
        latents = self.latents_of(tokens.long().flatten(0, 1))
        return self._decode(latents.unflatten(0, tokens.shape[:2]), length)

    def decode(
        self, z: Tensor | np.ndarray, length: int | None = None, label: str | None = None
    ) -> Tensor:
        """(batch, coded, latent_dim, frames) -> (batch, channels, time) at ``sample_rate``.

        ``length`` (samples) trims the result; without it time is frames * hop_length. ``label`` is
        as for ``encode``.

        Raises:
            LacunaError: no such shape, a length beyond the frames, or no such label.
        """
        return self._decode(self._as_tensor(z), length, label=label)

    def forward(self, waveform: Tensor | np.ndarray) -> Tensor:
        """Encode and decode without quantisation; (batch, channels, time) -> the same."""
        waveform = self._as_tensor(waveform)
        return self._decode(self.encode(waveform), waveform.shape[2], waveform.shape[1])

    def _decode(
        self,
        z: Tensor,
        length: int | None,
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
        available = z.shape[3] * self.hop_length
        if length is not None and not 0 <= length <= available:
            raise LacunaError(
                f"length {length} is outside 0..{available}, what {z.shape[3]} frames hold"
            )
        place = Place(channels=list(range(z.shape[1])) * len(z))
        rows = self.synthesize(z.float().flatten(0, 1), place, label).unflatten(0, z.shape[:2])
        return self.from_rows(rows, channels)[..., :length]

    def _as_tensor(self, array: Tensor | np.ndarray) -> Tensor:
        """A tensor as it is; a numpy array on this codec's device."""
        if isinstance(array, Tensor):
            return array
        array = np.asarray(array)
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        return torch.from_numpy(native).to(self.device)

    def _check_float32(self) -> None:
        dtype = self.standardizer.std.dtype
        if dtype != torch.float32:
            raise LacunaError(
                f"the codec's weights are {dtype}, expected torch.float32; load it "
                f"again and leave it out of .to(dtype), and use torch.autocast for bfloat16"
            )
