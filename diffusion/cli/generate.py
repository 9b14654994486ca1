"""generate: new sounds."""

from __future__ import annotations

from contextlib import ExitStack
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
    like: Annotated[
        str | None,
        Parameter(help="An audio file whose level and color the sounds are to have; '-' is stdin."),
    ] = None,
    channels: Annotated[
        int | None,
        Parameter(help="1 or 2; without it, as many as most recordings of the label have."),
    ] = None,
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

    Several labels are mixed in shares: --label rain:0.7,fire:0.3. A sound to be like, with or
    without a label: --like door.wav.

    Each of --count has a seed of its own, --seed and the numbers after it: OUT-3.wav is what
    --seed (seed + 2) makes alone, but for rounding, since several are made at once. Peaks above
    -1 dBFS are turned down to that.
    """
    compute.use()
    from codec.audio import AudioReader
    from codec.cli.options import refuse_own_input
    from codec.progress import file_progress
    from diffusion import generation
    from diffusion.cli.files import encoded, numbered, rendered, writing

    sampling = drawing.sampling()
    generation.check_seconds(seconds)
    if prior and (drawing.label is not None or like is not None):
        wish = "--like" if drawing.label is None else f"--label {drawing.label}"
        raise LacunaError(f"--prior knows no labels and no sounds; leave {wish} or --prior out")
    targets = numbered(target, count, output.force)
    model = models.load(compute)
    channels = model.channels(drawing.label, channels)
    prompt = None
    if like is not None:
        for path in targets:
            refuse_own_input(like, path)
        with AudioReader(like) as reader:
            prompt = encoded(model.codec, reader, channels)
    for first in range(0, count, generation.TOGETHER):
        paths = targets[first : first + generation.TOGETHER]
        with ExitStack() as stack:
            # Entered from the last to the first, since they are left the other way round.
            writers = [
                stack.enter_context(writing(path, model.codec.sample_rate, channels, output))
                for path in reversed(paths)
            ]
            numbers = f"{first + 1}" if len(paths) == 1 else f"{first + 1} to {first + len(paths)}"
            with file_progress(f"generating {numbers} of {count}") as bar:
                sounds = generation.generate_together(
                    model,
                    len(paths),
                    seconds,
                    channels=channels,
                    sampling=replace(sampling, seed=sampling.seed + first),
                    like=prompt,
                    prior=prior,
                    progress=partial(bar, ""),
                )
            for write, sound, path in zip(reversed(writers), sounds, paths, strict=True):
                write([rendered(model.codec, sound, path)])
