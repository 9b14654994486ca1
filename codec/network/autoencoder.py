"""The Gaussian VAE: an encoder, a bottleneck and a decoder chosen by the config.

It knows waveforms of its own channel count and latents in the units of the network.
Standardised latents, stereo and files are the business of codec/model/latent_codec.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from codec.network.bottleneck import Posterior
from codec.network.config import ModelConfig, SpectralConfig, SpectralMapConfig
from codec.network.map_waveform import START, MapWaveformDecoder, Place
from codec.network.oobleck import OobleckDecoder, OobleckEncoder
from codec.network.spectral import SpectralDecoder, SpectralEncoder
from codec.network.spectral_map import MapEncoder, MapReconstruction


@dataclass(frozen=True)
class AutoencoderOutput:
    """What a training step needs: the reconstruction and the posterior it was sampled from."""

    reconstruction: Tensor | MapReconstruction
    """A waveform, or what the latents say of its spectra where that is what is trained."""
    posterior: Posterior


class Autoencoder(nn.Module):
    """Encoder and decoder of a :class:`ModelConfig`, randomly initialised."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder: SpectralEncoder | MapEncoder | OobleckEncoder
        self.decoder: SpectralDecoder | MapWaveformDecoder | OobleckDecoder
        network, channels, dim = config.network, config.channels, config.latent_dim
        if isinstance(network, SpectralConfig):
            self.encoder = SpectralEncoder(network, channels, 2 * dim)
            self.decoder = SpectralDecoder(network, channels, dim)
        elif isinstance(network, SpectralMapConfig):
            self.encoder = MapEncoder(network, dim)
            self.decoder = MapWaveformDecoder(network, dim, config.sample_rate)
        else:
            self.encoder = OobleckEncoder(network, channels, 2 * dim)
            self.decoder = OobleckDecoder(network, channels, dim)

    def posterior(self, waveform: Tensor) -> Posterior:
        """q(z|x): (batch, channels, time) -> mean and log-variance (batch, latent_dim, frames).

        Raises:
            ValueError: another channel count, or a time that is no multiple of hop_length.
        """
        config = self.config
        if waveform.ndim != 3 or waveform.shape[1] != config.channels:
            raise ValueError(
                f"expected a waveform (batch, {config.channels}, time), got "
                f"{tuple(waveform.shape)}; Codec.encode accepts any channel count"
            )
        if waveform.shape[2] == 0 or waveform.shape[2] % config.hop_length:
            raise ValueError(
                f"expected a time that is a positive multiple of hop_length "
                f"{config.hop_length}, got {waveform.shape[2]}; pad it, as Codec.encode does"
            )
        return Posterior.from_parameters(self.encoder(waveform))

    def decode(self, z: Tensor, place: Place = START) -> Tensor:
        """(batch, latent_dim, frames) -> (batch, channels, frames * hop_length).

        A decoder that makes things up, such as noise, makes them up by ``place``.
        """
        if isinstance(self.decoder, MapWaveformDecoder):
            return self.decoder(z, place).float()
        return self.decoder(z).float()

    def forward(self, waveform: Tensor, sample: Callable[[Posterior], Tensor]) -> AutoencoderOutput:
        """Encode, draw latents with ``sample(posterior)``, decode.

        A spectral map is not made a waveform of for that: it has a likelihood of its own.
        """
        if isinstance(self.encoder, MapEncoder) and isinstance(self.decoder, MapWaveformDecoder):
            views = self.encoder.views(waveform)
            posterior = Posterior.from_parameters(self.encoder.from_views(views))
            expected = self.decoder.expect(sample(posterior))
            return AutoencoderOutput(MapReconstruction(views, expected), posterior)
        posterior = self.posterior(waveform)
        return AutoencoderOutput(self.decode(sample(posterior)), posterior)
