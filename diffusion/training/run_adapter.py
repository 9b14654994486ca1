"""From a folder of audio to an adapter of a diffusion model: `lacuna train adapter`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codec.errors import ConfigError
from codec.training import session
from codec.training.claim import claimed
from codec.training.loop import Trainer
from codec.training.run_folder import RunState, folder_of
from codec.training.schedule import Budget
from diffusion.generation import load_checkpoint, with_codec
from diffusion.latents.sets import LatentSet
from diffusion.model.adapter import check_label
from diffusion.model.shipped import DEFAULT_MODEL
from diffusion.training.adapter_task import AdapterTask, adaptable
from diffusion.training.config import load_diffusion_training
from diffusion.training.held_out import split_recordings
from diffusion.training.run import encode_folder, origin_of, window_sources

CONFIG = "diffusion_adapter"


def train_adapter(
    label: str,
    data: Path,
    out: Path | None = None,
    *,
    init: str = DEFAULT_MODEL,
    codec: str | None = None,
    valid: Path | None = None,
    minutes: float | None = None,
    schedule_minutes: float | None = None,
    cpu: bool = False,
    settings: Sequence[str] = (),
    overrides: dict[str, Any] | None = None,
) -> RunState:
    """Start the run in ``out``, or take it up where it stopped; without ``out`` in a folder that is
    named after ``data``. Its checkpoints are adapters.

    Args:
        label: what the sounds are called; all of ``data`` gets it, whatever its folders.
        init: the diffusion model, by name or path.
        codec: its latents' codec; without it the shipped one that they are of.
        valid: a folder of audio to validate on; without it every 20th file.
        settings: in place of values of configs/diffusion_adapter.toml.

    Raises:
        LacunaError: a label that the model has already, or a folder or checkpoint that cannot be
            used.
    """
    training = load_diffusion_training(CONFIG, settings, overrides or {})
    foreign = [setting for setting in settings if not setting.strip().startswith("training.")]
    if foreign:
        raise ConfigError(
            f"--set '{foreign[0]}': an adapter's model is that of --init; expected a value of "
            f"[training], such as training.optimizer.learning_rate=1e-3"
        )
    base = load_checkpoint(init)
    check_label(label, base)
    accelerator = session.start(training, cpu=cpu)
    loaded = with_codec(base, codec, accelerator.device).codec
    fingerprint = base.fingerprint
    out, place = folder_of(out, "adapter", data)
    recorded = {
        "training": training.model_dump(mode="json"),
        "--init": fingerprint,
        "--label": label,
        **place,
    }
    with claimed(out, recorded, accelerator):

        def stored(folder: Path, name: str) -> LatentSet:
            latents = encode_folder(accelerator, loaded, folder, out / name)
            clips = [clip.model_copy(update={"label": label}) for clip in latents.clips]
            return latents.only(clips)

        train_set = stored(data, "latents")
        if valid is None:
            train_set, held_out = split_recordings(train_set)
        else:
            held_out = stored(valid, "latents_valid")
        session.say(
            accelerator,
            f"adapting '{base.config.name}' to '{label}' on {len(train_set.clips)} clips, "
            f"{train_set.hours:.2f} h; validating on {len(held_out.clips)} clips, "
            f"{held_out.hours:.2f} h; TensorBoard: tensorboard --logdir {out}",
        )
        session.report_processes(accelerator)
        labels = (*base.labels, label)
        task = AdapterTask(
            fingerprint,
            adaptable(base.transformer),
            training,
            *window_sources(train_set, held_out, base.config, training, labels, loaded),
            loaded,
            replace(origin_of(train_set, loaded), labels=labels),
            accelerator.device,
        )
        trainer = Trainer(
            task,
            training,
            out,
            accelerator,
            Budget(minutes, schedule_minutes),
            {"init": init, "data": str(data), "label": label},
            validate_first=True,
        )
        state = trainer.train()
        session.report_end(trainer)
    session.leave(accelerator)
    return state
