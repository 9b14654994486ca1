"""Level latents begin as what is measured, and have steps of their own."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from codec.network.autoencoder import Autoencoder
from codec.network.config import load_model_config
from codec.network.spectral import SpectralEncoder
from codec.training.codec_task import LEVEL_SIGMA_DB, CodecTask, fit_levels


@pytest.mark.parametrize("exact", [True, False])
def test_they_begin_as_what_is_measured(make_task: Callable[..., CodecTask], exact: bool) -> None:
    source = make_task().source
    setting = f"model.network.exact_levels={str(exact).lower()}"
    autoencoder = Autoencoder(load_model_config("tiny", [setting]))
    fit_levels(autoencoder, source)
    encoder = autoencoder.encoder
    assert isinstance(encoder, SpectralEncoder)
    waveform = source.batch(range(64)).waveform
    with torch.no_grad():
        posterior = autoencoder.posterior(waveform)
        levels = encoder.levels_in(encoder.measure(waveform)).transpose(1, 2)
    torch.testing.assert_close(posterior.mean[:, :2], levels)
    assert levels.std() == pytest.approx(1, abs=0.3)
    decibels = autoencoder.decoder.levels_out.weight.norm(dim=0) * 20 / math.log(10)  # type: ignore[union-attr, operator]
    expected = (LEVEL_SIGMA_DB / decibels)[:, None].expand_as(posterior.sigma[0, :2])
    torch.testing.assert_close(posterior.sigma[0, :2], expected)


def test_rounding_noise_in_training_has_their_steps(make_task: Callable[..., CodecTask]) -> None:
    drawn = []
    for share in (1.0, 0.25):
        task = make_task(noise={"uniform_share": 1.0, "level_steps": share})
        with torch.no_grad():
            batch = task.load(range(4))
            posterior = task.model.posterior(batch.waveform)  # type: ignore[operator]
            drawn.append(task._sample(batch, posterior) - posterior.mean)
    torch.testing.assert_close(drawn[1][:, :2], 0.25 * drawn[0][:, :2])
    torch.testing.assert_close(drawn[1][:, 2:], drawn[0][:, 2:])


def test_training_draws_latents_with_the_posterior_s_noise(
    make_task: Callable[..., CodecTask],
) -> None:
    """Not their mean: the latents of a VAE are random, by as much as its encoder says."""
    task = make_task(noise={"uniform_share": 0.0})
    with torch.no_grad():
        batch = task.load(range(200))
        posterior = task.model.posterior(batch.waveform)  # type: ignore[operator]
        noise = (task._sample(batch, posterior) - posterior.mean) / posterior.sigma
    assert noise.std() == pytest.approx(1.0, abs=0.05)
    assert noise.mean() == pytest.approx(0.0, abs=0.05)
