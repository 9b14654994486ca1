"""Two processes that share a batch do what one process does with all of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from codec.training.codec_task import CodecTask
from codec.training.loop import Trainer
from codec.training.run import train_codec

STEPS = 3
OVERRIDES = {
    "steps": STEPS,
    # Some channels are above and some below; each process alone would decide otherwise.
    "kl": {"mode": "target", "free_nats": 0.3},
    # Bins near the floor of the STFT loss turn rounding into up to 1e-3 of the gradient.
    "loss": {"stft": 0.0, "stft_windows": [256, 64], "mel_windows": [256, 64]},
    "adversarial": {"weight": 0.5, "start_step": 1, "stft_windows": [256], "periods": [3]},
}


def train_recording_gradients(
    audio: Path, out: Path, gradients: Path, rank: int, world_size: int, port: int
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
    CodecTask.preview = lambda *arguments: None  # type: ignore[assignment, method-assign]
    # A schedule by the clock too, for the processes have to agree on the time.
    train_codec("tiny", audio, out, cpu=True, schedule_minutes=1000.0, overrides=OVERRIDES)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def runs(
    audio_folder: Path, tmp_path_factory: pytest.TempPathFactory, processes: ForkServerContext
) -> Path:
    """The folders ``1`` and ``2``, of runs with as many processes."""
    folder = tmp_path_factory.mktemp("runs")
    children = []
    for world_size in (1, 2):
        out = folder / str(world_size)
        (out / "gradients").mkdir(parents=True)
        port = free_port()
        for rank in range(world_size):
            arguments = (audio_folder, out, out / "gradients", rank, world_size, port)
            children.append(processes.Process(target=train_recording_gradients, args=arguments))
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    codes = [child.exitcode for child in children]
    for child in children:
        child.kill()
    assert codes == [0, 0, 0]
    return folder


def test_losses_are_those_of_one_process(runs: Path, read_log: Callable[..., Any]) -> None:
    one, two = read_log(runs / "1"), read_log(runs / "2")
    assert [line["step"] for line in two] == [1, 2, 3]
    for alone, together in zip(one, two, strict=True):
        for key in alone.keys() - {"kind", "step"}:
            assert together[key] == pytest.approx(alone[key], rel=1e-5), (alone["step"], key)


def test_gradients_are_those_of_one_process(runs: Path) -> None:
    for step in range(STEPS):
        one, two = (load_file(runs / n / "gradients" / f"{step}.safetensors") for n in "12")
        assert one.keys() == two.keys()
        difference, size = (
            torch.cat([tensor.flatten() for tensor in tensors]).norm()
            for tensors in ([two[key] - one[key] for key in one], one.values())
        )
        assert difference < 1e-4 * size, step


def test_only_the_first_process_writes(runs: Path) -> None:
    for name in ("model.safetensors", "best.safetensors"):
        assert (runs / "2" / name).is_file()
    assert len(list((runs / "2" / "tensorboard").iterdir())) == 1
