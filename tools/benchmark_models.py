"""The codecs that tools/benchmark.py compares, each ready to run; their packages load lazily."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Model:
    """A codec ready to run. ``encode`` takes (1, channels, time); ``decode`` takes what ``encode``
    returned and the length in samples, and returns (1, channels, length)."""

    module: nn.Module
    sample_rate: int
    encode: Callable[[Tensor], Any]
    decode: Callable[[Any, int], Tensor]


@dataclass(frozen=True)
class Row:
    """One line of the table: a distribution on PyPI, the module it is imported as, the model."""

    title: str
    distribution: str
    module: str
    channels: int
    build: Callable[[], Model]


def lacuna() -> Model:
    import codec

    model = codec.load()
    return Model(
        module=model,
        sample_rate=model.sample_rate,
        encode=model.encode,
        decode=lambda z, length: model.decode(z, length=length),
    )


def encodec_24khz() -> Model:
    from encodec import EncodecModel

    return _encodec(EncodecModel.encodec_model_24khz(pretrained=False))


def encodec_48khz() -> Model:
    from encodec import EncodecModel

    return _encodec(EncodecModel.encodec_model_48khz(pretrained=False))


def _encodec(model: Any) -> Model:
    model.set_target_bandwidth(6.0)
    random_codebooks(model)
    return Model(
        module=model,
        sample_rate=model.sample_rate,
        encode=model.encode,
        decode=lambda frames, length: model.decode(frames)[..., :length],
    )


def random_codebooks(model: nn.Module) -> None:
    """Codebooks are zeros until training, and every input would decode alike."""
    for name, codebook in model.named_buffers():
        if name.endswith(".embed"):
            codebook.normal_()


def dac_44khz() -> Model:
    import dac

    model = dac.DAC(
        encoder_dim=64,
        encoder_rates=[2, 4, 8, 8],
        decoder_dim=1536,
        decoder_rates=[8, 8, 4, 2],
        n_codebooks=9,
        sample_rate=44_100,
    )

    def encode(x: Tensor) -> Tensor:
        return model.encode(model.preprocess(x, model.sample_rate))[1]

    def decode(codes: Tensor, length: int) -> Tensor:
        return model.decode(model.quantizer.from_codes(codes)[0])[..., :length]

    return Model(model, model.sample_rate, encode, decode)


def snac_44khz() -> Model:
    from snac import SNAC

    # snac_44khz as published: codes at 14, 29, 57 and 115 Hz, 54.5 M parameters
    model = SNAC(
        sampling_rate=44_100,
        encoder_dim=64,
        encoder_rates=[2, 3, 8, 8],
        decoder_dim=1536,
        decoder_rates=[8, 8, 3, 2],
        attn_window_size=32,
        codebook_size=4096,
        codebook_dim=8,
        vq_strides=[8, 4, 2, 1],
    )
    return Model(
        module=model,
        sample_rate=model.sampling_rate,
        encode=model.encode,
        decode=lambda codes, length: model.decode(codes)[..., :length],
    )


def oobleck() -> Model:
    import torch.nn.functional as F
    from diffusers import AutoencoderOobleck

    model = AutoencoderOobleck(
        encoder_hidden_size=128,
        downsampling_ratios=[2, 4, 4, 8, 8],
        channel_multiples=[1, 2, 4, 8, 16],
        decoder_channels=128,
        decoder_input_channels=64,
        audio_channels=2,
        sampling_rate=44_100,
    )

    def encode(x: Tensor) -> Tensor:
        padded = F.pad(x, (0, -x.shape[-1] % model.hop_length))
        return model.encode(padded).latent_dist.mode()

    def decode(z: Tensor, length: int) -> Tensor:
        return model.decode(z).sample[..., :length]

    return Model(model, model.sampling_rate, encode, decode)


# diffusers and codec import lazily: only the model's own module brings in what it needs
OOBLECK_MODULE = "diffusers.models.autoencoders.autoencoder_oobleck"

ROWS = {
    "lacuna-mono": Row("Lacuna", "lacuna-codec", "codec.api", 1, lacuna),
    "lacuna-stereo": Row("Lacuna", "lacuna-codec", "codec.api", 2, lacuna),
    "encodec-24k": Row("EnCodec 24 kHz, 6 kbps", "encodec", "encodec", 1, encodec_24khz),
    "encodec-48k": Row("EnCodec 48 kHz, 6 kbps", "encodec", "encodec", 2, encodec_48khz),
    "dac": Row("DAC 44 kHz", "descript-audio-codec", "dac", 1, dac_44khz),
    "snac": Row("SNAC 44 kHz", "snac", "snac", 1, snac_44khz),
    "oobleck": Row("Stable Audio Oobleck", "diffusers", OOBLECK_MODULE, 2, oobleck),
}
