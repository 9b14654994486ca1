"""What every training command does around the loop: Accelerate, and what it tells a person."""

from __future__ import annotations

import time
from itertools import pairwise

import psutil
import torch
from accelerate import Accelerator
from rich.console import Console

from codec.errors import LacunaError
from codec.process import available_cores
from codec.text import printable_lines
from codec.training.config import LoopConfig
from codec.training.loop import Trainer
from codec.training.run_folder import RunState


def start(config: LoopConfig, *, cpu: bool) -> Accelerator:
    """Accelerate as the config asks, and the seed of what is initialised at random.

    bfloat16 needs no gradient scaler, so the loop switches it on by itself.

    Raises:
        LacunaError: float16 on a CPU.
    """
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision="fp16" if config.mixed_precision == "fp16" else "no",
        gradient_accumulation_steps=config.accumulate,
    )
    if config.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise LacunaError(
            "mixed_precision 'fp16' needs a GPU, and this run is on the CPU; use 'bf16' or 'no'"
        )
    torch.manual_seed(config.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    return accelerator


def loaders(accelerator: Accelerator) -> int:
    """How many processes shall load the batches of each that trains: none where a CPU trains."""
    if accelerator.device.type == "cpu":
        return 0
    return max(1, available_cores() // torch.cuda.device_count() - 2)


def report_processes(accelerator: Accelerator) -> None:
    """Say how many processes train, and warn when they are fewer than were asked for or could be.

    Without GPUs ``accelerate launch`` starts one process whatever it is asked for.
    """
    count = accelerator.num_processes
    say(accelerator, f"{count} process{'es' * (count > 1)} on {accelerator.device.type}")
    asked, gpus = _processes_asked_for(), torch.cuda.device_count()
    remedy = "start it with `torchrun --nproc_per_node N -m codec train ...`"
    if asked > count:
        say(accelerator, f"warning: {asked} processes were asked for, {count} trains; {remedy}")
    elif accelerator.device.type == "cuda" and gpus > count:
        say(accelerator, f"warning: {gpus} GPUs are there, {count} is used; {remedy}")


def _processes_asked_for() -> int:
    """How many the launcher was asked for, from its command line: nothing else says so."""
    parent = psutil.Process().parent()
    try:
        words = parent.cmdline() if parent is not None else []
    except psutil.Error:
        return 1
    for word, value in pairwise([*words, ""]):
        name, _, joined = word.partition("=")
        if name in ("--num_processes", "--num-processes"):
            number = joined or value
            return int(number) if number.isdecimal() else 1
    return 1


def say(accelerator: Accelerator, message: str) -> None:
    """A line on standard error, from the main process alone."""
    if accelerator.is_main_process:
        text = printable_lines(message)
        Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)


def report_end(trainer: Trainer) -> None:
    """Say where the run has come to, and where its checkpoints are."""
    state: RunState = trainer.state
    out = trainer.folder
    finished = trainer.finished  # asked in every process, for they agree on the time
    done = "finished" if finished else "stopped; the same command goes on"
    timed = finished and trainer.budget.schedule_minutes is not None
    more = "; more minutes train it on" if timed else ""
    say(
        trainer.accelerator,
        f"{done} at step {state.step} after {state.seconds / 60:.1f} minutes: "
        f"{out / 'model.safetensors'} (newest), {out / 'best.safetensors'} (best score){more}",
    )


def leave(accelerator: Accelerator) -> None:
    """Part from the other processes, without the deadlock that torch 2.11 is prone to here.

    Gloo's threads free the tensors of the last collectives, for which they need Python's lock.
    The group's destructor holds that lock and waits for these threads. Sleeping lends it to them.
    """
    if torch.distributed.is_initialized():
        accelerator.wait_for_everyone()
        time.sleep(0.2)
    accelerator.end_training()
