"""New sounds."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from codec.audio import limited
from codec.errors import LacunaError
from codec.model.sound import decode_waveform
from codec.player.html import player
from diffusion.generation import Sampling, check_seconds, generate
from diffusion.studio import commands
from diffusion.studio.html import command_line
from diffusion.studio.jobs import Watch
from diffusion.studio.models import StudioModels
from diffusion.studio.sources import MAX_SECONDS, Source, keep
from diffusion.studio.store import Store

MOST = 8
"""Sounds at once."""


def make(
    models: StudioModels,
    store: Store,
    visitor: str,
    seconds: float,
    count: int,
    sampling: Sampling,
    watch: Watch,
) -> tuple[str, list[Source]]:
    """New sounds as `lacuna generate` makes them, as HTML and to go on with.

    Raises:
        LacunaError: a length, a count or a label that cannot be.
        OSError: nothing could be written.
    """
    check_seconds(seconds)
    if seconds > MAX_SECONDS:
        raise LacunaError(
            f"{seconds:g} seconds to make, expected at most {MAX_SECONDS:g} here; "
            f"`lacuna generate` makes up to 600"
        )
    if not 1 <= count <= MOST:
        raise LacunaError(f"a count of {count}, expected 1 to {MOST}")
    generator = models.generator(watch)
    parts: list[str] = []
    sources: list[Source] = []
    for number in range(count):
        own = replace(sampling, seed=sampling.seed + number)
        what = f"making {number + 1} of {count}"
        sound = generate(generator, seconds, sampling=own, progress=partial(watch, what))
        watch("decoding", number, count)
        made = decode_waveform(generator.codec, sound).numpy()
        waveform, _ = limited(made, sound.sample_rate)
        name = f"{own.label or 'sound'}-{own.seed}.wav"
        source = keep(store, visitor, None, name, waveform, sound.sample_rate)
        sources.append(source)
        parts.append(player([source.track(f"seed {own.seed}, {source}")], ready=number == 0))
        options = {"seconds": float(seconds), **commands.of_sampling(own)}
        parts.append(command_line(commands.line("generate", name, **options)))
    return "".join(parts), sources
