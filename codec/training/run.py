"""From a config and a folder of audio to a run: what ``lacuna train codec`` does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from codec.model.checkpoint import Checkpoint
from codec.model.labels import labels_of
from codec.network.autoencoder import Autoencoder
from codec.network.config import ModelConfig, load_model_config
from codec.progress import file_progress
from codec.training import session
from codec.training.claim import claimed
from codec.training.codec_task import CodecTask, initial_weights
from codec.training.config import (
    AS_RECORDED,
    DECODER_PHASE,
    DataConfig,
    TrainingConfig,
    load_training_phases,
)
from codec.training.data import AudioSource, open_source, split_files
from codec.training.decoder_task import DecoderTask, checkpoint_to_train_on
from codec.training.labelled_task import LabelledTask
from codec.training.loop import Trainer
from codec.training.run_folder import RunState, SavedStates, folder_of
from codec.training.schedule import Budget
from codec.training.token_task import TokenTask


def train_codec(
    config: str,
    data: Path,
    out: Path | None = None,
    *,
    valid: Path | None = None,
    manifest: Path | None = None,
    init: str | None = None,
    decoder_only: bool = False,
    minutes: float | None = None,
    schedule_minutes: float | None = None,
    cache: Path | None = None,
    cpu: bool = False,
    settings: Sequence[str] = (),
    overrides: dict[str, Any] | None = None,
) -> RunState:
    """Start the run in ``out``, or take it up where it stopped; without ``out`` in a folder that is
    named after ``config`` and ``data`` (run_folder.folder_of).

    A config with a table ``[training.decoder_only]`` has two phases: first everything is trained,
    in ``out``, and then the decoder alone, in ``out/decoder_only``, from the best checkpoint of the
    first. They share ``schedule_minutes`` as they share the steps.

    ``decoder_only`` trains on the decoder of ``init`` and leaves everything else as it is.
    ``cache`` is a folder that keeps decoded audio, memory-mapped, for this start and later ones.
    ``settings`` replace values of the config, as ``training.kl.target_kbps=16``.

    Raises:
        LacunaError: a config, folder or checkpoint that cannot be used; ``out`` belongs to another
            run, or to one with other settings.
    """
    model = load_model_config(config, settings)
    out, place = folder_of(out, config, data)
    joint, alone = load_training_phases(config, settings, **(overrides or {}))
    start = checkpoint_to_train_on(model, init) if decoder_only else None
    accelerator = session.start(joint, cpu=cpu)
    model = start.config if start is not None else model
    autoencoder = Autoencoder(model)
    if init is not None and start is None:
        initial_weights(autoencoder, init)
    recorded = {
        "model": model.model_dump(mode="json"),
        "training": joint.model_dump(mode="json"),
        DECODER_PHASE: None if alone is None else alone.model_dump(mode="json"),
        "--init": init,
        "--decoder-only": decoder_only,
        **place,
    }
    with claimed(out, recorded, accelerator):
        source, validation = _audio(model, joint, data, valid, manifest, cache, accelerator)
        session.say(
            accelerator,
            f"training '{model.name}' on {len(source.files)} files, {source.hours:.2f} h; "
            f"validating on {len(validation.files)} files, {validation.hours:.2f} h; "
            f"TensorBoard: tensorboard --logdir {out}",
        )
        session.report_processes(accelerator)
        provenance = {"config": config, "init": init, "data": str(data)}
        run = _Run(accelerator, source, validation, provenance, _Clock(minutes))
        if start is not None:
            trainer = run.decoder(start, alone or joint, out, schedule_minutes)
        elif alone is None:
            trainer = run.everything(autoencoder, joint, out, schedule_minutes)
        else:
            trainer = run.both(autoencoder, joint, alone, out, schedule_minutes)
        session.report_end(trainer)
    session.leave(accelerator)
    return trainer.state


def _task_of(model: ModelConfig) -> type[CodecTask]:
    if model.tokens is not None:
        return TokenTask
    return LabelledTask if labels_of(model) else CodecTask


def _audio(
    model: ModelConfig,
    training: TrainingConfig,
    data: Path,
    valid: Path | None,
    manifest: Path | None,
    cache: Path | None,
    accelerator: Accelerator,
) -> tuple[AudioSource, AudioSource]:
    """To train and to validate on."""
    paths, held_out = split_files(data, valid)
    plain = training.data.model_copy(update=AS_RECORDED)
    with file_progress("reading audio") as progress:

        def opened(
            files: list[Path], config: DataConfig, seed: int, *, listed_alone: bool
        ) -> AudioSource:
            return open_source(
                files,
                model,
                config,
                seed=seed,
                device=accelerator.device,
                cache=cache,
                manifest=manifest,
                listed_alone=listed_alone,
                progress=progress,
            )

        return (
            opened(paths, training.data, training.seed, listed_alone=True),
            opened(held_out, plain, training.seed + 1, listed_alone=False),
        )


class _Clock:
    """What is left of the minutes of this call."""

    def __init__(self, minutes: float | None) -> None:
        self._end = None if minutes is None else time.monotonic() + 60 * minutes

    def left(self) -> float | None:
        return None if self._end is None else max(0.0, self._end - time.monotonic()) / 60


@dataclass(frozen=True)
class _Run:
    """Trains a phase, or both, in this call; gives the trainer that it ended with."""

    accelerator: Accelerator
    source: AudioSource
    validation: AudioSource
    provenance: dict[str, Any]
    clock: _Clock

    def everything(
        self,
        autoencoder: Autoencoder,
        config: TrainingConfig,
        out: Path,
        schedule_minutes: float | None,
    ) -> Trainer:
        fine_tuning = self.provenance["init"] is not None
        if fine_tuning:
            session.say(
                self.accelerator,
                "fine-tuning everything makes another codec: its files, latents and diffusion "
                "models are not those of the one it starts from; --decoder-only keeps them",
            )
        device = self.accelerator.device
        kind = _task_of(autoencoder.config)
        task = kind(autoencoder, config, self.source, self.validation, device)
        return self._train(task, config, out, schedule_minutes, validate_first=fine_tuning)

    def decoder(
        self,
        start: Checkpoint,
        config: TrainingConfig,
        out: Path,
        schedule_minutes: float | None,
    ) -> Trainer:
        source = self.source.cut(config.data)
        validation = self.validation.cut(config.data.model_copy(update=AS_RECORDED))
        task = DecoderTask(start, config, source, validation, self.accelerator.device)
        return self._train(task, config, out, schedule_minutes, validate_first=True)

    def both(
        self,
        autoencoder: Autoencoder,
        joint: TrainingConfig,
        alone: TrainingConfig,
        out: Path,
        schedule_minutes: float | None,
    ) -> Trainer:
        """One phase after the other; the first is left alone once the second has begun."""
        second = out / DECODER_PHASE
        shares: list[float | None] = [None, None]
        if schedule_minutes is not None:
            total = joint.steps + alone.steps
            shares = [schedule_minutes * phase.steps / total for phase in (joint, alone)]
        if not SavedStates(second).paths():
            trainer = self.everything(autoencoder, joint, out, shares[0])
            if trainer.stopped or not trainer.finished:
                return trainer
            session.report_end(trainer)
            self.accelerator.free_memory()
        best = checkpoint_to_train_on(autoencoder.config, str(out / "best.safetensors"))
        return self.decoder(best, alone, second, shares[1])

    def _train(
        self,
        task: CodecTask | DecoderTask,
        config: TrainingConfig,
        out: Path,
        schedule_minutes: float | None,
        *,
        validate_first: bool,
    ) -> Trainer:
        trainer = Trainer(
            task,
            config,
            out,
            self.accelerator,
            Budget(self.clock.left(), schedule_minutes),
            self.provenance,
            task.reconstruction_loss.opponent,
            validate_first=validate_first,
        )
        trainer.train()
        return trainer
