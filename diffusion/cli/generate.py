"""generate: new sounds."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

from cyclopts import Parameter

from codec.cli.options import AudioOutput, Compute
from codec.errors import LacunaError
from diffusion.cli.options import Count, Drawing, Models, Target


def generate(
    target: Target,
    /,
    *,
    seconds: Annotated[float, Parameter(help="Length, up to 600.")] = 10.0,
    count: Count = 1,
    mono: Annotated[
        bool, Parameter(help="One channel; without it, as many as the model has.")
    ] = False,
    prior: Annotated[
        bool, Parameter(help="No diffusion: decode Gaussian noise, to hear what it adds.")
    ] = False,
    drawing: Drawing = Drawing(),
    models: Models = Models(),
    output: AudioOutput = AudioOutput(),
    compute: Compute = Compute(),
) -> None:
    """Make new sounds with the diffusion model.

    Example: lacuna generate out.wav --label piano --seconds 10 --seed 3 --count 4

    Each of --count has a seed of its own, --seed and the numbers after it: OUT-3.wav is what
    --seed (seed + 2) makes alone.
    """
    compute.use()
    from codec.model.sound import decode_stream
    from codec.progress import file_progress
    from diffusion import generation
    from diffusion.cli.files import numbered, writing

    sampling = drawing.sampling()
    generation.check_seconds(seconds)
    if prior and drawing.label is not None:
        raise LacunaError(f"--prior knows no labels; leave --label {drawing.label} or --prior out")
    targets = numbered(target, count, output.force)
    model = models.load(compute)
    model.label_index(drawing.label)
    channels = 1 if mono else model.max_channels
    for number, path in enumerate(targets):
        with writing(path, model.codec.sample_rate, channels, output) as write:
            with file_progress(f"generating {number + 1} of {count}") as bar:
                sound = generation.generate(
                    model,
                    seconds,
                    channels=channels,
                    sampling=replace(sampling, seed=sampling.seed + number),
                    prior=prior,
                    progress=partial(bar, ""),
                )
            write(decode_stream(model.codec, sound))
