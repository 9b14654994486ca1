"""From a config and a folder of audio to a run: what ``lacuna train codec`` does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console

from codec.autoencoder import Autoencoder
from codec.config import load_model_config
from codec.errors import LacunaError
from codec.progress import file_progress
from codec.training.codec_task import CodecTask, initial_weights
from codec.training.config import load_training_config
from codec.training.data import AudioSource, open_source, split_files
from codec.training.loop import Budget, RunState, Trainer


def train_codec(
    config: str,
    data: Path,
    out: Path,
    *,
    valid: Path | None = None,
    manifest: Path | None = None,
    init: str | None = None,
    minutes: float | None = None,
    schedule_minutes: float | None = None,
    resident: bool = True,
    cpu: bool = False,
    overrides: dict[str, Any] | None = None,
) -> RunState:
    """Start the run in ``out``, or take it up where it stopped.

    Raises:
        LacunaError: a config, folder or checkpoint that cannot be used.
    """
    model_config = load_model_config(config)
    training = load_training_config(config, **(overrides or {}))
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=training.mixed_precision,
        gradient_accumulation_steps=training.accumulate,
    )
    device = accelerator.device
    if training.mixed_precision == "fp16" and device.type == "cpu":
        raise LacunaError(
            "mixed_precision 'fp16' needs a GPU, and this run is on the CPU; use 'bf16' or 'no'"
        )
    torch.manual_seed(training.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True

    plain = training.data.model_copy(update={"gain_db": (0.0, 0.0)})
    with file_progress("reading audio") as progress:
        paths, held_out = split_files(data, valid)
        options = {"device": device, "resident": resident, "progress": progress}
        source = open_source(
            paths, model_config, training.data, seed=training.seed, manifest=manifest, **options
        )
        validation: AudioSource = open_source(
            held_out, model_config, plain, seed=training.seed + 1, **options
        )
    if accelerator.is_main_process:
        Console(stderr=True).print(
            f"training '{model_config.name}' on {len(source.files)} files, {source.hours:.2f} h; "
            f"validating on {len(validation.files)} files, {validation.hours:.2f} h; "
            f"{device}, {accelerator.num_processes} process(es); TensorBoard: "
            f"tensorboard --logdir {out / 'tensorboard'}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    autoencoder = Autoencoder(model_config)
    if init is not None:
        initial_weights(autoencoder, init)
    task = CodecTask(autoencoder, training, source, validation, device)
    provenance = {"config": config, "init": init, "data": str(data)}
    trainer = Trainer(
        task, training, out, accelerator, Budget(minutes, schedule_minutes), provenance
    )
    state = trainer.train()
    finished = trainer.finished  # asked in every process, for they agree on the time
    if accelerator.is_main_process:
        done = "finished" if finished else "stopped; the same command goes on"
        Console(stderr=True).print(
            f"{done} at step {state.step} after {state.seconds / 60:.1f} minutes: "
            f"{out / 'model.safetensors'} (newest), {out / 'best.safetensors'} (best score)",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    _leave_process_group(accelerator)
    return state


def _leave_process_group(accelerator: Accelerator) -> None:
    """Part from the other processes, without the deadlock that torch 2.11 is prone to here.

    Gloo's threads free the tensors of the last collectives, for which they need Python's lock.
    The group's destructor holds that lock and waits for these threads. Sleeping lends it to them.
    """
    if torch.distributed.is_initialized():
        accelerator.wait_for_everyone()
        time.sleep(0.2)
    accelerator.end_training()
