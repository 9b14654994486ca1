"""From a config and a folder of audio to a run: what ``lacuna train codec`` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codec.network.autoencoder import Autoencoder
from codec.network.config import load_model_config
from codec.progress import file_progress
from codec.training import session
from codec.training.codec_task import CodecTask, fit_levels, initial_weights
from codec.training.config import load_training_config
from codec.training.data import AudioSource, open_source, split_files
from codec.training.decoder_task import DecoderTask, checkpoint_to_train_on
from codec.training.loop import Trainer
from codec.training.run_folder import RunState
from codec.training.schedule import Budget


def train_codec(
    config: str,
    data: Path,
    out: Path,
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
    """Start the run in ``out``, or take it up where it stopped.

    ``decoder_only`` trains on the decoder of ``init`` and leaves everything else as it is.
    ``cache`` is a folder that keeps decoded audio, memory-mapped, for this start and later ones.
    ``settings`` replace values of the config, as ``training.kl.target_kbps=16``.

    Raises:
        LacunaError: a config, folder or checkpoint that cannot be used.
    """
    model_config = load_model_config(config, settings)
    training = load_training_config(config, settings, **(overrides or {}))
    start = checkpoint_to_train_on(model_config, init) if decoder_only else None
    if start is not None:
        model_config = start.config
    accelerator = session.start(training, cpu=cpu)
    device = accelerator.device

    plain = training.data.model_copy(update={"gain_db": (0.0, 0.0)})
    with file_progress("reading audio") as progress:
        paths, held_out = split_files(data, valid)
        options = {"device": device, "cache": cache, "progress": progress}
        source = open_source(
            paths, model_config, training.data, seed=training.seed, manifest=manifest, **options
        )
        validation: AudioSource = open_source(
            held_out, model_config, plain, seed=training.seed + 1, **options
        )
    session.say(
        accelerator,
        f"training '{model_config.name}' on {len(source.files)} files, {source.hours:.2f} h; "
        f"validating on {len(validation.files)} files, {validation.hours:.2f} h; "
        f"{device}, {accelerator.num_processes} process(es); TensorBoard: "
        f"tensorboard --logdir {out / 'tensorboard'}",
    )
    task: CodecTask | DecoderTask
    if start is not None:
        task = DecoderTask(start, training, source, validation, device)
    else:
        autoencoder = Autoencoder(model_config)
        if init is not None:
            initial_weights(autoencoder, init)
        else:
            fit_levels(autoencoder, source)
        task = CodecTask(autoencoder, training, source, validation, device)
    trainer = Trainer(
        task,
        training,
        out,
        accelerator,
        Budget(minutes, schedule_minutes),
        {"config": config, "init": init, "data": str(data)},
        task.waveform_loss.opponent,
        validate_first=decoder_only,
    )
    state = trainer.train()
    session.report_end(trainer)
    session.leave(accelerator)
    return state
