"""Which quantiser steps an export calls useful."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import codec
from codec.entropy.quantise import nearest_step, step_multiple
from codec.network.autoencoder import Autoencoder
from codec.training.codec_task import CodecTask


def exported(task: CodecTask, path: Path) -> codec.Codec:
    with torch.inference_mode():
        task.export(task.model.eval(), path, {"steps": 1})  # type: ignore[arg-type]
    return codec.load(path)


def test_the_coarsest_useful_step_is_the_coarsest_trained_one(
    make_task: Callable[..., CodecTask], tmp_path: Path
) -> None:
    task = make_task()
    useful = exported(task, tmp_path / "model.safetensors").useful
    assert useful.coarsest_step == nearest_step(task.config.noise.steps[1])
    assert step_multiple(useful.finest_step) >= 0.7
    assert 0 < useful.low_kbps <= useful.high_kbps


def test_a_decoder_that_ignores_the_latents_needs_no_fine_step(
    make_task: Callable[..., CodecTask], tmp_path: Path
) -> None:
    task = make_task()
    with torch.no_grad():
        task.model.decoder.embed.weight.zero_()  # type: ignore[union-attr]
    useful = exported(task, tmp_path / "model.safetensors").useful
    assert useful.finest_step == useful.coarsest_step


def test_an_export_is_quick(
    make_task: Callable[..., CodecTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run waits for it: what it decodes and listens to is counted, since clocks vary."""
    decoded: list[int] = []
    original = Autoencoder.decode

    def decode(self: Autoencoder, z: torch.Tensor) -> torch.Tensor:
        decoded.append(len(z))
        return original(self, z)

    task = make_task(noise={"steps": (1.0, 96.0)})
    with monkeypatch.context() as patch:
        patch.setattr(Autoencoder, "decode", decode)
        exported(task, tmp_path / "model.safetensors")
    assert 2 <= len(decoded) <= 5
    assert set(decoded) == {16}
