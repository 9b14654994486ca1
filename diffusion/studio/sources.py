"""The sounds that a visitor works on: dropped, recorded, an example, or made here before."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from codec.audio import AudioReader
from codec.audio.pieces import CHUNK
from codec.batch.work import collected_warnings
from codec.demo import CLIP
from codec.errors import AudioError
from codec.player.html import Track
from codec.player.media import write_sound
from codec.text import printable
from diffusion.studio.html import save_link
from diffusion.studio.store import Store

MAX_SECONDS = 300.0
"""A browser holds every sound of a comparison in memory."""
MAX_CHANNELS = 8
EXAMPLES = {CLIP.name: CLIP}
RECORDING = "recording.wav"


@dataclass(frozen=True)
class Source:
    """A sound to work on."""

    name: str
    """As a command line names it."""
    path: Path
    seconds: float
    sample_rate: int
    channels: int
    url: str = ""
    """Where the page has it, with its pictures."""

    def __str__(self) -> str:
        channels = {1: "mono", 2: "stereo"}.get(self.channels, f"{self.channels} channels")
        return f"{self.name}: {self.seconds:.2f} s, {self.sample_rate} Hz, {channels}"

    def track(self, caption: str | None = None, gain_db: float = 0.0) -> Track:
        below = save_link(self.name, f"{self.url}/{self.path.name}")
        return Track(caption or str(self), f"{self.url}/source", ".wav", gain_db, below)


_collecting = threading.Lock()
"""Warnings are the whole process's: one file's at a time."""


@dataclass(frozen=True)
class Recording:
    """What was read of a file."""

    waveform: np.ndarray
    """(channels, time)"""
    sample_rate: int
    problems: list[str]
    """Such as that it is cut short."""


def read(path: Path, name: str) -> Recording:
    """A recording; messages call it ``name``.

    Raises:
        AudioError: it is no audio, longer than MAX_SECONDS, or has more than MAX_CHANNELS.
    """
    problems: list[str] = []
    try:
        with _collecting, collected_warnings(problems), AudioReader(path) as reader:
            info = reader.info
            if info.channels > MAX_CHANNELS:
                raise AudioError(
                    f"{name} has {info.channels} channels, expected at most {MAX_CHANNELS}; "
                    f"mix it down first"
                )
            _check_length(info.seconds or 0.0, name)
            longest = round(MAX_SECONDS * info.sample_rate)  # whatever the header says
            pieces = list(islice(reader.blocks(CHUNK), longest // CHUNK + 1))
        waveform = np.concatenate(pieces, axis=1)
        _check_length(waveform.shape[1] / info.sample_rate, name)
    except AudioError as error:
        raise AudioError(str(error).replace(printable(path), name)) from None
    problems = [text.replace(printable(path), name) for text in problems]
    return Recording(waveform, info.sample_rate, problems)


def _check_length(seconds: float, name: str) -> None:
    if seconds > MAX_SECONDS:
        raise AudioError(
            f"{name} is {seconds / 60:.0f} minutes long or longer, expected at most "
            f"{MAX_SECONDS / 60:g} here; cut it, or use `lacuna compress`, which takes any length"
        )


def take(store: Store, visitor: str, path: Path, name: str) -> tuple[Source, list[str]]:
    """Make a file known to the page, with its pictures; and what is wrong with it.

    Raises:
        AudioError: as for ``read``.
        OSError, LacunaError: the page's copy could not be written.
    """
    recording = read(path, name)
    waveform, sample_rate = recording.waveform, recording.sample_rate
    return keep(store, visitor, path, name, waveform, sample_rate), recording.problems


def keep(
    store: Store,
    visitor: str,
    path: Path | None,
    name: str,
    waveform: np.ndarray,
    sample_rate: int,
) -> Source:
    """As ``take`` with a waveform; without a path it is what was made, in 16 bits."""
    folder, url = store.new(visitor)
    write_sound(str(folder / "source"), ".wav", waveform, waveform, sample_rate)
    own = folder / "source.wav"
    if path is not None:
        own = folder / f"file{path.suffix.lower()}"
        shutil.copyfile(path, own)
    seconds = waveform.shape[1] / sample_rate
    return Source(name, own, seconds, sample_rate, len(waveform), url)
