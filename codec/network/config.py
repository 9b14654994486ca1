"""Configuration of a model: the [model] table of a file in configs/.

The class that describes a network is stored as JSON inside every checkpoint, so a checkpoint
never depends on a config file.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from codec.errors import ConfigError
from codec.settings import PositiveInt, StrictConfig, read_toml, unit, validate


class SpectralConfig(StrictConfig):
    """STFT analysis, ConvNeXt blocks, inverse-STFT head (see spectral.py).

    Stages run from the STFT's frame rate down to the latents'; between stage ``i`` and ``i + 1``
    the encoder downsamples by ``strides[i]``. The decoder mirrors the order.
    """

    kind: Literal["spectral"] = "spectral"
    """Which network it is."""
    n_fft: Annotated[PositiveInt, unit("samples")] = 2048
    """Window of the STFT; a multiple of ``2 * stft_hop``."""
    stft_hop: Annotated[PositiveInt, unit("samples")] = 512
    """Samples from one frame of the STFT to the next."""
    phase_bins: PositiveInt = 512
    """The encoder sees the phase of this many of the lowest bins, and the level of all."""
    waveform_bins: Annotated[int, Field(ge=0)] = 16
    """The decoder's lowest bins without a gain of their own: where phase is carried."""
    strides: tuple[PositiveInt, ...] = (2,)
    """Downsampling from each stage of the encoder to the next."""
    widths: tuple[PositiveInt, ...] = (384, 384)
    """Channels of each stage, one more than there are strides."""
    encoder_depths: tuple[PositiveInt, ...] = (2, 3)
    """ConvNeXt blocks in each stage of the encoder."""
    decoder_depths: tuple[PositiveInt, ...] = (3, 3)
    """ConvNeXt blocks in each stage of the decoder, in the encoder's order of stages."""
    expansion: PositiveInt = 3
    """Hidden channels of a block as a multiple of its channels."""
    kernel_size: Annotated[PositiveInt, unit("frames of the stage")] = 7
    """Kernel of the blocks' depthwise convolutions; odd."""

    @property
    def hop_length(self) -> int:
        return self.stft_hop * prod(self.strides)

    @model_validator(mode="after")
    def _check(self) -> Self:
        stages = len(self.strides) + 1
        for name in ("widths", "encoder_depths", "decoder_depths"):
            if len(getattr(self, name)) != stages:
                raise ValueError(
                    f"{name} has {len(getattr(self, name))} entries, expected {stages}: "
                    f"one more than strides has"
                )
        if self.n_fft % (2 * self.stft_hop):
            raise ValueError(
                f"n_fft {self.n_fft} must be a multiple of 2 * stft_hop ({2 * self.stft_hop})"
            )
        if self.phase_bins > self.n_fft // 2 + 1:
            raise ValueError(
                f"phase_bins {self.phase_bins} exceeds the {self.n_fft // 2 + 1} bins of the STFT"
            )
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {self.kernel_size} must be odd")
        return self


FRAME = 2048
"""Samples in a latent frame of the spectral map."""


class SpectralMapConfig(StrictConfig):
    """A VAE over frames of spectra, and a renderer (spectral_map.py, renderer.py).

    What it looks at is fixed for 44.1 kHz (views.py); the sizes of its networks are not.
    """

    kind: Literal["spectral_map"] = "spectral_map"
    """Which network it is."""
    width: PositiveInt = 384
    """Channels of the encoder and of the map decoder."""
    depth: PositiveInt = 4
    """ConvNeXt blocks of the encoder, and as many of the map decoder."""
    expansion: PositiveInt = 3
    """Hidden channels of a block as a multiple of its channels, in the renderer too."""
    kernel_size: Annotated[PositiveInt, unit("latent frames")] = 5
    """Kernel of the depthwise convolutions of encoder and map decoder; odd."""
    renderer_width: PositiveInt = 256
    """Channels of the renderer."""
    renderer_depth: PositiveInt = 6
    """ConvNeXt blocks of the renderer."""
    renderer_kernel: Annotated[PositiveInt, unit("hops of 512 samples")] = 7
    """Kernel of the renderer's depthwise convolutions; odd."""
    labels: tuple[str, ...] = ()
    """Classes of recordings that encoder and map are conditioned on, and that are recognised
    (labels.py); none unless given."""

    @property
    def hop_length(self) -> int:
        return FRAME

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.labels) == 1 or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels {list(self.labels)}: expected two or more, all different")
        for name in ("kernel_size", "renderer_kernel"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} {getattr(self, name)} must be odd")
        return self


