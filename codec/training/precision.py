"""float32 or bfloat16: measured on the model that is to be trained, where it is trained."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator

from codec.training.config import LoopConfig
from codec.training.run_folder import RunState
from codec.training.task import Task

TRIALS = 2
"""Steps of which the fastest counts, after one that warms up."""

GAIN = 1.1
"""bfloat16 must be faster by this factor: for less its rounding is not worth it."""


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The autocast of a run: ``precision`` is "bf16" or "no"."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def step_seconds(task: Task, items: int, device: torch.device) -> dict[str, float]:
    """Precision -> seconds of a forward and backward pass of ``items`` items; changes nothing.

    Processes must call it together, since losses may average over them.
    """
    batch = task.load(range(items))
    state = task.state()
    buffers = [
        buffer.clone() for buffer in task.model.buffers()
    ]  # codebooks learn as they are used
    task.model.train()
    seconds = {}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for precision in ("no", "bf16"):
            times = [_timed(_one_step(task, batch, precision, device)) for _ in range(TRIALS + 1)]
            seconds[precision] = min(times[1:])
    task.model.zero_grad(set_to_none=True)
    task.load_state(state)
    with torch.no_grad():
        for buffer, before in zip(task.model.buffers(), buffers, strict=True):
            buffer.copy_(before)
    return seconds


def _one_step(task: Task, batch: Any, precision: str, device: torch.device) -> Callable[[], None]:
    def step() -> None:
        with autocast(device, precision):
            result = task.loss(task.model, batch, 0)
        result.loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return step


def _timed(function: Callable[[], None]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def faster(seconds: dict[str, float]) -> str:
    """ "bf16", if it is worth it, or "no"."""
    return "bf16" if seconds["bf16"] * GAIN < seconds["no"] else "no"


def chosen(
    task: Task, config: LoopConfig, state: RunState, items: int, accelerator: Accelerator
) -> str:
    """ "bf16" or "no": as the config says, or else what is faster, measured and logged.

    What was measured is kept in ``state``, and measured again on another kind of device.
    """
    if config.mixed_precision != "auto":
        return "bf16" if config.mixed_precision == "bf16" else "no"
    device = accelerator.device
    before, _, on = state.precision.partition(" on ")
    if on == device.type:
        return before
    seconds = step_seconds(task, items, device)
    precision = faster(seconds)
    state.precision = f"{precision} on {device.type}"
    accelerator.print(
        f"{items} items, forward and backward: {1000 * seconds['no']:.0f} ms in float32, "
        f"{1000 * seconds['bf16']:.0f} ms in bfloat16; training in "
        f"{'bfloat16' if precision == 'bf16' else 'float32'}",
        file=sys.stderr,
    )
    return precision
