"""The training loop on a tiny codec: schedule, budgets, accumulation, bad steps, what it writes."""

from __future__ import annotations

import itertools
import json
import math
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import codec
from codec.errors import CheckpointError, ConfigError, LacunaError
from codec.settings import config_dir
from codec.training import loop
from codec.training.average import moving_average
from codec.training.codec_task import CodecTask
from codec.training.config import OptimizerConfig
from codec.training.loop import Trainer
from codec.training.run import train_codec
from codec.training.schedule import Budget, learning_rate

Train = Callable[..., Any]
Log = Callable[..., list[dict[str, Any]]]
Weights = Callable[[nn.Module], Tensor]

SMOOTH = {
    # A quantiser's noise is scaled by the mean sigma of a forward pass, so it depends on its items.
    "noise": {"uniform_share": 0.0},
    # Bins near the floor of this log-magnitude loss turn rounding into up to 1e-3 of the gradient.
    "loss": {"stft": 0.0, "stft_windows": [256, 64], "mel_windows": [256, 64]},
}


# -- schedules and budgets ---------------------------------------------------------------------


def test_learning_rate() -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=10, final_rate=0.1)
    assert learning_rate(config, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(config, 4, 0.0) == pytest.approx(0.5)
    assert learning_rate(config, 9, 0.0) == pytest.approx(1.0)
    assert learning_rate(config, 500, 0.5) == pytest.approx(0.55)
    assert learning_rate(config, 1000, 1.0) == pytest.approx(0.1)
    assert learning_rate(config, 1100, 1.1) == pytest.approx(0.1)
    immediate = OptimizerConfig(learning_rate=1.0, warmup_steps=0)
    assert learning_rate(immediate, 0, 0.0) == pytest.approx(1.0)


def test_moving_average() -> None:
    """A weight jumps from 0 to 1: the share of 0 that is left decays as configured."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = moving_average(model, decay=0.5)
    average.update_parameters(model)
    nn.init.ones_(model.weight)
    left = 1.0
    for count in range(1, 12):
        average.update_parameters(model)
        left *= min(0.5, (1 + count) / (10 + count))
        assert average.module.weight.item() == pytest.approx(1 - left)


def test_minutes_end_a_run_early_and_change_nothing_else(
    train: Train, tmp_path: Path, read_log: Log
) -> None:
    train(tmp_path / "unlimited", overrides={"steps": 4})
    for steps_done in (1, 2):
        state = train(tmp_path / "limited", minutes=0.0, overrides={"steps": 4})
        assert state.step == steps_done  # one step for each call, then the budget is spent

    unlimited, limited = read_log(tmp_path / "unlimited"), read_log(tmp_path / "limited")
    assert len(limited) == 2
    assert limited == unlimited[:2]
    assert (tmp_path / "limited" / "model.safetensors").is_file()


def test_schedule_minutes_fit_the_schedule_into_time(
    make_trainer: Callable[..., Trainer],
    tmp_path: Path,
    read_log: Log,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = itertools.count(0, 10)  # each look takes ten seconds, and a step looks once
    ticking = SimpleNamespace(monotonic=lambda: float(next(clock)), perf_counter=lambda: 0.0)
    monkeypatch.setattr(loop, "time", ticking)
    trainer = make_trainer(
        tmp_path,
        Budget(schedule_minutes=1.0),
        steps=1000,
        optimizer={"warmup_steps": 0, "learning_rate": 1.0e-3, "final_rate": 0.0},
    )
    state = trainer.train()

    assert trainer.finished
    assert 60 <= state.seconds < 70
    rates = [line["learning_rate"] for line in read_log(tmp_path)]
    assert len(rates) == state.step == 6
    expected = [10.0 * step for step in range(6)]
    assert rates == pytest.approx(
        [5e-4 * (1 + math.cos(math.pi * seconds / 60)) for seconds in expected]
    )


def test_minutes_leave_time_for_the_last_validation_and_export(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    trainer = make_trainer(tmp_path, Budget(minutes=1.0))
    assert not trainer._should_stop([], 30.0)
    trainer._closing = {"validation": 15.0, "checkpoint": 16.0}
    assert trainer._should_stop([], 30.0)


class Reads(TorchDispatchMode):
    """Counts how often the value of a tensor is read, for which a GPU would have to be waited for.

    Apart from PyTorch's moving average, which counts its updates in a tensor on the CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        if function is torch.ops.aten._local_scalar_dense.default:
            files = {frame.filename for frame in traceback.extract_stack(limit=12)}
            self.count += not any(name.endswith("swa_utils.py") for name in files)
        return function(*arguments, **(options or {}))


def test_no_step_waits_for_the_device(make_trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    """With discriminators too; only a step that is logged reads what was computed."""
    adversary = {
        "weight": 0.5,
        "stft_windows": [256],
        "stft_width": 2,
        "periods": [3],
        "period_width": 2,
    }
    trainer = make_trainer(tmp_path, log_every=3, adversarial=adversary)
    batches = map(trainer.task.load, trainer._shares())
    reads = []
    for _ in range(3):
        with Reads() as mode:
            logs = trainer._step(batches)
        trainer.state.step += 1
        reads.append(mode.count)
    assert reads[:2] == [0, 0]
    assert reads[2] >= len(logs) - 1


# -- one step ----------------------------------------------------------------------------------


def test_accumulated_halves_equal_the_whole_batch(
    make_trainer: Callable[..., Trainer], tmp_path: Path, read_log: Log, weights: Weights
) -> None:
    # Active channels are counted in each half; with this seed none is near the threshold.
    overrides = {**SMOOTH, "steps": 3, "seed": 2}
    for accumulate in (1, 2):
        trainer = make_trainer(tmp_path / str(accumulate), accumulate=accumulate, **overrides)
        start = weights(trainer.task.model)
        trainer.train()
        if accumulate == 1:
            whole = weights(trainer.task.model)
    halves = weights(trainer.task.model)

    for one, two in zip(read_log(tmp_path / "1"), read_log(tmp_path / "2"), strict=True):
        assert two == pytest.approx(one, rel=1e-4)
    assert (halves - whole).norm() < 1e-3 * (whole - start).norm()


def nan_at(*steps: int) -> Callable[..., Any]:
    """CodecTask.loss, but its gradient is NaN at some steps."""
    original = CodecTask.loss

    def loss(self: CodecTask, model: nn.Module, batch: Any, step: int) -> Any:
        result = original(self, model, batch, step)
        return replace(result, loss=result.loss * math.nan) if step in steps else result

    return loss


def test_non_finite_gradient_is_skipped_and_counted(
    make_trainer: Callable[..., Trainer],
    tmp_path: Path,
    weights: Weights,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CodecTask, "loss", nan_at(1, 2))
    trainer = make_trainer(tmp_path, Budget(minutes=0.0), steps=10)
    seen = [weights(trainer.task.model)]
    bad = []
    for _ in range(4):  # one step each
        bad.append(trainer.train().bad_steps)
        seen.append(weights(trainer.task.model))

    assert bad == [0, 1, 2, 0]
    changed = [not torch.equal(a, b) for a, b in itertools.pairwise(seen)]
    assert changed == [True, False, False, True]
    assert torch.isfinite(seen[-1]).all()


def test_run_stops_when_the_gradient_stays_non_finite(
    make_trainer: Callable[..., Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CodecTask, "loss", nan_at(*range(100)))
    monkeypatch.setattr(loop, "MAX_BAD_STEPS", 3)
    trainer = make_trainer(tmp_path, steps=10)
    with pytest.raises(LacunaError, match="3 steps in a row, until step 3; lower the learning"):
        trainer.train()


def test_gradient_scaler_recovers_from_overflow(
    make_trainer: Callable[..., Trainer], tmp_path: Path, weights: Weights
) -> None:
    """As with fp16 on a GPU: its first, too large scales give infinite gradients."""
    accelerator = Accelerator(cpu=True, mixed_precision="fp16")
    accelerator.native_amp = True
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=2.0**-40)
    accelerator.autocast = lambda: torch.autocast("cpu", enabled=False)  # type: ignore[method-assign]
    trainer = make_trainer(tmp_path, accelerator=accelerator, steps=12)
    start = weights(trainer.task.model)
    state = trainer.train()

    assert accelerator.scaler.get_scale() < 2.0**127
    assert state.bad_steps == 0
    assert state.scaler["scale"] == accelerator.scaler.get_scale()
    assert not torch.equal(weights(trainer.task.model), start)


def test_bfloat16(make_trainer: Callable[..., Trainer], tmp_path: Path, read_log: Log) -> None:
    make_trainer(tmp_path / "bf16", mixed_precision="bf16", steps=1).train()
    make_trainer(tmp_path / "float32", steps=1).train()
    full, half = (read_log(tmp_path / name)[0]["loss"] for name in ("float32", "bf16"))
    assert half != full
    assert half == pytest.approx(full, rel=0.02)


def test_batch_that_cannot_be_split(make_trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    with pytest.raises(LacunaError, match=r"batch_size 4 .* 3 accumulation .* multiple of 3"):
        make_trainer(tmp_path, accumulate=3)


def test_crops_shorter_than_a_window(make_task: Callable[..., CodecTask]) -> None:
    with pytest.raises(ConfigError, match=r"1536 samples are too short .* window of 4096"):
        make_task(loss={"stft_windows": [4096]})


# -- what a run leaves behind ------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished_run(audio_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps with everything on: validation, previews, checkpoints."""
    out = tmp_path_factory.mktemp("runs") / "run"
    train_codec("tiny", audio_folder, out, cpu=True, overrides={"steps": 6, "validate_every": 4})
    return out


def test_export_is_a_codec(finished_run: Path) -> None:
    for name in ("model.safetensors", "best.safetensors"):
        model = codec.load(finished_run / name)
        sound = 0.1 * torch.randn(2, 2, 5000, generator=torch.Generator().manual_seed(0))
        latents = model.encode(sound)
        assert latents.shape == (2, 2, 4, math.ceil(5000 / 128))
        decoded = model.decode(latents, length=5000)
        assert decoded.shape == sound.shape
        assert torch.isfinite(decoded).all()
    provenance = codec.load(finished_run / "model.safetensors").provenance
    assert provenance["steps"] == 6
    assert provenance["training"]["batch_size"] == 4
    heard = 6 * 4 * provenance["training"]["data"]["crop_seconds"] / 3600
    assert provenance["audio_hours_seen"] == round(heard, 2)


def test_log_tells_speed_and_hours(finished_run: Path) -> None:
    lines = [json.loads(line) for line in (finished_run / "log.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["kind"] == "train"][-1]
    assert last["audio_hours"] == pytest.approx(last["step"] * 4 * 0.1 / 3600)
    assert 0.1 < last["steps_per_second"] < 1000


def test_export_holds_the_moving_average(
    make_trainer: Callable[..., Trainer], tmp_path: Path, weights: Weights
) -> None:
    trainer = make_trainer(tmp_path, steps=5, optimizer={"learning_rate": 0.01, "warmup_steps": 0})
    trainer.train()
    exported = weights(codec.load(tmp_path / "model.safetensors").autoencoder)
    average, newest = weights(trainer.ema.module), weights(trainer.task.model)
    # Weights are stored as float16.
    assert (exported - average).norm() < 0.2 * (newest - average).norm()


def test_exported_statistics_standardise_the_latents(
    finished_run: Path, make_task: Callable[..., CodecTask]
) -> None:
    crops = make_task().source.batch(range(200)).waveform
    latents = codec.load(finished_run / "model.safetensors").encode(crops)
    by_channel = latents.transpose(0, 2).flatten(1)
    assert by_channel.mean(1).abs().max() < 0.15
    assert by_channel.std(1).tolist() == pytest.approx([1.0] * 4, abs=0.15)


def test_collapsed_channels_can_be_exported(
    make_task: Callable[..., CodecTask], tmp_path: Path
) -> None:
    task = make_task()
    project = task.model.encoder.project
    with torch.no_grad():
        project.weight[:2] = 0.0  # the means of two of four channels no longer vary
    path = tmp_path / "model.safetensors"
    with torch.inference_mode():
        task.export(task.model.eval(), path, {"steps": 1})
    model = codec.load(path)
    sound = task.source.batch(range(4)).waveform
    assert torch.isfinite(model.decode(model.encode(sound))).all()
    assert len(model.compress(sound[0], model.sample_rate)) > 0


def test_log_lines(finished_run: Path, read_log: Log) -> None:
    lines = read_log(finished_run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    terms = {"loss", "stft", "mel", "l1", "low_band", "kl_weight", "kbps", "active_channels"}
    for line in lines:
        assert terms | {"grad_norm", "learning_rate"} <= set(line)
        assert all(math.isfinite(line[term]) for term in terms)
    validations = read_log(finished_run, "valid")
    assert [line["step"] for line in validations] == [4, 6]
    channels = {f"kl_channel/{i:02d}" for i in range(4)}
    assert {"score", "mel_distance", "si_sdr", "kbps", "active_channels"} | channels <= set(
        validations[0]
    )


def test_tensorboard_has_audio_and_pictures(finished_run: Path) -> None:
    events = EventAccumulator(str(finished_run / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"train/loss", "valid/mel_distance"} <= set(tags["scalars"])
    assert {"0/original", "0/decoded"} <= set(tags["audio"])
    assert "0/spectrogram" in tags["images"]


def test_training_state_is_no_pickle(finished_run: Path) -> None:
    kept = sorted((finished_run / "state").iterdir())
    assert [folder.name for folder in kept] == ["step-00000003", "step-00000006"]
    files = [path for path in (finished_run / "state").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json"}


def test_finished_run_stays_finished(finished_run: Path, train: Train, read_log: Log) -> None:
    before = read_log(finished_run)
    assert train(finished_run, overrides={"steps": 6}).step == 6
    assert read_log(finished_run) == before


def test_damaged_state_is_named(train: Train, tmp_path: Path) -> None:
    train(tmp_path, overrides={"steps": 1})
    tensors = tmp_path / "state" / "step-00000001" / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"step-00000001' cannot be taken up"):
        train(tmp_path, overrides={"steps": 2})


def test_a_failing_export_does_not_lose_the_run(
    train: Train, tmp_path: Path, read_log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state is there before: the same command goes on, and exports what it had not."""
    train(tmp_path / "whole", overrides={"steps": 3})

    def fail(*arguments: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(CodecTask, "validate", lambda *_: {"score": math.inf})  # no best one yet
        patch.setattr(CodecTask, "export", fail)
        with pytest.raises(OSError, match="no space"):
            train(tmp_path / "run", overrides={"steps": 3})
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert train(tmp_path / "run", overrides={"steps": 3}).step == 3
    assert read_log(tmp_path / "run") == read_log(tmp_path / "whole")
    assert codec.load(tmp_path / "run" / "model.safetensors").provenance["steps"] == 3


def test_one_export_serves_both_names(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    original = CodecTask.export

    def export(self: CodecTask, model: nn.Module, path: Path, provenance: Any) -> None:
        written.append(path.name)
        original(self, model, path, provenance)

    monkeypatch.setattr(CodecTask, "export", export)
    train(tmp_path, overrides={"steps": 1})
    assert written == ["best.safetensors"]
    best, newest = (tmp_path / f"{name}.safetensors" for name in ("best", "model"))
    assert best.read_bytes() == newest.read_bytes()


# -- fine-tuning -------------------------------------------------------------------------------


def test_init_starts_from_the_weights_of_a_checkpoint(
    finished_run: Path, train: Train, tmp_path: Path, read_log: Log
) -> None:
    exported = finished_run / "model.safetensors"
    # One step at a negligible rate: what comes out is what went in.
    overrides = {"steps": 1, "optimizer": {"learning_rate": 1e-12}}
    train(tmp_path / "fine", init=str(exported), overrides=overrides)
    before, after = (
        codec.load(path).autoencoder.state_dict()
        for path in (exported, tmp_path / "fine" / "model.safetensors")
    )
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, rtol=0, atol=0, msg=name)


def test_init_refuses_another_network(
    finished_run: Path, audio_folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.toml"
    text = (config_dir() / "tiny.toml").read_text()
    other.write_text(text.replace("latent_dim = 4", "latent_dim = 2"))
    with pytest.raises(CheckpointError, match="latent_dim: 4 there, 2 in the config") as caught:
        train_codec(
            str(other),
            audio_folder,
            tmp_path / "run",
            cpu=True,
            init=str(finished_run / "model.safetensors"),
        )
    assert "sample_rate" not in str(caught.value)
