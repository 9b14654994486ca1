"""The public class: waveforms to latents and back, and audio to bytes and back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from codec.audio.waveform import Waveform, from_mid_side, to_mid_side
from codec.entropy.coder import SymbolCoder
from codec.entropy.context_model import ContextModel
from codec.entropy.static_tables import EntropyTables
from codec.errors import AudioError, FormatError, LacunaError
from codec.lac.header import LacHeader
from codec.lac.rate import RateTarget
from codec.model import checkpoint
from codec.model.checkpoint import Checkpoint
from codec.model.shipped import DEFAULT_MODEL, find_checkpoint
from codec.network.config import ModelConfig


class Codec(nn.Module):
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

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, loaded: Checkpoint) -> None:
        super().__init__()
        self.config: ModelConfig = loaded.config
        self.autoencoder = loaded.autoencoder
        self.tables: EntropyTables = loaded.tables
        self.context: ContextModel | None = loaded.context
        self.latent_id = loaded.latent_id
        self.useful = loaded.useful
        self.provenance: dict[str, Any] = loaded.provenance
        self.register_buffer("latent_mean", loaded.statistics.mean[:, None])
        self.register_buffer("latent_std", loaded.statistics.std[:, None])
        self.register_buffer("latent_sigma", loaded.statistics.sigma[:, None])

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
        return self.latent_mean.device

    @property
    def coder(self) -> SymbolCoder:
        """What codes the symbols of new files: the context model, if the checkpoint has one."""
        return self.tables if self.context is None else self.context

    def coder_of(self, header: LacHeader) -> SymbolCoder:
        """What decodes the symbols of a file.

        Raises:
            FormatError: it is coded with a context model, and the checkpoint has none.
        """
        if not header.context_coded:
            return self.tables
        if self.context is None:
            raise FormatError(
                f"the file is coded with a context model, which this checkpoint of "
                f"'{self.config.name}' lacks: it is forged or damaged"
            )
        return self.context

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

    def to_coded(self, waveform: Waveform) -> Waveform:
        """(..., channels, time) as the signals that a one-channel network codes one by one."""
        return to_mid_side(waveform) if self.config.stereo == "mid_side" else waveform

    def from_coded(self, coded: Waveform) -> Waveform:
        """The inverse of ``to_coded``."""
        return from_mid_side(coded) if self.config.stereo == "mid_side" else coded

    def encode(self, waveform: Tensor) -> Tensor:
        """(batch, channels, time) at ``sample_rate`` -> (batch, coded, latent_dim, frames).

        Raises:
            AudioError: no such shape, no samples, integers, or a channel count the model cannot
                code.
            LacunaError: the weights are no longer float32.
        """
        if waveform.ndim != 3 or 0 in waveform.shape:
            raise AudioError(
                f"expected a waveform (batch, channels, time) with at least one sample, got "
                f"{tuple(waveform.shape)}; add dimensions with waveform[None]"
            )
        _check_floating(waveform)
        self._check_float32()
        batch, channels, time = waveform.shape
        coded = self.coded_channels(channels)
        waveform = F.pad(waveform.float(), (0, -time % self.hop_length))
        if self.config.channels == 1:
            rows = rearrange(self.to_coded(waveform), "b c t -> (b c) 1 t")
        else:
            rows = waveform.expand(batch, 2, -1)
        z = (self.autoencoder.posterior(rows).mean - self.latent_mean) / self.latent_std
        return rearrange(z, "(b c) d f -> b c d f", c=coded)

    def decode(self, z: Tensor, length: int | None = None) -> Tensor:
        """(batch, coded, latent_dim, frames) -> (batch, channels, time) at ``sample_rate``.

        ``length`` (samples) trims the result; without it time is frames * hop_length.

        Raises:
            LacunaError: no such shape, or a length beyond the frames.
        """
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
        self._check_float32()
        available = z.shape[3] * self.hop_length
        if length is not None and not 0 <= length <= available:
            raise LacunaError(
                f"length {length} is outside 0..{available}, what {z.shape[3]} frames hold"
            )
        rows = rearrange(z.float(), "b c d f -> (b c) d f") * self.latent_std + self.latent_mean
        waveform = rearrange(self.autoencoder.decode(rows), "(b c) n t -> b (c n) t", b=len(z))
        if self.config.channels == 1:
            waveform = self.from_coded(waveform)
        return waveform[..., :length]

    def forward(self, waveform: Tensor) -> Tensor:
        """Encode and decode without quantisation; (batch, channels, time) -> the same."""
        decoded = self.decode(self.encode(waveform), length=waveform.shape[-1])
        if waveform.shape[1] == 1:  # of which a two-channel network makes two
            return decoded.mean(dim=1, keepdim=True)
        return decoded

    def _check_float32(self) -> None:
        if self.latent_std.dtype != torch.float32:
            raise LacunaError(
                f"the codec's weights are {self.latent_std.dtype}, expected torch.float32; load it "
                f"again and leave it out of .to(dtype), and use torch.autocast for bfloat16"
            )

    def compress(
        self,
        waveform: Tensor | np.ndarray,
        sample_rate: int,
        kbps: float | None = None,
        *,
        quality: float | None = None,
        max_kbps: float | None = None,
    ) -> bytes:
        """A ``.lac`` file of (channels, time) or (time,), at any sample rate in Hz, as bytes.

        ``kbps`` is a ceiling for the average of the whole file; the default is 3 per channel. A
        clip of less than 5 s may use the bytes of one of 5 s. Instead of a rate, ``quality`` from
        0 to 10 asks for one quantiser step throughout. ``max_kbps`` is a ceiling for each block.

        Raises:
            AudioError: no samples, a wrong shape, integers, or values that are not finite.
            RateError: the model cannot reach so low a rate, or it is no rate.
        """
        from codec.lac.compress import compress_array

        samples = torch.as_tensor(waveform).detach()
        _check_floating(samples)
        array = samples.to("cpu", torch.float32).numpy()
        if array.ndim == 1:
            array = array[None]
        output = io.BytesIO()
        compress_array(self, array, sample_rate, output, RateTarget(kbps, quality, max_kbps))
        return output.getvalue()

    def decompress(
        self, data: bytes, start: float = 0.0, duration: float | None = None
    ) -> tuple[Tensor, int]:
        """Samples (channels, time) and their rate in Hz, from the bytes of a ``.lac`` file.

        ``start`` and ``duration`` are seconds; only the blocks that they touch are decoded.

        Raises:
            FormatError: not such a file, of another model, or damaged beyond use; blocks that
                are damaged alone come back as silence, with a warning.
            AudioError: ``start`` and ``duration`` select nothing.
        """
        from codec.lac.decompress import decompress_array

        waveform, sample_rate = decompress_array(self, data, start, duration)
        return torch.from_numpy(waveform), sample_rate


def _check_floating(waveform: Tensor) -> None:
    if not waveform.is_floating_point():
        raise AudioError(
            f"expected floating-point samples with full scale at +-1, got {waveform.dtype}; "
            f"divide 16-bit integers by 32768"
        )


def load(name_or_path: str | Path = DEFAULT_MODEL, device: str | torch.device = "cpu") -> Codec:
    """A shipped model by name, or any checkpoint by path, in evaluation mode.

    Raises:
        CheckpointError: there is no such model, or the file is damaged.
    """
    codec = Codec(checkpoint.load(find_checkpoint(name_or_path)))
    return codec.eval().requires_grad_(False).to(device)
