"""What every training command does around the loop: Accelerate, and what it tells a person."""

from __future__ import annotations

import time

import torch
from accelerate import Accelerator
from rich.console import Console

from codec.errors import LacunaError
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


def say(accelerator: Accelerator, message: str) -> None:
    """A line on standard error, from the main process alone."""
    if accelerator.is_main_process:
        Console(stderr=True).print(message, highlight=False, markup=False, soft_wrap=True)


def report_end(trainer: Trainer) -> None:
    """Say where the run has come to, and where its checkpoints are."""
    state: RunState = trainer.state
    out = trainer.folder
    finished = trainer.finished  # asked in every process, for they agree on the time
    done = "finished" if finished else "stopped; the same command goes on"
    say(
        trainer.accelerator,
        f"{done} at step {state.step} after {state.seconds / 60:.1f} minutes: "
        f"{out / 'model.safetensors'} (newest), {out / 'best.safetensors'} (best score)",
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
