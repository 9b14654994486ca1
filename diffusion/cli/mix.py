"""interpolate and blend: arithmetic with the latents of audio files."""

from __future__ import annotations

import math
from typing import Annotated

from cyclopts import Parameter

from codec.cli.options import AudioOutput, Compute, word
from codec.errors import LacunaError
from codec.model.shipped import DEFAULT_MODEL
from diffusion.cli.options import CodecModel, Count, Target


def interpolate(
    first: Annotated[str, word("A", "Audio file to come from.")],
    second: Annotated[str, word("B", "Audio file to go to.")],
    target: Target,
    /,
    *,
    count: Count = 1,
    mode: Annotated[
        str, Parameter(help="spherical, which keeps the latents' size, or linear.")
    ] = "spherical",
    codec: CodecModel = DEFAULT_MODEL,
    output: AudioOutput = AudioOutput(),
    compute: Compute = Compute(),
) -> None:
    """Make sounds between two audio files, by their latents; the longer file is cut.

    Example: lacuna interpolate rain.wav piano.wav between.wav --count 5

    They are evenly spaced, without A and B themselves, and have A's sample rate. It takes no
    diffusion model; `lacuna vary` with a small --strength makes the results more plausible.
    """
    compute.use()
    from codec.model.sound import decode_stream
    from diffusion import edit
    from diffusion.cli.files import load_sounds, numbered, writing

    targets = numbered(target, count, output.force)
    model, (a, b) = load_sounds(codec, compute, [first, second], targets)
    for path, sound in zip(targets, edit.interpolate(a, b, count, mode), strict=True):
        with writing(path, sound.sample_rate, sound.channels, output) as write:
            write(decode_stream(model, sound))


def blend(
    *terms: Annotated[
        str,
        Parameter(required=True),
        word("A + B - 0.5 C OUT", "Audio files with signs between them, and the file to write."),
    ],
    codec: CodecModel = DEFAULT_MODEL,
    output: AudioOutput = AudioOutput(),
    compute: Compute = Compute(),
) -> None:
    """Add and subtract audio files by their latents: A - B + C; longer files are cut.

    Example: lacuna blend A.wav - B.wav + 0.5 C.wav out.wav

    A number before a file is its weight; two files are averaged by 0.5 A + 0.5 B. The result has
    A's sample rate. It takes no diffusion model.
    """
    compute.use()
    from codec.model.sound import decode_stream
    from diffusion import edit
    from diffusion.cli.files import load_sounds, numbered, writing

    weighted = parse_terms(list(terms[:-1]))
    [target] = numbered(terms[-1], 1, output.force)
    paths = [path for _, path in weighted]
    model, sounds = load_sounds(codec, compute, paths, [target])
    weights = [weight for weight, _ in weighted]
    sound = edit.blend(list(zip(weights, sounds, strict=True)))
    with writing(target, sound.sample_rate, sound.channels, output) as write:
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
