"""The commands that make and edit sound: generate, vary, inpaint, extend, interpolate, blend.

Heavy imports happen inside the commands, so that --help is quick. ``program.py`` adds them with
``add_commands``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from codec.cli.options import Device, Force, Threads, use_device
from codec.errors import LacunaError
from codec.model.shipped import DEFAULT_MODEL as DEFAULT_CODEC
from diffusion.model.shipped import DEFAULT_MODEL

if TYPE_CHECKING:
    from codec.model.sound import Sound
    from diffusion.edit import Region
    from diffusion.generation import Generator
    from diffusion.model.samplers import Progress

Source = Annotated[str, typer.Argument(metavar="IN", help="Audio file; '-' is stdin.")]
Target = Annotated[
    str, typer.Argument(metavar="OUT.wav", help="Audio file to write; '-' is stdout.")
]
Model = Annotated[
    str,
    typer.Option("--model", "-m", help="A shipped diffusion model's name, or a checkpoint's path."),
]
ModelsCodec = Annotated[
    str | None,
    typer.Option(
        "--codec",
        help="A codec's name, or a checkpoint's path.",
        show_default="the shipped one that the model was trained on",
    ),
]
CodecModel = Annotated[
    str, typer.Option("--codec", help="A shipped codec's name, or a checkpoint's path.")
]
Label = Annotated[
    str | None, typer.Option(help="What it is to sound like; a wrong one lists all that there are.")
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same file.")]
Steps = Annotated[int, typer.Option(help="Of the sampler, 1 to 100: more are slower and finer.")]
Guidance = Annotated[float, typer.Option(help="How hard to push towards --label; 1 is not at all.")]
SamplerName = Annotated[
    str, typer.Option("--sampler", help="euler, midpoint (two evaluations a step) or dpmpp_2m.")
]
Bits = Annotated[
    str | None, typer.Option(help="Sample format: 16, 24 or float.", show_default="16")
]
KeepOriginal = Annotated[
    bool,
    typer.Option(
        "--keep-original",
        help="Take what is not made anew from the input, not from its latents.",
    ),
]
Count = Annotated[
    int, typer.Option(help="So many files: OUT-1.wav, OUT-2.wav, ... if it is more than 1.")
]


def add_commands(app: typer.Typer) -> None:
    """Add all commands of this module to a program."""
    examples: dict[Callable[..., None], str] = {
        generate: "lacuna generate out.wav --label piano --seconds 10 --seed 3 --count 4",
        vary: "lacuna vary song.wav other.wav --strength 0.6",
        inpaint: "lacuna inpaint song.wav mended.wav --from 2 --to 3.5 --from 8 --to 8.2",
        extend: "lacuna extend song.wav longer.wav --seconds 5 --keep-original",
        interpolate: "lacuna interpolate rain.wav piano.wav between.wav --count 5",
        blend: "lacuna blend A.wav - B.wav + 0.5 C.wav out.wav",
    }
    for command, example in examples.items():
        app.command(epilog=f"Example: {example}")(command)


def generate(
    target: Target,
    label: Label = None,
    seconds: Annotated[float, typer.Option(help="Length, up to 600.")] = 10.0,
    count: Count = 1,
    seed: Seed = 0,
    steps: Steps = 8,
    guidance: Guidance = 2.0,
    sampler: SamplerName = "dpmpp_2m",
    mono: Annotated[
        bool, typer.Option("--mono", help="One channel; without it, as many as the model has.")
    ] = False,
    prior: Annotated[
        bool,
        typer.Option("--prior", help="No diffusion: decode Gaussian noise, to hear what it adds."),
    ] = False,
    bits: Bits = None,
    model: Model = DEFAULT_MODEL,
    codec: ModelsCodec = None,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Make new sounds with the diffusion model.

    Each of --count has a seed of its own, --seed and the numbers after it: OUT-3.wav is what
    --seed (seed + 2) makes alone.
    """
    from codec.model.sound import decode_stream
    from codec.progress import file_progress
    from diffusion.cli.files import numbered, output
    from diffusion.generation import Sampling
    from diffusion.generation import generate as make

    sampling = Sampling(label, seed, steps, guidance, sampler)
    if prior and label is not None:
        raise LacunaError(f"--prior knows no labels; leave --label {label} or --prior out")
    targets = numbered(target, count, force)
    generator = _load(model, codec, device, threads)

    def progress(done: int, total: int) -> None:
        bar("", done, total)

    sounds = make(
        generator,
        seconds,
        count=count,
        channels=1 if mono else None,
        sampling=sampling,
        prior=prior,
        progress=progress,
    )
    channels = 1 if mono else generator.max_channels
    for number, path in enumerate(targets, 1):
        with output(path, generator.codec.sample_rate, channels, bits, force) as write:
            with file_progress(f"generating {number} of {count}") as bar:
                sound = next(sounds)
            write(decode_stream(generator.codec, sound))


