"""Runs of a tiny diffusion model: killed, shared by processes, fine-tuned, refused."""

from __future__ import annotations

import os
import random
import signal
import socket
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
from latent_helpers import write_codec
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from codec.errors import CheckpointError, LacunaError
from codec.network.config import ModelConfig
from codec.settings import config_dir
from codec.training import session
from codec.training.loop import Trainer
from diffusion.model import checkpoint
from diffusion.model.ema import PowerEMA
from diffusion.training.run import train_diffusion
from diffusion.training.task import DiffusionTask

Train = Callable[..., Any]
Log = Callable[..., list[dict[str, Any]]]

QUICK = {"validation_items": 4}
STEPS = 20
DEADLINE = 120.0  # seconds, for a busy machine


@pytest.fixture(scope="module")
def with_dropout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny config with dropout, whose random numbers must survive a restart too."""
    path = tmp_path_factory.mktemp("config") / "dropout.toml"
    text = (config_dir() / "diffusion_tiny.toml").read_text()
    path.write_text(text.replace("memory_tokens = 2", "memory_tokens = 2\ndropout = 0.3"))
    return path


# -- learning ----------------------------------------------------------------------------------


def test_training_beats_the_zero_predictor(train: Train, tmp_path: Path, read_log: Log) -> None:
    overrides = {
        "steps": 80,
        "batch_size": 8,
        "checkpoint_every": 1000,
        "log_every": 80,
        "optimizer": {"learning_rate": 3e-3, "warmup_steps": 4},
        **QUICK,
    }
    train(tmp_path / "run", overrides=overrides)
    (values,) = read_log(tmp_path / "run", "valid")
    assert values["score"] < 0.8 * values["zero"]
    assert values["gaussian"] < values["zero"]
    assert "denoised_db" in values
    losses = [values[f"loss_t{t}"] for t in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert values["score"] == pytest.approx(sum(losses) / 5)
    scores = [values["score_sigma_rel_05"], values["score_sigma_rel_10"]]
    assert values["score"] == min(scores)
    assert scores[0] != scores[1]


def test_previews_ask_as_users_do(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By label and channels, and as nothing else that training gives: as `lacuna generate` does."""
    tasks: list[DiffusionTask] = []
    monkeypatch.setattr(DiffusionTask, "preview", lambda self, *rest: tasks.append(self))
    train(tmp_path / "run", overrides={"steps": 1, **QUICK})
    windows = tasks[0].validation.batch(range(3)).conditioning
    wish = tasks[0]._wishes(3).conditioning
    assert torch.equal(wish.label, windows.label)
    assert torch.equal(wish.present, windows.present)
    assert not wish.mask.any()


def test_processes_that_load_change_nothing(
    train: Train, tmp_path: Path, read_log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = []
    for processes in (0, 2):
        monkeypatch.setattr(session, "loaders", lambda accelerator, count=processes: count)
        out = tmp_path / str(processes)
        train(out, overrides={"steps": 5, **QUICK})
        losses.append([values["loss"] for values in read_log(out, "train")])
    assert len(losses[0]) == 5
    assert losses[0] == losses[1]


# -- killed and started again ------------------------------------------------------------------


def train_until_killed(folders: dict[str, Path], config: Path, out: Path, step: int) -> None:
    """In another process: SIGKILL in the middle of a step."""
    torch.set_num_threads(1)
    original = DiffusionTask.loss

    def loss(self: DiffusionTask, model: Any, batch: Any, now: int) -> Any:
        if now == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, model, batch, now)

    DiffusionTask.loss = loss  # type: ignore[method-assign]
    DiffusionTask.preview = lambda *arguments: None  # type: ignore[assignment, method-assign]
    run(folders, str(config), out, {"steps": STEPS, "validate_every": 8, **QUICK})


def run(folders: dict[str, Path], config: str, out: Path, overrides: dict[str, Any]) -> None:
    train_diffusion(
        config,
        out,
        latents=folders["latents"],
        codec=str(folders["codec"]),
        cpu=True,
        overrides=overrides,
    )


@pytest.fixture
def folders(latents_folder: Path, codec_path: Path) -> dict[str, Path]:
    return {"latents": latents_folder, "codec": codec_path}


