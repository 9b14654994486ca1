"""The second phase: a decoder is trained on, and everything else stays as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

import codec
from codec.entropy.quantise import quantise
from codec.errors import CheckpointError, LacunaError
from codec.model import checkpoint
from codec.model.checkpoint import Checkpoint
from codec.training.config import load_training_config
from codec.training.data import open_source, split_files
from codec.training.decoder_task import (
    STEPS,
    UNQUANTISED,
    DecoderTask,
    Quantiser,
    checkpoint_to_train_on,
)
from codec.training.loop import Trainer

TINY = {"stft_windows": [256], "stft_width": 2, "periods": [3], "period_width": 2}
OVERRIDES: dict[str, Any] = {
    "steps": 4,
    "validate_every": 2,
    # In phase two they start at once: the codec is trained already.
    "adversarial": {"weight": 0.5, "start_step": 1000, **TINY},
    "optimizer": {"learning_rate": 1e-3, "warmup_steps": 0, "ema_decay": 0.5},
}


@pytest.fixture
def train_decoder(
    train: Callable[..., Any], start: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """``train_decoder(out, **arguments of train_codec)``"""
    monkeypatch.setattr(DecoderTask, "preview", lambda *arguments: None)

    def run(out: Path, **arguments: Any) -> Any:
        options = {"init": str(start), "overrides": OVERRIDES, **arguments}
        return train(out, decoder_only=True, **options)

    return run


@pytest.fixture
def task(start: Path, audio_folder: Path) -> DecoderTask:
    config = load_training_config("tiny", **OVERRIDES)
    device = torch.device("cpu")
    loaded = checkpoint.load(start)
    plain = config.data.model_copy(update={"gain_db": (0.0, 0.0)})  # as a run validates
    sources = [
        open_source(paths, loaded.config, data, seed=seed, device=device)
        for seed, (paths, data) in enumerate(
            zip(split_files(audio_folder, None), (config.data, plain), strict=True)
        )
    ]
    return DecoderTask(loaded, config, *sources, device)


def test_keeps_latent_id_and_encoder_and_trains_the_decoder(
    train_decoder: Callable[..., Any], start: Path, tmp_path: Path
) -> None:
    train_decoder(tmp_path)
    before, after = checkpoint.load(start), checkpoint.load(tmp_path / "model.safetensors")
    assert after.latent_id == before.latent_id
    assert after.coding_id == before.coding_id
    assert after.useful == before.useful
    assert after.config == before.config
    old, new = before.autoencoder.state_dict(), after.autoencoder.state_dict()
    assert old.keys() == new.keys()
    for key in old:
        if key.startswith("encoder."):
            assert torch.equal(old[key], new[key]), key
    for key in old:
        if key.startswith("decoder."):
            assert not torch.equal(old[key], new[key]), key
    assert after.provenance["decoder_only"]
    assert after.provenance["before"] == before.provenance


def test_files_of_before_open_with_the_new_decoder(
    train_decoder: Callable[..., Any], start: Path, tmp_path: Path
) -> None:
    train_decoder(tmp_path)
    sound = 0.1 * torch.randn(1, 20_000, generator=torch.Generator().manual_seed(0))
    blob = codec.load(start).compress(sound, 16_000)
    new = codec.load(tmp_path / "model.safetensors")
    assert new.compress(sound, 16_000) == blob
    decoded, rate = new.decompress(blob)
    assert rate == 16_000
    assert not torch.equal(torch.as_tensor(decoded), sound)


def test_starting_score_is_that_of_the_start(
    train_decoder: Callable[..., Any],
    task: DecoderTask,
    start: Path,
    tmp_path: Path,
    read_log: Callable[..., Any],
) -> None:
    """A run that makes things worse: best.safetensors has the decoder that it began with."""
    # So large a rate ruins any decoder; a short crop of noise in between may not look better.
    ruin = {"learning_rate": 10.0, "warmup_steps": 0, "ema_decay": 0.0}
    adversarial = {"weight": 0, **TINY}
    train_decoder(tmp_path, overrides={**OVERRIDES, "adversarial": adversarial, "optimizer": ruin})
    first, *later = read_log(tmp_path, "valid")
    assert first["step"] == 0
    assert all(line["score"] > first["score"] for line in later)
    with torch.inference_mode():
        expected = task.validate(checkpoint.load(start).autoencoder.decoder)
    assert first["score"] == pytest.approx(expected["score"], rel=1e-6)

    best = checkpoint.load(tmp_path / "best.safetensors").autoencoder.state_dict()
    for key, value in checkpoint.load(start).autoencoder.state_dict().items():
        assert torch.equal(best[key], value), key


def test_resumes_to_the_last_bit(
    train_decoder: Callable[..., Any], tmp_path: Path, read_log: Callable[..., Any]
) -> None:
    train_decoder(tmp_path / "unbroken")
    for minutes in (0.0, 0.0, None):
        train_decoder(tmp_path / "broken", minutes=minutes)
    lines = read_log(tmp_path / "unbroken")
    assert all("adversarial" in line for line in lines)
    assert read_log(tmp_path / "broken") == lines
    one, two = (
        load_file(tmp_path / name / "state" / "step-00000004" / "tensors.safetensors")
        for name in ("unbroken", "broken")
    )
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_latents_are_those_of_a_file(task: DecoderTask, start: Path) -> None:
    """At every step what compressing and reading back would give, and a share as it is."""
    waveform = task.source.batch(range(3)).waveform
    model = codec.load(start)
    useful = model.useful
    numbers = torch.tensor([UNQUANTISED, 0, STEPS - 1])
    ours = task.latents(waveform, numbers)
    standard = model.encode(waveform)[:, 0].numpy()
    statistics = task.start.statistics
    for item, step in enumerate((None, useful.finest_step, useful.coarsest_step)):
        expected = standard[item]
        if step is not None:
            symbols = quantise(expected, task.start.tables.steps(step))
            expected = task.start.tables.dequantise(symbols[None], step)[0]
        in_network = torch.from_numpy(expected) * statistics.std[:, None] + statistics.mean[:, None]
        torch.testing.assert_close(ours[item], in_network, rtol=1e-5, atol=1e-5)


def test_quantiser_equals_that_of_files(task: DecoderTask) -> None:
    """Every step, values beyond the last cell and halves between two cells included."""
    rng = np.random.default_rng(0)
    tables = task.start.tables
    dim = task.start.config.latent_dim
    latents = (3 * rng.standard_normal((STEPS, dim, 500))).astype(np.float32)
    latents[:, :, :2] = 1e4, -1e4
    expected = latents.copy()
    for number, step in enumerate(task.steps):
        latents[number, :, 2] = 0.5 * tables.steps(int(step))
        symbols = quantise(latents[number], tables.steps(int(step)))
        expected[number] = tables.dequantise(symbols[None], int(step))[0]
    quantiser = Quantiser(tables, task.steps, torch.device("cpu"))
    rounded = quantiser(torch.from_numpy(latents), torch.arange(STEPS))
    assert torch.equal(rounded, torch.from_numpy(expected))


def test_steps_cover_the_useful_range(task: DecoderTask) -> None:
    drawn = [task._number_of(index) for index in range(2000)]
    assert drawn == task.load(range(2000)).number.tolist()
    assert drawn.count(UNQUANTISED) / len(drawn) == pytest.approx(0.2, abs=0.03)
    steps = [task.steps[number] for number in drawn if number != UNQUANTISED]
    useful = task.start.useful
    assert (min(steps), max(steps)) == (useful.finest_step, useful.coarsest_step)
    assert len(set(steps)) == 16
    middle = (useful.finest_step + useful.coarsest_step) / 2
    assert np.mean(steps) == pytest.approx(middle, rel=0.05)


def test_export_refuses_another_latent_id(task: DecoderTask, tmp_path: Path) -> None:
    with torch.no_grad():
        task._frozen.encoder.project.weight.add_(1.0)  # type: ignore[operator, union-attr]
    with pytest.raises(CheckpointError, match=r"changed latent_id from .* is not written"):
        task.export(task.model, tmp_path / "model.safetensors", {"steps": 1})
    assert not (tmp_path / "model.safetensors").exists()


def test_without_a_start_it_is_an_error(train: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(LacunaError, match="with --init"):
        train(tmp_path, decoder_only=True)
    assert not any(tmp_path.iterdir())


def test_start_of_another_model(start: Path) -> None:
    ours = checkpoint.load(start).config.model_copy(update={"latent_dim": 5})
    with pytest.raises(CheckpointError, match="latent_dim: 4 there, 5 in the config"):
        checkpoint_to_train_on(ours, str(start))


def test_another_start_cannot_take_up_the_run(task: DecoderTask, tmp_path: Path) -> None:
    Trainer(task, task.config, tmp_path, Accelerator(cpu=True))._save()
    statistics = task.start.statistics
    vars(statistics)["mean"] = statistics.mean + 1
    other: Checkpoint = task.start
    with pytest.raises(CheckpointError, match=f"--init has {other.latent_id}"):
        Trainer(task, task.config, tmp_path, Accelerator(cpu=True))
    state = json.loads((tmp_path / "state" / "step-00000000" / "state.json").read_text())
    assert f"{state['task']['latent_id']:016x}" != other.latent_id
