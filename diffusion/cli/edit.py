"""vary, inpaint and extend: audio files, made anew in part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from codec.cli.options import AudioOutput, Compute
from codec.errors import LacunaError
from diffusion.cli.options import Drawing, KeepOriginal, Models, Source, Target

if TYPE_CHECKING:
    from codec.model.sound import Sound
    from diffusion.edit import Region
    from diffusion.model.samplers import Progress


def vary(
    source: Source,
    target: Target,
    /,
    *,
    strength: Annotated[
        float, Parameter(help="0 changes nothing, 1 forgets all but the length.")
    ] = 0.5,
    drawing: Drawing = Drawing(),
    models: Models = Models(),
    output: AudioOutput = AudioOutput(),
    compute: Compute = Compute(),
) -> None:
    """Make something like an audio file: noise its latents in part, and denoise them again.

    Example: lacuna vary song.wav other.wav --strength 0.6
    """
    compute.use()
    from diffusion import edit
    from diffusion.cli.files import edit_file

    sampling = drawing.sampling()
    edit.check_strength(strength)
    generator = models.load(compute)

    def change(sound: Sound, progress: Progress) -> tuple[Sound, list[Region]]:
        varied = edit.vary(generator, sound, strength, sampling=sampling, progress=progress)
        return varied, [(0.0, sound.seconds)]

    edit_file(generator.codec, source, target, "varying", change, output)


def inpaint(
    source: Source,
    target: Target,
    /,
    *,
    begins: Annotated[
        list[float],
        Parameter(name="--from", help="Seconds; several times for several regions."),
    ],
    ends: Annotated[list[float], Parameter(name="--to", help="Seconds; one for every --from.")],
    keep_original: KeepOriginal = False,
    drawing: Drawing = Drawing(),
    models: Models = Models(),
    output: AudioOutput = AudioOutput(),
    compute: Compute = Compute(),
) -> None:
    """Make parts of an audio file anew, to fit what is around them.

    Example: lacuna inpaint song.wav mended.wav --from 2 --to 3.5 --from 8 --to 8.2
    """
    compute.use()
    from diffusion import edit
    from diffusion.cli.files import edit_file

    if len(begins) != len(ends):
        raise LacunaError(
            f"{len(begins)} times --from and {len(ends)} times --to; give one of each per region"
        )
    sampling = drawing.sampling()
    regions = list(zip(begins, ends, strict=True))
    generator = models.load(compute)

    def change(sound: Sound, progress: Progress) -> tuple[Sound, list[Region]]:
        mended = edit.inpaint(generator, sound, regions, sampling=sampling, progress=progress)
        return mended, regions

    edit_file(generator.codec, source, target, "inpainting", change, output, keep_original)


def extend(
    source: Source,
    target: Target,
    /,
    *,
    seconds: Annotated[float, Parameter(help="How much more, up to 600.")] = 5.0,
    keep_original: KeepOriginal = False,
    drawing: Drawing = Drawing(),
    models: Models = Models(),
    output: AudioOutput = AudioOutput(),
    compute: Compute = Compute(),
) -> None:
    """Continue an audio file beyond its end.

    Example: lacuna extend song.wav longer.wav --seconds 5 --keep-original
    """
    compute.use()
    from diffusion import edit
    from diffusion.cli.files import edit_file
    from diffusion.generation import check_seconds

    sampling = drawing.sampling()
    check_seconds(seconds)
    generator = models.load(compute)

    def change(sound: Sound, progress: Progress) -> tuple[Sound, list[Region]]:
        longer = edit.extend(generator, sound, seconds, sampling=sampling, progress=progress)
        return longer, [(sound.seconds, longer.seconds)]

    edit_file(generator.codec, source, target, "extending", change, output, keep_original)