def vary(
    source: Source,
    target: Target,
    strength: Annotated[
        float, typer.Option(help="0 changes nothing, 1 forgets all but the length.")
    ] = 0.5,
    label: Label = None,
    seed: Seed = 0,
    steps: Steps = 8,
    guidance: Guidance = 2.0,
    sampler: SamplerName = "dpmpp_2m",
    bits: Bits = None,
    model: Model = DEFAULT_MODEL,
    codec: ModelsCodec = None,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Make something like an audio file: noise its latents in part, and denoise them again."""
    from diffusion import edit
    from diffusion.cli.files import edit_file
    from diffusion.generation import Sampling

    sampling = Sampling(label, seed, steps, guidance, sampler)
    edit.check_strength(strength)
    generator = _load(model, codec, device, threads)

    def change(sound: Sound, progress: Progress) -> tuple[Sound, list[Region]]:
        varied = edit.vary(generator, sound, strength, sampling=sampling, progress=progress)
        return varied, [(0.0, sound.seconds)]

    edit_file(generator.codec, source, target, "varying", change, bits, force)


def inpaint(
    source: Source,
    target: Target,
    begins: Annotated[
        list[float], typer.Option("--from", help="Seconds; several times for several regions.")
    ],
    ends: Annotated[list[float], typer.Option("--to", help="Seconds; one for every --from.")],
    keep_original: KeepOriginal = False,
    label: Label = None,
    seed: Seed = 0,
    steps: Steps = 8,
    guidance: Guidance = 2.0,
    sampler: SamplerName = "dpmpp_2m",
    bits: Bits = None,
    model: Model = DEFAULT_MODEL,
    codec: ModelsCodec = None,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Make parts of an audio file anew, to fit what is around them."""
    from diffusion import edit
    from diffusion.cli.files import edit_file
    from diffusion.generation import Sampling

    if len(begins) != len(ends):
        raise LacunaError(
            f"{len(begins)} times --from and {len(ends)} times --to; give one of each per region"
        )
    sampling = Sampling(label, seed, steps, guidance, sampler)
    regions = list(zip(begins, ends, strict=True))
    generator = _load(model, codec, device, threads)

    def change(sound: Sound, progress: Progress) -> tuple[Sound, list[Region]]:
        mended = edit.inpaint(generator, sound, regions, sampling=sampling, progress=progress)
        return mended, regions

    edit_file(generator.codec, source, target, "inpainting", change, bits, force, keep_original)


def extend(
    source: Source,
    target: Target,
    seconds: Annotated[float, typer.Option(help="How much more, up to 600.")] = 5.0,
    keep_original: KeepOriginal = False,
    label: Label = None,
    seed: Seed = 0,
    steps: Steps = 8,
    guidance: Guidance = 2.0,
    sampler: SamplerName = "dpmpp_2m",
    bits: Bits = None,
    model: Model = DEFAULT_MODEL,
    codec: ModelsCodec = None,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Continue an audio file beyond its end."""
    from diffusion import edit
    from diffusion.cli.files import edit_file
    from diffusion.generation import Sampling, check_seconds

    sampling = Sampling(label, seed, steps, guidance, sampler)
    check_seconds(seconds)
    generator = _load(model, codec, device, threads)

    def change(sound: Sound, progress: Progress) -> tuple[Sound, list[Region]]:
        longer = edit.extend(generator, sound, seconds, sampling=sampling, progress=progress)
        return longer, [(sound.seconds, longer.seconds)]

    edit_file(generator.codec, source, target, "extending", change, bits, force, keep_original)


def interpolate(
    first: Annotated[str, typer.Argument(metavar="A", help="Audio file to come from.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Audio file to go to.")],
    target: Target,
    count: Count = 1,
    mode: Annotated[
        str, typer.Option(help="spherical, which keeps the latents' size, or linear.")
    ] = "spherical",
    bits: Bits = None,
    codec: CodecModel = DEFAULT_CODEC,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Make sounds between two audio files, by their latents; the longer file is cut.

    They are evenly spaced, without A and B themselves, and have A's sample rate. It takes no
    diffusion model; `lacuna vary` with a small --strength makes the results more plausible.
    """
    from codec.model.sound import decode_stream
    from diffusion import edit
    from diffusion.cli.files import load_sounds, numbered, output

    targets = numbered(target, count, force)
    model, (a, b) = load_sounds(codec, device, threads, [first, second], targets)
    for path, sound in zip(targets, edit.interpolate(a, b, count, mode), strict=True):
        with output(path, sound.sample_rate, sound.channels, bits, force) as write:
            write(decode_stream(model, sound))


def blend(
    terms: Annotated[
        list[str],
        typer.Argument(
            metavar="A [+|- [WEIGHT] B]... OUT.wav",
            help="Audio files with signs between them, and the file to write.",
            show_default=False,
        ),
    ],
    bits: Bits = None,
    codec: CodecModel = DEFAULT_CODEC,
    force: Force = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Add and subtract audio files by their latents: A - B + C; longer files are cut.

    A number before a file is its weight; two files are averaged by 0.5 A + 0.5 B. The result has
    A's sample rate. It takes no diffusion model.
    """
    from codec.model.sound import decode_stream
    from diffusion import edit
    from diffusion.cli.files import load_sounds, numbered, output

    *words, name = terms
    weighted = parse_terms(words)
    [target] = numbered(name, 1, force)
    paths = [path for _, path in weighted]
    model, sounds = load_sounds(codec, device, threads, paths, [target])
    weights = [weight for weight, _ in weighted]
    sound = edit.blend(list(zip(weights, sounds, strict=True)))
    with output(target, sound.sample_rate, sound.channels, bits, force) as write:
        write(decode_stream(model, sound))


def parse_terms(words: list[str]) -> list[tuple[float, str]]:
    """Weights and files of ["A", "-", "0.5", "B"]: [(1, "A"), (-0.5, "B")].

    A file whose name is a number is told from a weight by its folder: ./5.

    Raises:
        LacunaError: it does not read as files with signs between them.
    """
    terms: list[tuple[float, str]] = []
    rest = list(words)
    while rest or not terms:
        sign = rest.pop(0) if rest and rest[0] in ("+", "-") else "+" if not terms else None
        if sign is None:
            raise LacunaError(f"expected + or - before '{rest[0]}', as in: A.wav - B.wav OUT.wav")
        number = _number(rest[0]) if rest else None
        if number is not None:
            rest.pop(0)
        if not rest or rest[0] in ("+", "-"):
            raise LacunaError(
                f"expected a file after '{' '.join(words[: len(words) - len(rest)])}', as in: "
                f"A.wav - B.wav + C.wav OUT.wav; the last name is the output's"
            )
        weight = 1.0 if number is None else number
        terms.append((-weight if sign == "-" else weight, rest.pop(0)))
    return terms


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _load(model: str, codec: str | None, device: str, threads: int | None) -> Generator:
    from diffusion.generation import load

    use_device(device, threads)
    return load(model, codec, device)