def test_killed_run_continues_to_the_last_bit(
    folders: dict[str, Path],
    with_dropout: Path,
    tmp_path: Path,
    train: Train,
    read_log: Log,
    processes: ForkServerContext,
) -> None:
    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    overrides = {"steps": STEPS, "validate_every": 8, **QUICK}
    train(unbroken, config=str(with_dropout), overrides=overrides)

    step = random.randint(9, 17)
    child = processes.Process(target=train_until_killed, args=(folders, with_dropout, killed, step))
    child.start()
    child.join(DEADLINE)
    assert child.exitcode == -signal.SIGKILL
    assert read_log(killed)[-1]["step"] == step
    train(killed, config=str(with_dropout), overrides=overrides)

    assert read_log(killed) == read_log(unbroken), f"killed after step {step}"
    assert read_log(killed, "valid") == read_log(unbroken, "valid")
    one, two = (
        load_file(folder / "state" / f"step-{STEPS:08d}" / "tensors.safetensors")
        for folder in (unbroken, killed)
    )
    assert one.keys() == two.keys()
    assert {key.split(".")[0] for key in one} == {"model", "ema", "optimizer"}
    for key in one:
        assert torch.equal(one[key], two[key]), f"{key}, killed after step {step}"


# -- two processes -----------------------------------------------------------------------------


