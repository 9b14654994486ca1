"""How good and how small: every file of a folder through codecs at several rates, and back.

The middle of each file does exactly what a user's file does: it is compressed to bytes and
decompressed from them, and the rate counts all of them. Classes are the folder's first-level
subfolders. Beside the codecs stand the original and the controls of controls.py.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codec import audio
from codec.api import Models
from codec.batch.folders import find_audio
from codec.errors import AudioError, LacunaError
from codec.evaluation.codecs.comparison import MIN_FILES, Comparison, blind, compare, interval
from codec.evaluation.codecs.controls import CONTROLS, Control, Original
from codec.evaluation.codecs.measures import QUALITY, measure
from codec.evaluation.codecs.media import FOLDER, write_media
from codec.evaluation.codecs.peers import Coder, RoundTrip
from codec.evaluation.codecs.perceptual import Perceptual, middle
from codec.evaluation.estimate import Estimate
from codec.lac.compress import compress_array
from codec.lac.rate import RateTarget
from codec.metrics.loudness import loudness

SPEECH = "speech"
"""The class, that is the folder, whose files are judged as speech."""
MIN_SECONDS = 0.25
"""Shorter recordings have no spectrum that could be measured."""
LARGEST_CUT = 0.1
"""Seconds that a decoded sound may be longer or shorter by, and still be compared."""
NOTED_CUT = 0.002
"""Seconds: less than that is what aligning two codecs costs, and not worth a word."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Row:
    """One file through one codec at one rate."""

    file: str
    kind: str
    codec: str
    model: str
    """Lacuna's model: its name and coding_id."""
    asked_kbps: float | None
    """None of the original and the controls, as the next one and the speeds."""
    kbps: float | None
    seconds: float
    channels: int
    compress_speed: float | None
    """In multiples of real time, as the next one."""
    decompress_speed: float | None
    finest: bool
    values: dict[str, float]
    """The measures among measures.ALL that could judge the file."""
    media: str = ""
    """What the paths of its sound and pictures begin with (media.py); empty if there are none."""
    loudness: float | None = None
    """LUFS of what is to be heard; None of silence, and where there is no sound on the page."""


@dataclass(frozen=True)
class Group:
    """All files of one class through one codec at one asked rate."""

    kind: str
    codec: str
    asked_kbps: float | None
    files: int
    kbps: float | None
    compress_speed: float | None
    decompress_speed: float | None
    means: dict[str, float]
    """Over the files that have the measure."""
    intervals: dict[str, Estimate]
    """Intervals of the measures of quality that at least MIN_FILES files have."""


@dataclass(frozen=True)
class Evaluation:
    """All that was measured."""

    rows: list[Row]
    groups: list[Group]
    comparisons: list[Comparison]
    blind: dict[tuple[str, str], str]
    """(class, measure) -> why it ranks nothing there."""
    skipped: list[str]
    """Files that could not be read, or not be coded at a rate, with the reason."""
    cut: list[str]
    """Decoded sounds that were compared without their end."""


@dataclass(frozen=True)
class Lacuna:
    """The codec of this project at one rate; a ``Coder``."""

    kbps: float
    models: Models
    codec: str = "lacuna"

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> RoundTrip:
        """See ``Coder``."""
        target, output = RateTarget(self.kbps), io.BytesIO()
        codec = self.models.for_compressing()  # it is kept: its reading is not timed
        begin = time.perf_counter()
        report = compress_array(codec, waveform, sample_rate, output, target)
        halfway = time.perf_counter()
        decoded = self.models.decompress(output.getvalue())[0].numpy()
        end = time.perf_counter()
        return RoundTrip(
            decoded,
            report.bytes,
            halfway - begin,
            end - halfway,
            f"{codec.config.name} ({codec.coding_id})",
            report.at_finest,
        )


