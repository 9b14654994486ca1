"""From a folder to stored latents, and from these to a run: ``lacuna latents`` and
``lacuna train diffusion``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from codec.api import Codec
from codec.api import load as load_codec
from codec.errors import LacunaError
from codec.model.latent_codec import LatentCodec
from codec.model.shipped import DEFAULT_MODEL
from codec.process import check_count
from codec.progress import file_progress
from codec.training import session
from codec.training.claim import claimed
from codec.training.data import read_manifest
from codec.training.loop import Trainer
from codec.training.run_folder import RunState, folder_of
from codec.training.schedule import Budget
from diffusion.latents.encode import check_out, encode_shards, plan_shards, write_index
from diffusion.latents.sets import LatentSet
from diffusion.latents.workers import encode_in_workers
from diffusion.model.config import DiffusionConfig, load_diffusion_config
from diffusion.model.profile import LabelProfile
from diffusion.model.shipped import find_checkpoint
from diffusion.model.transformer import Transformer
from diffusion.training.config import (
    QUANTISED,
    UNCHANGED,
    DiffusionTrainingConfig,
    WindowConfig,
    load_diffusion_training,
)
from diffusion.training.held_out import split_recordings
from diffusion.training.quantised import Quantiser
from diffusion.training.task import DiffusionTask, Origin, initial_weights
from diffusion.training.windows import WindowSource

Encode = Callable[..., None]
"""As ``encode_shards`` of a codec."""

VALIDATION_SEED = 0
"""Not the run's: runs with other seeds are judged by the same windows."""


def make_latents(
    folder: Path,
    out: Path,
    *,
    codec: str = DEFAULT_MODEL,
    manifest: Path | None = None,
    gains_db: Sequence[float] = (0.0,),
    workers: int = 1,
    cpu: bool = False,
) -> LatentSet:
    """Encode a folder of audio into ``out``, or go on with it; processes share the shards out.

    Args:
        codec: a shipped model's name, or a checkpoint's path.
        manifest: CSV with the columns ``path``, relative to it, and ``class``, the label; only
            the files that it names are encoded. Without it the label of a file is the name of
            the folder that it lies in.
        gains_db: levels at which every file is encoded.
        workers: processes on the CPU with a thread each, if more than one; torchrun is the way to
            several GPUs or machines.
        cpu: stay on the CPU even where there is a GPU.

    Raises:
        LacunaError: a folder, manifest or checkpoint that cannot be used, or ``out`` holds
            latents of another codec, or workers below 1 or under torchrun.
    """
    check_count("--workers", workers)
    patient = InitProcessGroupKwargs(timeout=timedelta(days=7))  # shards differ in length
    accelerator = Accelerator(cpu=cpu or workers > 1, kwargs_handlers=[patient])
    if workers > 1 and accelerator.num_processes > 1:
        raise LacunaError(
            f"--workers {workers} within {accelerator.num_processes} processes of torchrun, which "
            f"share the work out already; leave one of the two out"
        )
    loaded = load_codec(codec, accelerator.device)
    encode = partial(encode_in_workers, codec, workers=workers) if workers > 1 else None
    latent_set = encode_folder(accelerator, loaded, folder, out, manifest, gains_db, encode)
    session.say(
        accelerator,
        f"{out}: {len(latent_set.clips)} clips, {latent_set.hours:.2f} h, "
        f"latent_id {latent_set.index.latent_id}; "
        f"labels: {', '.join(latent_set.labels) or 'none'}",
    )
    session.leave(accelerator)
    return latent_set


def encode_folder(
    accelerator: Accelerator,
    codec: Codec,
    folder: Path,
    out: Path,
    manifest: Path | None = None,
    gains_db: Sequence[float] = (0.0,),
    encode: Encode | None = None,
) -> LatentSet:
    encode = partial(encode_shards, codec) if encode is None else encode
    shards = plan_shards(folder, None if manifest is None else _labels(manifest), gains_db)
    out.mkdir(parents=True, exist_ok=True)
    check_out(shards, out)
    accelerator.wait_for_everyone()  # all have looked before anything is written
    own_shards = shards[accelerator.process_index :: accelerator.num_processes]
    if accelerator.is_main_process:
        with file_progress("encoding") as progress:
            encode(own_shards, out, progress=progress)
    else:
        encode(own_shards, out)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        write_index(codec, shards, out)
    accelerator.wait_for_everyone()
    return LatentSet.open(out)


def _labels(manifest: Path) -> dict[str, str]:
    """Resolved path -> label, of a manifest's ``class`` column."""
    rows = read_manifest(manifest)
    if not all("class" in row for row in rows.values()):
        raise LacunaError(f"the manifest '{manifest}' has no 'class' column, which gives labels")
    return {path: row["class"] or "" for path, row in rows.items()}


