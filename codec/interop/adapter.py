"""A codec in the shape of diffusers' AutoencoderOobleck, for training code written for that.

    vae = DiffusersAutoencoder(codec.load())
    latents = vae.encode(waveform).latent_dist.sample()
    waveform = vae.decode(latents).sample

The code need not be changed, and diffusers need not be installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.errors import AudioError, LacunaError
from codec.model.latent_codec import LatentCodec
from codec.network.bottleneck import Posterior


class AdapterConfig(dict[str, Any]):
    """What code reads of ``vae.config``, as attributes and as keys."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(
                f"the adapter's config has no '{name}'; it has {', '.join(self)}"
            ) from None


class LatentDistribution:
    """q(z|x) with the methods of diffusers' distributions; all (batch, latents, frames)."""

    def __init__(self, posterior: Posterior) -> None:
        self._posterior = posterior
        self.mean, self.logvar = posterior.mean, posterior.logvar

    @property
    def std(self) -> Tensor:
        return self._posterior.sigma

    @property
    def var(self) -> Tensor:
        return self.logvar.exp()

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """mean + std * noise; the noise is drawn where the generator is."""
        device = self.mean.device if generator is None else generator.device
        noise = torch.randn(self.mean.shape, generator=generator, device=device)
        return self._posterior.sample(noise.to(self.mean))

    def mode(self) -> Tensor:
        return self.mean

    def kl(self) -> Tensor:
        """KL to the unit Gaussian as diffusers' AutoencoderOobleck counts it.

        Twice the nats, summed over latents, and a mean over the batch and frames.
        """
        return 2 * self._posterior.kl().sum(1).mean()


@dataclass(frozen=True)
class EncoderOutput:
    """What ``encode`` gives."""

    latent_dist: LatentDistribution


@dataclass(frozen=True)
class DecoderOutput:
    """What ``decode`` gives: (batch, channels, time)."""

    sample: Tensor


class DiffusersAutoencoder(nn.Module):
    """``encode(x).latent_dist``, ``decode(z).sample`` and ``config`` around a codec.

    Latents are (batch, latents, frames) as there. Where a codec codes the channels of a stereo
    signal one by one their latents lie one after the other, so that latents = 2 * latent_dim.

    Args:
        codec: what ``codec.load`` gives.
        channels: of the waveforms, 1 or 2; a network that takes two at once has 2.
        standardized: latents of mean 0 and variance 1, which is what a new diffusion model wants.
            False keeps the network's own units: those of the original, for a model that was
            trained on the latents of a converted one.

    Raises:
        AudioError: a two-channel network and another number of channels, or more than two.
    """

    def __init__(self, codec: LatentCodec, channels: int = 2, standardized: bool = True) -> None:
        super().__init__()
        if channels not in (1, 2) or (codec.config.channels == 2 and channels != 2):
            raise AudioError(
                f"{channels} channels with the model '{codec.config.name}', whose network takes "
                f"{codec.config.channels}: expected "
                f"{'2' if codec.config.channels == 2 else '1 or 2'}"
            )
        self.codec = codec
        self.channels = channels
        self.standardized = standardized
        latents = codec.coded_channels(channels) * codec.latent_dim
        self.config = AdapterConfig(
            _class_name=type(self).__name__,
            sampling_rate=codec.sample_rate,
            audio_channels=channels,
            decoder_input_channels=latents,
            latent_channels=latents,
            downsampling_ratios=[codec.hop_length],
            scaling_factor=1.0,
        )

    @property
    def sampling_rate(self) -> int:
        """Hz."""
        return self.codec.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per latent frame."""
        return self.codec.hop_length

    @property
    def device(self) -> torch.device:
        return self.codec.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights, and of every output, whatever the input's."""
        return torch.float32

    def encode(
        self, x: Tensor, return_dict: bool = True
    ) -> EncoderOutput | tuple[LatentDistribution]:
        """(batch, channels, time) -> the posterior of ceil(time / hop_length) frames.

        Raises:
            AudioError: no such shape, or other channels than ``channels``.
        """
        if x.ndim != 3 or x.shape[1] != self.channels or 0 in x.shape:
            raise AudioError(
                f"expected a waveform (batch, {self.channels}, time), got {tuple(x.shape)}"
            )
        padded = F.pad(x.float(), (0, -x.shape[2] % self.hop_length))
        posterior = self.codec.autoencoder.posterior(self.codec.to_rows(padded).flatten(0, 1))
        if self.standardized:
            posterior = self.codec.standardizer.posterior(posterior)
        # the rows of a stereo signal are neighbors in the batch
        mean, logvar = (
            each.reshape(len(x), -1, each.shape[2]) for each in (posterior.mean, posterior.logvar)
        )
        latent_dist = LatentDistribution(Posterior(mean, logvar))
        return EncoderOutput(latent_dist) if return_dict else (latent_dist,)

    def decode(
        self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None
    ) -> DecoderOutput | tuple[Tensor]:
        """(batch, latents, frames) -> (batch, channels, frames * hop_length).

        ``generator`` is there for code that gives one, and is not used.

        Raises:
            LacunaError: no such shape.
        """
        latents = self.config.decoder_input_channels
        if z.ndim != 3 or z.shape[1] != latents or 0 in z.shape:
            raise LacunaError(f"expected latents (batch, {latents}, frames), got {tuple(z.shape)}")
        rows = z.float().unflatten(1, (-1, self.codec.latent_dim))
        if not self.standardized:
            rows = self.codec.standardizer(rows)
        waveform = self.codec.decode(rows)
        return DecoderOutput(waveform) if return_dict else (waveform,)

    def forward(
        self,
        sample: Tensor,
        sample_posterior: bool = False,
        return_dict: bool = True,
        generator: torch.Generator | None = None,
    ) -> DecoderOutput | tuple[Tensor]:
        """There and back, by the posterior's mean or a sample of it."""
        encoded = self.encode(sample)
        assert isinstance(encoded, EncoderOutput)
        posterior = encoded.latent_dist
        z = posterior.sample(generator) if sample_posterior else posterior.mode()
        return self.decode(z, return_dict)
