"""Training draws latents as its encoder says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from codec.training.codec_task import CodecTask


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