def evaluate(
    folder: Path,
    coders: Sequence[Coder],
    perceptual: Perceptual | None = None,
    seconds: float = 10.0,
    progress: Progress = lambda name, done, total: None,
    out: Path | None = None,
) -> Evaluation:
    """Every file through every codec, and through the controls.

    A file or a codec that fails is named in ``skipped``, and the rest goes on.

    Args:
        perceptual: None leaves these measures out.
        seconds: of each file's middle are coded and judged.
        out: below it sound and pictures of everything are written; None writes nothing.

    Raises:
        AudioError: no such folder, or nothing in it that can be read and coded.
    """
    paths = find_audio(folder)
    if out is not None:  # a report may lie in the folder: its sounds are not evaluated in turn
        written = (out / FOLDER).resolve()
        paths = [path for path in paths if written not in path.resolve().parents]
    systems: list[Coder] = [Original(), *(Control(name) for name in CONTROLS), *coders]
    rows: list[Row] = []
    skipped: list[str] = []
    cut: list[str] = []
    for number, path in enumerate(paths):
        file, kind = _unicode(path.relative_to(folder).as_posix()), _kind(path, folder)
        try:
            waveform, sample_rate = _read(path, seconds)
        except AudioError as error:
            skipped.append(str(error) if file in str(error) else f"{file}: {error}")
            continue
        for index, coder in enumerate(systems):
            what = name_of(coder.codec, coder.kbps)
            done = number * len(systems) + index
            progress(f"{path.name}: {what}", done, len(paths) * len(systems))
            try:
                trip = coder(waveform, sample_rate)
                decoded, original, note = matched(trip.waveform, waveform, sample_rate)
                speech = kind.lower() == SPEECH
                values = measure(decoded, original, sample_rate, speech, perceptual)
            except LacunaError as error:
                skipped.append(f"{file}, {what}: {error}")
                continue
            except Exception as error:  # one file must not cost the report of all others
                skipped.append(f"{file}, {what}: unexpected {type(error).__name__}: {error}")
                continue
            if note:
                cut.append(f"{file}, {what}: {note}")
            media, level = "", None
            if out is not None:
                try:
                    names = (number + 1, file), (index + 1, what)
                    media = write_media(out, *names, (decoded, original), sample_rate)
                    level = loudness(decoded, sample_rate)
                except (LacunaError, OSError) as error:
                    skipped.append(f"{file}, {what}: measured, but not on the page: {error}")
            length = waveform.shape[1] / sample_rate
            rows.append(_row(file, kind, coder, trip, length, values, media, level))
    if not any(row.asked_kbps is not None for row in rows):
        raise AudioError(f"nothing below '{folder}' could be evaluated:\n" + "\n".join(skipped[:5]))
    groups = []
    for kind in sorted({row.kind for row in rows}):
        for coder in systems:
            key = (kind, coder.codec, coder.kbps)
            members = [row for row in rows if (row.kind, row.codec, row.asked_kbps) == key]
            if members:
                groups.append(_group(members))
    return Evaluation(rows, groups, compare(rows), blind(rows), skipped, cut)


def name_of(codec: str, kbps: float | None) -> str:
    """A codec and its rate in words, as in "opus at 12 kbps"."""
    return codec if kbps is None else f"{codec} at {kbps:g} kbps"


def matched(
    decoded: np.ndarray, original: np.ndarray, sample_rate: int
) -> tuple[np.ndarray, np.ndarray, str]:
    """Two (channels, time) of one length, and a note where that took a cut worth a word.

    Raises:
        AudioError: other channels, or lengths that differ by more than LARGEST_CUT.
    """
    if len(decoded) != len(original):
        raise AudioError(
            f"it decoded to {len(decoded)} channels, expected the original's {len(original)}; "
            f"convert the recording to mono or stereo"
        )
    size = min(decoded.shape[1], original.shape[1])
    change = decoded.shape[1] - original.shape[1]
    if abs(change) > LARGEST_CUT * sample_rate:
        lengths = [sound.shape[1] / sample_rate for sound in (decoded, original)]
        raise AudioError(
            f"it decoded to {lengths[0]:.3f} s, expected the original's {lengths[1]:.3f} s; "
            f"sound is lost or added, and nothing can be compared"
        )
    more = "longer" if change > 0 else "shorter"
    note = f"{abs(change)} samples {more} than the original: compared without the rest"
    noted = abs(change) > NOTED_CUT * sample_rate
    return decoded[:, :size], original[:, :size], note if noted else ""


def _read(path: Path, seconds: float) -> tuple[np.ndarray, int]:
    waveform, sample_rate = audio.read(path)
    length = waveform.shape[1] / sample_rate
    if length < MIN_SECONDS:
        raise AudioError(
            f"{waveform.shape[1]} samples, {length:.3f} s, are too few to measure anything; "
            f"expected {MIN_SECONDS:g} s or more"
        )
    return middle(waveform, sample_rate, seconds), sample_rate


def _kind(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder).parts
    return _unicode(parts[0]) if len(parts) > 1 else "all"


def _unicode(name: str) -> str:
    """A file's name in characters that a report can hold: bytes that are none become escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _row(
    file: str,
    kind: str,
    coder: Coder,
    trip: RoundTrip,
    seconds: float,
    values: dict[str, float],
    media: str,
    level: float | None,
) -> Row:
    coded = coder.kbps is not None
    return Row(
        file=file,
        kind=kind,
        codec=coder.codec,
        model=trip.model,
        asked_kbps=coder.kbps,
        kbps=trip.bytes * 8 / seconds / 1000 if coded else None,
        seconds=seconds,
        channels=len(trip.waveform),
        compress_speed=seconds / trip.compress_seconds if coded else None,
        decompress_speed=seconds / trip.decompress_seconds if coded else None,
        finest=trip.finest,
        values=values,
        media=media,
        loudness=level,
    )


def _group(rows: Sequence[Row]) -> Group:
    names = dict.fromkeys(name for row in rows for name in row.values)
    values = {
        name: np.array([row.values[name] for row in rows if name in row.values]) for name in names
    }

    def mean(column: list[float | None]) -> float | None:
        present = [value for value in column if value is not None]
        return float(np.mean(present)) if present else None

    first = rows[0]
    return Group(
        first.kind,
        first.codec,
        first.asked_kbps,
        len(rows),
        kbps=mean([row.kbps for row in rows]),
        compress_speed=mean([row.compress_speed for row in rows]),
        decompress_speed=mean([row.decompress_speed for row in rows]),
        means={name: float(column.mean()) for name, column in values.items()},
        intervals={
            name: interval(column)
            for name, column in values.items()
            if name in QUALITY and len(column) >= MIN_FILES
        },
    )
