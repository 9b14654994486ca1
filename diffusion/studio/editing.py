"""Sounds changed: made anew in part, longer, otherwise, or between two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from codec.api import Codec
from codec.audio.pieces import Counted, pieces_of
from codec.metrics.loudness import loudness, matching_gains
from codec.model.sound import Sound, decode_stream, encode_stream
from codec.player.html import player
from diffusion import edit
from diffusion.edit import Region
from diffusion.generation import Generator, Sampling, check_seconds
from diffusion.model.samplers import Progress
from diffusion.studio import commands
from diffusion.studio.html import command_line
from diffusion.studio.jobs import Watch
from diffusion.studio.models import StudioModels
from diffusion.studio.sources import Source, keep, read
from diffusion.studio.store import Store

STEPS_BETWEEN = 9
"""Interpolated sounds that a slider chooses from."""

Change = Callable[[Generator, Sound, Progress], tuple[Sound, list[Region]]]


class Editor:
    """One visitor's edits, each as HTML and as a sound to go on with.

    Every method raises LacunaError for a value that cannot be, and OSError if nothing could be
    written.
    """

    def __init__(self, models: StudioModels, store: Store, visitor: str, watch: Watch) -> None:
        self._models, self._store, self._visitor = models, store, visitor
        self._watch = watch

    def inpaint(
        self, source: Source, sampling: Sampling, begin: float, end: float, keep_original: bool
    ) -> tuple[str, Source]:
        region = (begin, end)

        def change(model: Generator, sound: Sound, bar: Progress) -> tuple[Sound, list[Region]]:
            return edit.inpaint(model, sound, [region], sampling=sampling, progress=bar), [region]

        options = {"from": begin, "to": end, "keep_original": keep_original}
        return self._change("inpaint", source, change, keep_original, sampling, options)

    def extend(
        self, source: Source, sampling: Sampling, seconds: float, keep_original: bool
    ) -> tuple[str, Source]:
        check_seconds(seconds)

        def change(model: Generator, sound: Sound, bar: Progress) -> tuple[Sound, list[Region]]:
            longer = edit.extend(model, sound, seconds, sampling=sampling, progress=bar)
            return longer, [(sound.seconds, longer.seconds)]

        options = {"seconds": seconds, "keep_original": keep_original}
        return self._change("extend", source, change, keep_original, sampling, options)

    def vary(self, source: Source, sampling: Sampling, strength: float) -> tuple[str, Source]:
        edit.check_strength(strength)

        def change(model: Generator, sound: Sound, bar: Progress) -> tuple[Sound, list[Region]]:
            varied = edit.vary(model, sound, strength, sampling=sampling, progress=bar)
            return varied, [(0.0, sound.seconds)]

        return self._change("vary", source, change, False, sampling, {"strength": strength})

    def interpolate(self, first: Source, second: Source, step: int) -> tuple[str, Source]:
        """``step`` of STEPS_BETWEEN, from the first sound to the second."""
        codec = self._models.editing_codec(self._watch)
        loaded = [read(source.path, source.name) for source in (first, second)]
        channels = max(len(recording.waveform) for recording in loaded)
        sounds = [self._encoded(codec, r.waveform, r.sample_rate, channels) for r in loaded]
        between = edit.interpolate(sounds[0], sounds[1], STEPS_BETWEEN)[step - 1]
        waveform = self._decoded(codec, between)
        stem = f"{Path(first.name).stem}_{Path(second.name).stem}"
        result = keep(
            self._store, self._visitor, None, f"{stem}-{step}.wav", waveform, between.sample_rate
        )
        line = commands.line(
            "interpolate", first.name, second.name, f"{stem}.wav", count=STEPS_BETWEEN
        )
        heard = [loaded[0].waveform, waveform, loaded[1].waveform]
        return self._shown([first, result, second], heard, line), result

    def _change(
        self,
        command: str,
        source: Source,
        change: Change,
        keep_original: bool,
        sampling: Sampling,
        options: Mapping[str, object],
    ) -> tuple[str, Source]:
        generator = self._models.generator(self._watch)
        codec = generator.codec
        recording = read(source.path, source.name)
        original, sample_rate = recording.waveform, recording.sample_rate
        sound = self._encoded(codec, original, sample_rate, len(original))
        changed, regions = change(generator, sound, partial(self._watch, command))
        waveform = self._decoded(codec, changed)
        if keep_original:
            pieces = edit.keep_original([original], [waveform], regions, sample_rate)
            waveform = np.concatenate(list(pieces), axis=1)
        name = f"{Path(source.name).stem}_{command}-{sampling.seed}.wav"
        result = keep(self._store, self._visitor, None, name, waveform, sample_rate)
        words = {**options, **commands.of_sampling(sampling)}
        line = commands.line(command, source.name, name, **words)
        return self._shown([source, result], [original, waveform], line), result

    def _encoded(
        self, codec: Codec, waveform: np.ndarray, sample_rate: int, channels: int
    ) -> Sound:
        if len(waveform) == 1:
            waveform = waveform.repeat(channels, axis=0)
        seconds = waveform.shape[1] / sample_rate
        return encode_stream(
            codec,
            pieces_of(waveform),
            sample_rate,
            len(waveform),
            lambda done: self._watch("encoding", done, seconds),
        )

    def _decoded(self, codec: Codec, sound: Sound) -> np.ndarray:
        pieces, counted = [], Counted(decode_stream(codec, sound))
        for piece in counted:
            pieces.append(piece)
            self._watch("decoding", counted.samples, sound.samples)
        return np.concatenate(pieces, axis=1)

    @staticmethod
    def _shown(sources: list[Source], waveforms: list[np.ndarray], line: str) -> str:
        levels = [loudness(w, s.sample_rate) for w, s in zip(waveforms, sources, strict=True)]
        gains = matching_gains(levels)
        tracks = [source.track(None, gain) for source, gain in zip(sources, gains, strict=True)]
        return player(tracks, ready=True) + command_line(line)
