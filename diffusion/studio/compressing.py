"""A sound compressed and heard again, beside the original and Opus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codec import audio
from codec.api import Models
from codec.audio.pieces import Progress
from codec.batch.folders import Job
from codec.batch.work import Bar, compress_file, decompress_file
from codec.errors import LacunaError
from codec.evaluation.codecs.evaluate import MIN_SECONDS, matched
from codec.evaluation.codecs.measures import QUALITY, measure
from codec.evaluation.codecs.peers import Peer, installed
from codec.evaluation.codecs.perceptual import middle
from codec.lac.rate import RateTarget
from codec.metrics.loudness import loudness, matching_gains
from codec.player.html import Track, player
from codec.player.media import write_pictures, write_sound
from diffusion.studio import commands
from diffusion.studio.html import command_line, notes, save_link, table
from diffusion.studio.jobs import Watch
from diffusion.studio.sources import Source, read
from diffusion.studio.store import Store

MEASURED_SECONDS = 20.0
"""Seconds from the middle that are measured: measures take longer than all the rest."""
TIMES_THE_RATE = (1, 2)
"""Opus is asked for so many times the rate."""


@dataclass(frozen=True)
class Version:
    """A version of the original: its sound, size and measures."""

    name: str
    waveform: np.ndarray
    bytes: int
    media: str
    below: str = ""


def compress(
    models: Models, store: Store, visitor: str, source: Source, kbps: float, watch: Watch
) -> str:
    """What `lacuna compress` makes of it, and what Opus does, as HTML.

    Raises:
        AudioError, RateError: as for ``compress_file``.
        OSError: nothing could be written.
    """
    recording = read(source.path, source.name)
    original, sample_rate = recording.waveform, recording.sample_rate
    folder, url = store.new(visitor)
    small, decoded = folder / "sound.lac", folder / "decoded.wav"
    target = RateTarget(kbps)
    outcome = compress_file(
        models, Job(str(source.path), str(small)), _bar(watch, "compressing"),
        target=target, force=True,
    )  # fmt: skip
    decompress_file(
        models, Job(str(small), str(decoded)), _bar(watch, "decompressing"),
        start=0.0, duration=None, bits=None, force=True,
    )  # fmt: skip
    waveform, _ = audio.read(decoded)
    write_pictures(str(folder / "decoded"), waveform, original, sample_rate)
    stem = Path(source.name).stem
    saved = save_link(f"{stem}.lac", f"{url}/sound.lac")
    saved += save_link(f"{stem}_decoded.wav", f"{url}/decoded.wav")
    size = small.stat().st_size
    versions = [Version("Lacuna", waveform, size, f"{url}/decoded", saved)]
    remarks = [text for text in outcome.notes[1:]]
    for version in _opus(original, sample_rate, kbps, folder, url, watch, remarks):
        versions.append(version)
    watch("measuring", 0, None)
    return "".join(
        [
            _facts(original, sample_rate, versions, watch),
            _player(source, original, sample_rate, versions),
            notes(remarks),
            command_line(
                commands.line("compress", source.name, f"{stem}.lac", kbps=float(kbps)),
                commands.line("decompress", f"{stem}.lac", f"{stem}_decoded.wav"),
            ),
        ]
    )


def _opus(
    original: np.ndarray,
    sample_rate: int,
    kbps: float,
    folder: Path,
    url: str,
    watch: Watch,
    remarks: list[str],
) -> Iterator[Version]:
    peers, reasons = installed([Peer("opus", times * kbps) for times in TIMES_THE_RATE])
    remarks += reasons
    for number, peer in enumerate(peers):
        watch(f"Opus at {peer.kbps:g} kbps", number, len(peers))
        try:
            trip = peer(original, sample_rate)
            decoded, _, _ = matched(trip.waveform, original, sample_rate)
        except LacunaError as error:
            remarks.append(f"Opus at {peer.kbps:g} kbps is left out: {error}")
            continue
        write_sound(str(folder / f"opus-{number}"), ".wav", decoded, original, sample_rate)
        yield Version(
            f"Opus, asked for {peer.kbps:g} kbps", decoded, trip.bytes, f"{url}/opus-{number}"
        )


def _facts(
    original: np.ndarray, sample_rate: int, versions: Sequence[Version], watch: Watch
) -> str:
    """Sizes, and measures of the middle."""
    seconds, plain = original.shape[1] / sample_rate, 2 * original.size
    measured: list[dict[str, float]] = []
    for number, version in enumerate(versions):
        watch("measuring", number, len(versions))
        pair = matched(version.waveform, original, sample_rate)[:2]
        part, whole = (middle(sound, sample_rate, MEASURED_SECONDS) for sound in pair)
        long_enough = part.shape[1] >= MIN_SECONDS * sample_rate
        measured.append(measure(part, whole, sample_rate, False, None) if long_enough else {})
    columns = [name for name in QUALITY if any(name in values for values in measured)]
    rows = [["original, 16 bits", f"{plain * 8 / seconds / 1000:.0f}", f"{plain:,}", "1"]]
    rows[0] += [""] * len(columns)
    for version, values in zip(versions, measured, strict=True):
        numbers = [f"{values[name]:.2f}" if name in values else "" for name in columns]
        rate, smaller = version.bytes * 8 / seconds / 1000, plain / version.bytes
        rows.append([version.name, f"{rate:.2f}", f"{version.bytes:,}", f"{smaller:.0f}", *numbers])
    labels = [f"{QUALITY[name].label} ({QUALITY[name].better} is better)" for name in columns]
    return table(["", "kbps", "bytes", "times smaller", *labels], rows)


def _player(
    source: Source, original: np.ndarray, sample_rate: int, versions: Sequence[Version]
) -> str:
    sounds = [original, *(version.waveform for version in versions)]
    gains = matching_gains([loudness(sound, sample_rate) for sound in sounds])
    seconds = original.shape[1] / sample_rate
    tracks = [source.track("original", gains[0])]
    for version, gain in zip(versions, gains[1:], strict=True):
        codec = version.name.partition(",")[0]
        caption = f"{codec}, {version.bytes * 8 / seconds / 1000:.2f} kbps"
        tracks.append(Track(caption, version.media, ".wav", gain, version.below))
    return player(tracks, ready=True)


def _bar(watch: Watch, what: str) -> Bar:
    @contextmanager
    def bar(seconds: float | None) -> Iterator[Progress]:
        yield lambda done: watch(what, done, seconds)

    return bar