class OobleckConfig(StrictConfig):
    """Stable Audio's waveform network (see oobleck.py), optionally behind a PQMF."""

    kind: Literal["oobleck"] = "oobleck"
    """Which network it is."""
    width: PositiveInt = 128
    """Channels of the first stage."""
    width_multiples: tuple[PositiveInt, ...] = (1, 2, 4, 8, 16)
    """Channels of each stage as a multiple of ``width``; as many as there are strides."""
    strides: tuple[PositiveInt, ...] = (2, 4, 4, 8, 8)
    """Downsampling of each stage of the encoder."""
    dilations: tuple[PositiveInt, ...] = (1, 3, 9)
    """Dilation of the convolution in each residual unit of a stage."""
    pqmf_bands: Literal[1, 16] = 1
    """Bands of the filter bank before the network; 1 for none."""
    posterior_scale: Literal["log_variance", "softplus"] = "log_variance"
    """What the second half of the encoder's output is: log sigma^2, or as in Stable Audio
    sigma = softplus(scale) + 1e-4."""
    final_tanh: bool = False
    """Squash the decoded waveform to -1..1, as early models of stable-audio-tools do."""

    @property
    def hop_length(self) -> int:
        return self.pqmf_bands * prod(self.strides)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.width_multiples) != len(self.strides):
            raise ValueError(
                f"width_multiples has {len(self.width_multiples)} entries, "
                f"expected {len(self.strides)}: one for each stride"
            )
        return self


CodebookSize = Annotated[int, Field(ge=2, le=1 << 16)]


class VQConfig(StrictConfig):
    """A vector of every latent frame in each of several codebooks (tokens.py)."""

    kind: Literal["vq"] = "vq"
    """How latents become tokens."""
    books: Annotated[int, Field(ge=1, le=64)] = 1
    """Codebooks. Each quantises the residual of those before it (residual vector quantisation)."""
    size: CodebookSize = 1024
    """Codes in a book."""


class FSQConfig(StrictConfig):
    """Every latent rounded to one of a few values, all of them together one token (tokens.py)."""

    kind: Literal["fsq"] = "fsq"
    """How latents become tokens."""
    levels: Annotated[tuple[Annotated[int, Field(ge=3)], ...], Field(min_length=1)] = (8, 5, 5, 5)
    """Values of each latent; at most 65536 combinations of them."""

    @property
    def books(self) -> int:
        return 1

    @property
    def size(self) -> int:
        return prod(self.levels)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.size > 1 << 16:
            raise ValueError(f"levels {list(self.levels)} make {self.size} codes, at most 65536")
        return self


TokensConfig = VQConfig | FSQConfig


class ModelConfig(StrictConfig):
    """What fixes a codec: its signal, its latents and its network."""

    name: str
    """What the model is called by `lacuna info` and in messages."""
    sample_rate: Annotated[PositiveInt, unit("Hz")]
    """Sample rate of the audio that the network takes; other audio is resampled to it."""
    channels: Literal[1, 2] = 1
    """Channels that the network takes at once: 1 codes the two of stereo one by one, 2 jointly."""
    stereo: Literal["mid_side", "left_right"] = "mid_side"
    """What a one-channel network codes of a stereo signal. Mid and side share what the channels
    have in common, but put sounds in their place only if the network carries their phase."""
    latent_dim: PositiveInt
    """Latents of a coded channel in each frame."""
    network: Annotated[
        SpectralConfig | SpectralMapConfig | OobleckConfig, Field(discriminator="kind")
    ]
    """The network."""
    tokens: Annotated[TokensConfig, Field(discriminator="kind")] | None = None
    """With this table latents are quantised to tokens and have no Gaussian posterior."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        labelled = isinstance(self.network, SpectralMapConfig) and self.network.labels
        if self.tokens is not None and labelled:
            raise ValueError("tokens with labels: expected one of them; leave the other out")
        if isinstance(self.tokens, FSQConfig) and len(self.tokens.levels) != self.latent_dim:
            raise ValueError(
                f"tokens.levels has {len(self.tokens.levels)} entries, expected latent_dim "
                f"{self.latent_dim}: one for each latent"
            )
        return self

    @property
    def hop_length(self) -> int:
        """Samples per latent frame."""
        return self.network.hop_length

    @property
    def frame_rate(self) -> float:
        """Latent frames per second (Hz)."""
        return self.sample_rate / self.hop_length

    @property
    def compression(self) -> float:
        """Waveform samples in per latent value out."""
        return self.hop_length * self.channels / self.latent_dim


def load_model_config(name_or_path: str, settings: Sequence[str] = ()) -> ModelConfig:
    """The ``[model]`` table of a config file, with ``settings`` as for :func:`read_toml`.

    Raises:
        ConfigError: no such file, no such table, an unknown key or a bad value.
    """
    tables, where = read_toml(name_or_path, settings)
    if "model" not in tables:
        raise ConfigError(f"{where} has no [model] table; see configs/small.toml for an example")
    return validate(ModelConfig, tables["model"], f"{where} [model]")
