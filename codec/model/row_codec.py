"""One channel after another through the networks: rows to latents in standard units, and back.

Whole waveforms are the business of codec/model/latent_codec.py, which is a ``RowCodec``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from codec.entropy.coder import SymbolCoder
from codec.entropy.context_model import ContextModel
from codec.entropy.static_tables import EntropyTables
from codec.entropy.token_tables import TokenTables
from codec.errors import AudioError, LacunaError
from codec.model.checkpoint import Checkpoint, not_calibrated
from codec.model.labels import label_rows
from codec.model.precision import Float32Module, float32_by_default
from codec.model.shipped import DEFAULT_MODEL
from codec.model.statistics import LatentStatistics, Standardizer
from codec.model.useful_range import UsefulRange
from codec.network import channel_layout
from codec.network.autoencoder import Autoencoder
from codec.network.bottleneck import Posterior
from codec.network.config import ModelConfig
from codec.network.map_waveform import START, MapWaveformDecoder, Place


class RowCodec(Float32Module):
    """What a checkpoint holds, as a module: networks, statistics, and what codes symbols."""

    def __init__(self, loaded: Checkpoint) -> None:
        super().__init__()
        self.config: ModelConfig = loaded.config
        self.autoencoder = loaded.autoencoder
        self._tables, self._useful = loaded.tables, loaded.useful
        self.context: ContextModel | None = loaded.context
        self.provenance: dict[str, Any] = loaded.provenance
        self.standardizer = Standardizer(loaded.statistics)
        self._sigma, self._weights_dtype = loaded.statistics.sigma, loaded.weights_dtype

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

    @property
    def latent_id(self) -> str:
        """16 hex digits of what latents mean, from the weights as they are now.

        A step of training on the encoder changes it; training on the decoder does not. All
        weights are hashed each time: ask once where it is needed often.

        Raises:
            LacunaError: the codec is on the meta device.
        """
        return self.checkpoint().latent_id

    @property
    def coding_id(self) -> str:
        """16 hex digits of what coded files mean: latents, entropy tables and context model.

        Raises:
            CheckpointError: the model was not calibrated, and makes no files.
            LacunaError: the codec is on the meta device.
        """
        coding_id = self.checkpoint().coding_id
        if coding_id is None:
            raise not_calibrated(self.config.name)
        return coding_id

    def checkpoint(self) -> Checkpoint:
        """All that a file of this codec holds, with the weights as they are now.

        Raises:
            LacunaError: the codec is on the meta device.
        """
        if self.device.type == "meta":
            raise LacunaError(
                "the codec is on the meta device and has no weights; load it with another device="
            )
        mean, std = (x.detach()[:, 0] for x in (self.standardizer.mean, self.standardizer.std))
        return Checkpoint(
            self.config,
            self.autoencoder,
            LatentStatistics(mean, std, self._sigma),
            self._tables,
            self._useful,
            self.provenance,
            self.context,
            self._weights_dtype,
        )

    def frames(self, samples: int) -> int:
        """Latent frames of so many samples at ``sample_rate``: ceil(samples / hop_length)."""
        return -(-samples // self.hop_length)

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
    def analyze(self, rows: Tensor, label: str | None = None) -> Posterior:
        """(n, network channels, time) -> a Gaussian for every latent, each (n, latent_dim, frames).

        In standard units; time is a multiple of ``hop_length``. ``label`` is as for ``encode``.

        Raises:
            LacunaError: the weights are no longer float32, or there is no such label.
        """
        self.check_float32()
        labels = label_rows(self.config, label, self.device)
        return self.standardizer.posterior(self.autoencoder.posterior(rows, labels))

    @float32_by_default()
    def quantise(self, rows: Tensor) -> Tensor:
        """(n, network channels, time) -> tokens (n, books, frames), of a model of tokens."""
        self.check_float32()
        return self.autoencoder.quantise(rows).tokens

    def latents_of(self, tokens: Tensor) -> Tensor:
        """What tokens (n, 1..books, frames) stand for, in standard units: (n, latent_dim, frames).

        Books that are missing, or are -1, add nothing.
        """
        assert self.autoencoder.tokens is not None, self.config
        return self.standardizer(self.autoencoder.tokens.lookup(tokens))

    @float32_by_default()
    def synthesize(
        self, z: Tensor, place: Place = START, label: str | None = None, halo: int = 0
    ) -> Tensor:
        """(n, latent_dim, frames) -> (n, network channels, (frames - 2 * halo) * hop_length).

        ``place`` says which frames of a recording these are, and of which coded channels.
        ``label`` is as for ``encode``. The ``halo`` at both ends only says what is around the
        other frames.

        Raises:
            LacunaError: the weights are no longer float32, or there is no such label.
        """
        self.check_float32()
        labels = label_rows(self.config, label, self.device)
        return self.autoencoder.decode(self.standardizer.inverse(z), place, labels, halo)

    @property
    def layered(self) -> bool:
        """Files may have a waveform layer: the decoder says the levels that it needs."""
        return self.config.tokens is None and isinstance(
            self.autoencoder.decoder, MapWaveformDecoder
        )

    @float32_by_default()
    def levels(self, z: Tensor) -> Tensor:
        """Log powers of bands that latents (n, latent_dim, frames) of a spectral map say.

        (n, frames, SHORT_FRAMES, SHORT_BANDS), as in codec/network/views.py.
        """
        self.check_float32()
        assert isinstance(self.autoencoder.decoder, MapWaveformDecoder), self.config
        return self.autoencoder.decoder.levels(self.standardizer.inverse(z))

    @float32_by_default()
    def synthesize_with_levels(self, z: Tensor, place: Place, halo: int) -> tuple[Tensor, Tensor]:
        """``synthesize``, and ``levels`` of the same frames, at once."""
        self.check_float32()
        assert isinstance(self.autoencoder.decoder, MapWaveformDecoder), self.config
        z = self.standardizer.inverse(z)
        waveform, expected = self.autoencoder.decoder.render(z, place, halo=halo)
        return waveform.float(), expected.short[:, halo : z.shape[2] - halo]

    # -- as a part of another module -------------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        was_meta = self.device.type == "meta"
        super()._apply(fn, recurse)
        if was_meta and self.device.type != "meta":  # to_empty, before a state_dict is loaded
            self._restore_constants()
        return self

    @torch.no_grad()
    @float32_by_default()
    def _restore_constants(self) -> None:
        """Windows and the like, which no state_dict has."""
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            constants = dict(Autoencoder(self.config).named_buffers())
        stored = self.autoencoder.state_dict()
        for name, buffer in self.autoencoder.named_buffers():
            if name not in stored:
                buffer.copy_(constants[name])
