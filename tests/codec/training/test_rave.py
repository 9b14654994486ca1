"""configs/rave.toml: a filter bank in front, cyclical annealing and free bits; tiny, some steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_helpers import alone  # noqa: F401 (a fixture)

from codec.api import load
from codec.training.run import train_codec

TINY = (
    "model.sample_rate=16000",
    "model.latent_dim=4",
    "model.network.width=4",
    "model.network.width_multiples=[1, 2]",
    "model.network.strides=[4, 2]",
    "training.data.crop_seconds=0.2",
    "training.loss.stft_windows=[256, 64]",
    "training.loss.mel_windows=[256, 64]",
    "training.kl.anneal_steps=4",
    "training.kl.free_nats=0.5",
    "training.adversarial.start_step=6",
    "training.adversarial.ramp_steps=0",
    "training.adversarial.stft_windows=[64]",
    "training.adversarial.stft_width=2",
    "training.adversarial.periods=[2]",
    "training.adversarial.period_width=2",
    "training.log_every=1",
)


@pytest.mark.filterwarnings("ignore:posterior collapse")  # in eight steps
def test_a_tiny_rave_trains_and_codes(
    tmp_path: Path,
    audio_folder: Path,
    no_preview: None,
    read_log: Callable[..., list[dict[str, Any]]],
) -> None:
    out = tmp_path / "run"
    train_codec(
        "rave", audio_folder, out, cpu=True, settings=TINY, overrides={"steps": 8, "batch_size": 4}
    )
    steps = read_log(out)
    weights = [step["kl_weight"] / 5e-3 for step in steps]
    assert weights == pytest.approx([0, 0.5, 1, 1] * 2)  # from 0 again after every period
    assert all("discriminator" in step for step in steps[6:])
    assert "discriminator" not in steps[0]

    model = load(out / "model.safetensors")
    assert model.hop_length == 16 * 4 * 2
    assert model.autoencoder.decoder.pqmf is not None
    waveform = 0.1 * torch.randn(2, 5000, generator=torch.Generator().manual_seed(0))
    decoded, rate = model.decompress(model.compress(waveform, 16_000, quality=5))
    assert (decoded.shape, rate) == (waveform.shape, 16_000)
