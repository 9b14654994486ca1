"""A run that is killed, however rudely, and started again ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from codec.training import run_folder
from codec.training.codec_task import CodecTask
from codec.training.run import train_codec

STEPS = 30
OVERRIDES = {"steps": STEPS, "validate_every": STEPS}
DEADLINE = 120.0  # seconds, for a busy machine


def wait_for_step(run: Path, step: int, alive: Callable[[], bool]) -> None:
    """Until the log has the line of ``step``."""
    start = time.monotonic()
    log = run / "log.jsonl"
    while not (log.exists() and f'"step": {step},' in log.read_text()):
        assert alive(), f"the run ended before step {step}"
        assert time.monotonic() - start < DEADLINE
        time.sleep(0.005)


def newest_state(run: Path) -> dict[str, torch.Tensor]:
    return load_file(max((run / "state").glob("step-*")) / "tensors.safetensors")


def train_slowly(audio: Path, out: Path, steps: int) -> None:
    """In another process: one thread, no drawing, slow enough for signals to arrive."""
    torch.set_num_threads(1)
    original = CodecTask.loss

    def loss(self: CodecTask, *arguments: Any) -> Any:
        time.sleep(0.02)
        return original(self, *arguments)

    CodecTask.loss = loss  # type: ignore[method-assign]
    CodecTask.preview = lambda *arguments: None  # type: ignore[assignment, method-assign]
    train_codec("tiny", audio, out, cpu=True, overrides={"steps": steps})


def train_until_killed_in_a_checkpoint(audio: Path, out: Path, step: int) -> None:
    """In another process: SIGKILL when half of the checkpoint of ``step`` is written."""

    def save_half(tensors: dict[str, torch.Tensor], path: Path) -> None:
        save_file(tensors, path)
        if f"{step:08d}" in str(path):
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    run_folder.save_file = save_half  # type: ignore[assignment]
    train_codec("tiny", audio, out, cpu=True, overrides=OVERRIDES)


def test_killed_run_continues_to_the_last_bit(
    audio_folder: Path,
    tmp_path: Path,
    train: Callable[..., Any],
    read_log: Callable[..., Any],
    processes: ForkServerContext,
) -> None:
    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    train(unbroken, overrides=OVERRIDES)

    # At a random step, as a person starts it.
    step = random.randint(1, 12)
    command = [sys.executable, "-m", "codec", "train", "codec", "tiny", "--threads", "1"]
    command += ["--device", "cpu", "--steps", str(STEPS)]
    command += ["--data", str(audio_folder), "--out", str(killed)]
    process = subprocess.Popen(
        command, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        wait_for_step(killed, step, lambda: process.poll() is None)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL, f"killed after step {step}"

    # In the middle of a checkpoint, which must then not be taken for one.
    child = processes.Process(
        target=train_until_killed_in_a_checkpoint, args=(audio_folder, killed, 27)
    )
    child.start()
    child.join(DEADLINE)
    assert child.exitcode == -signal.SIGKILL
    (partial,) = (killed / "state").glob(".partial-*")
    assert (partial / "tensors.safetensors").is_file()
    with open(killed / "log.jsonl", "a") as log:
        log.write('{"kind": "train", "step": 28, "lo')  # a line that was cut short

    train(killed, overrides=OVERRIDES)

    assert read_log(killed) == read_log(unbroken), f"killed after step {step}"
    assert read_log(killed, "valid") == read_log(unbroken, "valid")
    expected, state = newest_state(unbroken), newest_state(killed)
    assert state.keys() == expected.keys()
    assert any(key.startswith("optimizer.") for key in state)
    for key, tensor in expected.items():
        assert torch.equal(state[key], tensor), f"{key}, killed after step {step}"


def test_newest_checkpoint_lost(
    tmp_path: Path, train: Callable[..., Any], read_log: Callable[..., Any]
) -> None:
    """Deleting the newest checkpoint goes back to the one before, in the log as well."""
    overrides = {"steps": 6}
    train(tmp_path, overrides=overrides)
    lines, state = read_log(tmp_path), newest_state(tmp_path)
    shutil.rmtree(tmp_path / "state" / "step-00000006")
    train(tmp_path, overrides=overrides)
    assert read_log(tmp_path) == lines
    again = newest_state(tmp_path)
    assert all(torch.equal(again[key], state[key]) for key in state)


def test_sigterm_ends_with_a_checkpoint(
    audio_folder: Path,
    tmp_path: Path,
    read_log: Callable[..., Any],
    processes: ForkServerContext,
) -> None:
    child = processes.Process(target=train_slowly, args=(audio_folder, tmp_path, 100_000))
    child.start()
    try:
        wait_for_step(tmp_path, 4, child.is_alive)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGTERM)
        child.join(DEADLINE)
    finally:
        child.kill()
    assert child.exitcode == 0
    last = read_log(tmp_path)[-1]["step"]
    assert (tmp_path / "state" / f"step-{last:08d}" / "tensors.safetensors").is_file()
    assert (tmp_path / "model.safetensors").is_file()
