"""An encoder, a bottleneck (Gaussian, or of tokens) and a decoder chosen by the config.

It knows waveforms of its own channel count and latents in the units of the network.
Standardised latents, stereo and files are the business of codec/model/latent_codec.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.network.bottleneck import MIN_LOGVAR, Posterior
from codec.network.config import ModelConfig, OobleckConfig, SpectralConfig, SpectralMapConfig
from codec.network.labels import LabelledRows
from codec.network.map_waveform import START, MapWaveformDecoder, Place
from codec.network.oobleck import OobleckDecoder, OobleckEncoder
from codec.network.spectral import SpectralDecoder, SpectralEncoder
from codec.network.spectral_map import MapEncoder, MapReconstruction
from codec.network.tokens import Quantised, TokenBottleneck


@dataclass(frozen=True)
class AutoencoderOutput:
    """What a training step needs: the reconstruction and the posterior it was sampled from."""

    reconstruction: Tensor | MapReconstruction
    """A waveform, or what the latents say of its spectra where that is what is trained."""
    posterior: Posterior
    quantised: Quantised | None = None
    """What the latents of a model of tokens were drawn from in place of the posterior."""
    label_logits: Tensor | None = None
    """log q(y|x) up to a constant, of a model of labels that was given labelled rows."""


class Autoencoder(nn.Module):
    """Encoder and decoder of a :class:`ModelConfig`, randomly initialised."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder: SpectralEncoder | MapEncoder | OobleckEncoder
        self.decoder: SpectralDecoder | MapWaveformDecoder | OobleckDecoder
        network, channels, dim = config.network, config.channels, config.latent_dim
        outputs = 2 * dim if config.tokens is None else dim
        if isinstance(network, SpectralConfig):
            self.encoder = SpectralEncoder(network, channels, outputs)
            self.decoder = SpectralDecoder(network, channels, dim)
        elif isinstance(network, SpectralMapConfig):
            self.encoder = MapEncoder(network, dim)
            self.decoder = MapWaveformDecoder(network, dim, config.sample_rate)
        else:
            self.encoder = OobleckEncoder(network, channels, outputs)
            self.decoder = OobleckDecoder(network, channels, dim)
        self.tokens = None if config.tokens is None else TokenBottleneck(config.tokens, dim)

    def posterior(self, waveform: Tensor, label: Tensor | None = None) -> Posterior:
        """q(z|x): (batch, channels, time) -> mean and log-variance (batch, latent_dim, frames).

        Of a model of tokens it is a point: what the tokens stand for, at the least log-variance.
        One of labels gives q(z|x, y) where it is given them, (batch, labels) as in labels.py.

        Raises:
            ValueError: another channel count, or a time that is no multiple of hop_length.
        """
        if self.tokens is not None:  # and then there are no labels
            return _point(self.quantise(waveform))
        return self._gaussian(self._encoded(waveform, label))

    def quantise(self, waveform: Tensor) -> Quantised:
        """Tokens and what they stand for, of a model of tokens; as for ``posterior``."""
        assert self.tokens is not None, self.config
        return self.tokens.quantise(self._encoded(waveform)[:, : self.config.latent_dim])

    def _gaussian(self, parameters: Tensor) -> Posterior:
        network = self.config.network
        if isinstance(network, OobleckConfig) and network.posterior_scale == "softplus":
            return Posterior.from_softplus(parameters)
        return Posterior.from_parameters(parameters)

    def classify(self, waveform: Tensor) -> Tensor:
        """q(y|x) of a model of labels, as logits: (batch, 1, time) -> (batch, labels)."""
        assert isinstance(self.encoder, MapEncoder), self.config
        return self.encoder.classify(self.encoder.views(waveform))

    def _encoded(self, waveform: Tensor, label: Tensor | None = None) -> Tensor:
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
        if label is not None:
            assert isinstance(self.encoder, MapEncoder), self.config
            return self.encoder(waveform, label)
        return self.encoder(waveform)

    def decode(
        self, z: Tensor, place: Place = START, label: Tensor | None = None, halo: int = 0
    ) -> Tensor:
        """(batch, latent_dim, frames) -> (batch, channels, (frames - 2 * halo) * hop_length).

        A decoder that makes things up, such as noise, makes them up by ``place``. ``label`` is as
        for ``posterior``. The ``halo`` at both ends only says what is around the other frames.
        """
        if isinstance(self.decoder, MapWaveformDecoder):
            return self.decoder(z, place, label=label, halo=halo).float()
        hop = self.config.hop_length
        return self.decoder(z)[..., halo * hop : (z.shape[2] - halo) * hop].float()

    def forward(
        self,
        waveform: Tensor,
        sample: Callable[[Posterior], Tensor],
        rows: LabelledRows | None = None,
    ) -> AutoencoderOutput:
        """Encode, draw latents with ``sample(posterior)``, or quantise them to tokens; decode.

        A spectral map is not made a waveform of for that: it has a likelihood of its own. Where it
        has labels, ``rows`` are encoded and decoded in place of the items.
        """
        if isinstance(self.encoder, MapEncoder) and isinstance(self.decoder, MapWaveformDecoder):
            views, logits, label = self.encoder.views(waveform), None, None
            if rows is not None:
                logits, label = self.encoder.classify(views), rows.label
                views = views.of_items(rows.item)
            parameters = self.encoder.from_views(views, label)
            latents, posterior, quantised = self._draw(parameters, sample)
            reconstruction = MapReconstruction(views, self.decoder.expect(latents, label))
            return AutoencoderOutput(reconstruction, posterior, quantised, logits)
        latents, posterior, quantised = self._draw(self._encoded(waveform), sample)
        return AutoencoderOutput(self.decode(latents), posterior, quantised)

    def _draw(
        self, parameters: Tensor, sample: Callable[[Posterior], Tensor]
    ) -> tuple[Tensor, Posterior, Quantised | None]:
        """Latents to decode, and where they are from."""
        if self.tokens is not None:
            quantised = self.tokens(parameters[:, : self.config.latent_dim])
            return quantised.latents, _point(quantised), quantised
        posterior = self._gaussian(parameters)
        return sample(posterior), posterior, None


def _point(quantised: Quantised) -> Posterior:
    return Posterior(quantised.latents, torch.full_like(quantised.latents, MIN_LOGVAR))