def train_recording_gradients(
    folders: dict[str, Path], out: Path, gradients: Path, rank: int, world_size: int, port: int
) -> None:
    """In a process of its own: train, and write each step's gradient from the first process."""
    if world_size > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ |= {"WORLD_SIZE": str(world_size), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    original = Trainer._apply

    def apply(self: Trainer, norm: torch.Tensor) -> None:
        if rank == 0:
            named = self.task.model.named_parameters()
            found = {name: p.grad.clone() for name, p in named if p.grad is not None}
            save_file(found, gradients / f"{self.state.step}.safetensors")
        original(self, norm)

    Trainer._apply = apply  # type: ignore[method-assign]
    DiffusionTask.preview = lambda *arguments: None  # type: ignore[assignment, method-assign]
    run(folders, "diffusion_tiny", out, {"steps": 3, **QUICK})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_processes_give_the_gradients_of_one(
    folders: dict[str, Path], tmp_path: Path, processes: ForkServerContext, read_log: Log
) -> None:
    children = []
    for world_size in (1, 2):
        out = tmp_path / str(world_size)
        (out / "gradients").mkdir(parents=True)
        port = free_port()
        for rank in range(world_size):
            arguments = (folders, out, out / "gradients", rank, world_size, port)
            children.append(processes.Process(target=train_recording_gradients, args=arguments))
    for child in children:
        child.start()
    for child in children:
        child.join(DEADLINE)
    codes = [child.exitcode for child in children]
    for child in children:
        child.kill()
    assert codes == [0, 0, 0]

    one, two = (read_log(tmp_path / name) for name in "12")
    assert [line["step"] for line in two] == [1, 2, 3]
    for alone, together in zip(one, two, strict=True):
        assert together == pytest.approx(alone, rel=1e-4)
    for step in range(3):
        one, two = (load_file(tmp_path / n / "gradients" / f"{step}.safetensors") for n in "12")
        assert one.keys() == two.keys()
        difference, size = (
            torch.cat([tensor.flatten() for tensor in tensors]).norm()
            for tensors in ([two[key] - one[key] for key in one], one.values())
        )
        assert difference < 1e-4 * size, step


# -- what a run leaves behind ------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished_run(
    latents_folder: Path, codec_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Four steps with everything on: validation, previews."""
    out = tmp_path_factory.mktemp("runs") / "run"
    overrides = {"steps": 4, "optimizer": {"learning_rate": 1e-2, "warmup_steps": 0}, **QUICK}
    run({"latents": latents_folder, "codec": codec_path}, "diffusion_tiny", out, overrides)
    return out


def test_export_is_the_better_average(finished_run: Path, read_log: Log, codec_path: Path) -> None:
    loaded = checkpoint.load(finished_run / "best.safetensors")
    assert loaded.labels == ("audio0",)
    assert loaded.codec == "tiny"
    assert loaded.config.name == "diffusion_tiny"
    assert loaded.provenance["steps"] == 4
    (values,) = read_log(finished_run, "valid")
    better = loaded.provenance["average"]
    assert values[f"score_{better}"] == values["score"]

    state = load_file(finished_run / "state" / "step-00000004" / "tensors.safetensors")
    ema = PowerEMA(loaded.transformer)
    ema.load_state_dict({k[4:]: v for k, v in state.items() if k.startswith("ema.")})
    width = {"sigma_rel_05": 0.05, "sigma_rel_10": 0.10}[better]
    for name, value in ema.average(width).items():
        stored = loaded.transformer.state_dict()[name]
        torch.testing.assert_close(stored, value, rtol=1e-3, atol=1e-5, msg=name)


def test_tensorboard_has_generated_sounds(finished_run: Path) -> None:
    events = EventAccumulator(str(finished_run / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"train/loss", "valid/score", "valid/zero", "valid/gaussian"} <= set(tags["scalars"])
    assert {"0_audio0/recorded", "0_audio0/generated"} <= set(tags["audio"])
    assert "0_audio0/spectrogram" in tags["images"]


def test_what_a_loss_means_is_printed(
    train: Train, tmp_path: Path, read_log: Log, capfd: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, overrides={"steps": 1, **QUICK})
    (values,) = read_log(tmp_path, "valid")
    line = f"validation loss {values['score']:.4f} (zero predictor {values['zero']:.4f}, Gaussian"
    assert line in capfd.readouterr().err


# -- fine-tuning, and what is refused ----------------------------------------------------------


def test_init_keeps_what_was_learned(
    finished_run: Path, train: Train, tmp_path: Path, codec_path: Path, audio_folder: Path
) -> None:
    """With audio in place of latents, and a label that is new beside one that is not."""
    data = tmp_path / "data"
    for name in ("audio0", "bell"):
        (data / name).mkdir(parents=True)
        for path in sorted(audio_folder.iterdir())[:2]:
            (data / name / path.name).symlink_to(path)
    overrides = {"steps": 1, "optimizer": {"learning_rate": 1e-12}, **QUICK}
    exported = finished_run / "model.safetensors"
    out = tmp_path / "run"
    train(out, latents=None, data=data, init=str(exported), overrides=overrides)
    before, after = (checkpoint.load(p) for p in (exported, out / "model.safetensors"))
    assert set(after.labels) == {"audio0", "bell"}
    old, new = before.transformer.state_dict(), after.transformer.state_dict()
    table = "embed_condition.label.weight"
    row = after.labels.index("audio0") + 1
    torch.testing.assert_close(new[table][[0, row]], old[table], rtol=0, atol=1e-6)
    for name in old.keys() - {table}:
        torch.testing.assert_close(new[name], old[name], rtol=0, atol=1e-6, msg=name)
    assert (out / "latents" / "index.json").is_file()


def test_latents_of_another_codec(
    train: Train, tmp_path: Path, tiny_model: ModelConfig, finished_run: Path, audio_folder: Path
) -> None:
    renamed = tiny_model.model_copy(update={"name": "other"})
    other = write_codec(renamed, tmp_path / "other.safetensors", seed=1)
    ours = checkpoint.load(finished_run / "model.safetensors").latent_id
    with pytest.raises(CheckpointError, match=f"'tiny', latent_id {ours}.*'other', latent_id"):
        train(tmp_path / "run", codec=str(other))
    with pytest.raises(CheckpointError, match=rf"cannot start this run.*{ours}.*'other'"):
        train(
            tmp_path / "run2",
            codec=str(other),
            latents=None,
            data=audio_folder,
            init=str(finished_run / "model.safetensors"),
        )


def test_init_of_another_network(finished_run: Path, train: Train, tmp_path: Path) -> None:
    config = tmp_path / "wider.toml"
    text = (config_dir() / "diffusion_tiny.toml").read_text()
    config.write_text(text.replace("depth = 2", "depth = 3"))
    difference = r"differs in transformer\.depth: 2 there, 3 in the config$"
    with pytest.raises(CheckpointError, match=difference):
        train(tmp_path / "run", str(config), init=str(finished_run / "model.safetensors"))


def test_neither_or_both_of_latents_and_data(train: Train, tmp_path: Path) -> None:
    for given in ({"latents": None}, {"data": tmp_path}):
        with pytest.raises(LacunaError, match="either --latents"):
            train(tmp_path / "run", **given)