def train_diffusion(
    config: str,
    out: Path | None = None,
    *,
    latents: Path | None = None,
    data: Path | None = None,
    codec: str = DEFAULT_MODEL,
    valid: Path | None = None,
    manifest: Path | None = None,
    init: str | None = None,
    minutes: float | None = None,
    schedule_minutes: float | None = None,
    cpu: bool = False,
    settings: Sequence[str] = (),
    overrides: dict[str, Any] | None = None,
) -> RunState:
    """Start the run in ``out``, or take it up where it stopped; without ``out`` in a folder that is
    named after ``config`` and the data (codec.training.run_folder.folder_of).

    Args:
        latents: what ``make_latents`` made; or
        data: a folder of audio, whose latents are made first, in ``out``.
        codec: the latents' codec, by name or path; it decodes the previews.
        valid: stored latents, or with ``data`` a folder of audio, to validate on; without it
            every 20th recording, of which a label keeps at least one to train on.
        manifest: as for ``make_latents``, with ``data``.
        settings: in place of the config's values, as ``model.transformer.dropout=0.1``.

    Raises:
        LacunaError: a config, folder or checkpoint that cannot be used.
    """
    source = latents if data is None else data
    if source is None or (latents is not None and data is not None):
        raise LacunaError("give either --latents, stored latents, or --data, a folder of audio")
    model_config = load_diffusion_config(config, settings)
    training = load_diffusion_training(config, settings, overrides or {})
    accelerator = session.start(training, cpu=cpu)
    loaded = load_codec(codec, accelerator.device)

    if init is not None:
        find_checkpoint(init)  # before hours of encoding
    out, place = folder_of(out, config, source)
    recorded = {
        "model": model_config.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "--init": init,
        "latent_id": loaded.latent_id,
        **place,
    }
    with claimed(out, recorded, accelerator):

        def stored(folder: Path, name: str) -> LatentSet:
            if data is None:
                return LatentSet.open(folder)
            return encode_folder(accelerator, loaded, folder, out / name, manifest)

        train_set = stored(source, "latents")
        held_out = None if valid is None else stored(valid, "latents_valid")
        train_set.check_codec(loaded)
        if held_out is None:
            train_set, held_out = split_recordings(train_set)
        held_out.check_codec(loaded)

        labels = train_set.labels
        sources = window_sources(train_set, held_out, model_config, training, labels, loaded)
        session.say(
            accelerator,
            f"training '{model_config.name}' on {len(train_set.clips)} clips, "
            f"{train_set.hours:.2f} h, {len(labels)} labels; "
            f"validating on {len(held_out.clips)} clips, {held_out.hours:.2f} h; "
            f"TensorBoard: tensorboard --logdir {out}",
        )
        session.report_processes(accelerator)
        origin = origin_of(train_set, loaded)
        transformer = Transformer(model_config, len(labels))
        if init is not None:
            initial_weights(transformer, init, origin)
        task = DiffusionTask(transformer, training, *sources, loaded, origin, accelerator.device)
        provenance = {"config": config, "init": init, "data": str(source)}
        trainer = Trainer(
            task,
            training,
            out,
            accelerator,
            Budget(minutes, schedule_minutes),
            provenance,
            loaders=session.loaders(accelerator),
        )
        state = trainer.train()
        session.report_end(trainer)
    session.leave(accelerator)
    return state


def window_sources(
    train_set: LatentSet,
    held_out: LatentSet,
    model: DiffusionConfig,
    training: DiffusionTrainingConfig,
    labels: tuple[str, ...],
    codec: LatentCodec,
) -> tuple[WindowSource, WindowSource, WindowSource, WindowSource | None]:
    """What ``DiffusionTask`` takes: to train on, the same without random changes, to validate on,
    and to be denoised, if the network learns that.
    """
    denoises = training.windows.denoise_share > 0
    quantiser = Quantiser(codec) if denoises else None

    def source(latents: LatentSet, windows: WindowConfig, seed: int, batch: int) -> WindowSource:
        return WindowSource(
            latents, model, windows, labels, seed=seed, batch_size=batch, quantiser=quantiser
        )

    seed, batch, items = training.seed, training.batch_size, training.validation_items
    return (
        source(train_set, training.windows, seed, batch),
        source(train_set, UNCHANGED, seed, batch),
        source(held_out, UNCHANGED, VALIDATION_SEED, items),
        source(held_out, QUANTISED, VALIDATION_SEED, items) if denoises else None,
    )


def origin_of(latents: LatentSet, codec: Codec) -> Origin:
    return Origin(
        labels=latents.labels,
        latent_id=codec.latent_id,
        codec=codec.config.name,
        frame_rate=codec.frame_rate,
        hours=latents.hours,
        profiles=profiles_of(latents),
    )


def profiles_of(latents: LatentSet) -> dict[str, LabelProfile]:
    """What is known of labels from the start: the channels of most of their recordings' frames."""
    frames: Counter[tuple[str, int]] = Counter()
    for clip in latents.clips:
        frames[clip.label, clip.coded_channels] += clip.frames
    return {
        label: LabelProfile(max((1, 2), key=lambda count: frames[label, count]))
        for label in latents.labels
    }
