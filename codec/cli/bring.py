"""convert and calibrate: weights of other programs in this codec's format, and ready for files."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from codec.cli.options import ZERO_OR_MORE, Compute, Force, expect_suffix, say
from codec.cli.train import needs_training


def convert(
    source: Annotated[
        str,
        Parameter(
            name="SOURCE",
            help="A folder as diffusers or stable-audio-tools writes it, a JSON config, or "
            "OWNER/NAME on the Hugging Face hub.",
        ),
    ],
    target: Annotated[Path, Parameter(name="OUT", help="A .safetensors file.")],
    /,
    *,
    weights: Annotated[
        Path | None,
        Parameter(
            help="Weights that are not beside the config: .safetensors, .ckpt.",
            show_default="beside the config",
        ),
    ] = None,
    name: Annotated[
        str | None, Parameter(help="What the model is to be called.", show_default="as OUT")
    ] = None,
    force: Force = False,
) -> None:
    """Read Stable Audio's autoencoder (Oobleck) into a checkpoint of this codec.

    Nothing in the files is executed. The result encodes and decodes; `lacuna calibrate` makes it
    ready for .lac files.

    Example: lacuna convert stable-audio-open-1.0/vae sao.safetensors

    From the hub: lacuna convert stabilityai/stable-audio-open-1.0 sao.safetensors

    Of your own training: lacuna convert vae.json mine.safetensors --weights last.ckpt
    """
    expect_suffix(str(target), ".safetensors")
    from codec.files import atomic_path
    from codec.progress import working

    # The hub's client has a progress bar of its own.
    shown = working("converting") if Path(source).exists() else nullcontext()
    with atomic_path(target, force=force) as partial, shown:
        from codec.interop.convert import convert as run
        from codec.model.checkpoint import save

        converted = run(source, weights, name=name or target.stem)
        save(converted.checkpoint, partial)
    config = converted.checkpoint.config
    count = sum(p.numel() for p in converted.checkpoint.autoencoder.parameters())
    below = f" below '{converted.prefix}'" if converted.prefix else ""
    others = f", {converted.others} other tensors left out" if converted.others else ""
    say(
        f"{target}: {count / 1e6:.1f} M parameters, {config.sample_rate} Hz, {config.latent_dim} "
        f"latents at {config.frame_rate:.2f} Hz, from {converted.weights_path.name}{below} "
        f"({converted.layout} layout{others}); next: lacuna calibrate {target} --data DIR"
    )


def calibrate(
    model: Annotated[str, Parameter(name="MODEL", help="A converted model's checkpoint.")],
    /,
    *,
    data: Annotated[Path, Parameter(help="Folder of audio of the kind that is to be coded.")],
    out: Annotated[
        Path | None,
        Parameter(
            help="The checkpoint with what was fitted.",
            show_default="MODEL_calibrated.safetensors",
        ),
    ] = None,
    updates: Annotated[
        int,
        ZERO_OR_MORE,
        Parameter(help="Optimiser steps of the context model, 0 for none; 4000 take minutes."),
    ] = 4000,
    force: Force = False,
    compute: Compute = Compute(),
) -> None:
    """Fit what files need to a folder: latents' statistics, entropy tables and context model.

    The networks stay as they are. Up to 30 s of every file are used.

    Example: lacuna calibrate sao.safetensors --data music/
    """
    if out is None:
        out = Path(model).with_name(f"{Path(model).stem}_calibrated.safetensors")
    expect_suffix(str(out), ".safetensors")
    with needs_training():
        from codec.training.run_calibrate import calibrate as run

    compute.use()
    run(model, data, out, updates=updates, device=compute.device, force=force)
