"""How good and how small: every file of a folder through codecs at several rates, and back.

Files are compared after exactly what a user does: compress to bytes, decompress from bytes.
The rate counts all bytes of the file. Classes are the folder's first-level subfolders.
"""

from __future__ import annotations

import io
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from codec import audio
from codec.api import Codec
from codec.batch.folders import Loader, find_audio
from codec.errors import AudioError, RateError
from codec.evaluation.codecs.peers import Coder, RoundTrip
from codec.evaluation.codecs.perceptual import Perceptual, Scores, middle
from codec.evaluation.generated.embeddings import Clip, embed
from codec.evaluation.generated.frechet import MIN_FILES, Distances, Estimate, compare_sets
from codec.lac.compress import CompressionReport, compress_array
from codec.lac.decompress import decompress_array
from codec.lac.rate import RateTarget
from codec.metrics.distances import band_error, si_sdr, stft_distance
from codec.metrics.mel import mel_distance
from codec.model.shipped import first_to_reach, models_for_rate

MEASURING_RATE = 44_100
"""Hz. All files are compared at one rate, so that the windows of the distances mean the same."""
BOOTSTRAPS = 2000
SPEECH = "speech"
"""The class, that is the folder, whose files are judged as speech."""
EXAMPLES_PER_CLASS = 2
EXAMPLE_SECONDS = 5.0

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Row:
    """One file through one codec at one rate: distances are means over channels."""

    file: str
    kind: str
    codec: str
    model: str
    """Of Lacuna: its name and latent_id."""
    asked_kbps: float
    kbps: float
    seconds: float
    channels: int
    mel_distance: float
    stft_distance: float
    si_sdr: float
    band_error_db: float
    visqol: float | None
    pesq: float | None
    estoi: float | None
    compress_speed: float
    """In multiples of real time, as the next one."""
    decompress_speed: float
    finest: bool


MEASURES = (
    "kbps",
    "mel_distance",
    "stft_distance",
    "si_sdr",
    "band_error_db",
    "visqol",
    "pesq",
    "estoi",
    "compress_speed",
    "decompress_speed",
)
"""The columns of which there are means."""


@dataclass(frozen=True)
class Group:
    """All files of one class through one codec at one asked rate."""

    kind: str
    codec: str
    asked_kbps: float
    files: int
    means: dict[str, Estimate]
    """Of MEASURES, over the files that have them."""
    distances: dict[str, Distances]
    """Of decoded and original files as sets, by embedding; empty for fewer than MIN_FILES."""


@dataclass(frozen=True)
class Example:
    """A stretch of a file, to look at and listen to: (channels, time) each."""

    file: str
    kind: str
    sample_rate: int
    original: np.ndarray
    decoded: list[tuple[Row, np.ndarray]] = field(default_factory=list)


@dataclass(frozen=True)
class Evaluation:
    """All that was measured."""

    rows: list[Row]
    groups: list[Group]
    examples: list[Example]
    skipped: list[str]
    """Files that could not be read, or not be coded at a rate, with the reason."""


@dataclass(frozen=True)
class Lacuna:
    """The codec of this project at one rate; a ``Coder``."""

    kbps: float
    load: Loader
    model: str | None = None
    """A name or a path; None takes the shipped model that is best for the rate."""
    codec: str = "lacuna"

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> RoundTrip:
        """See ``Coder``."""
        target = RateTarget(self.kbps)
        rate = target.kbps_per_channel(len(waveform))
        names = [self.model] if self.model else models_for_rate(rate)
        self.load(names[0])  # it is kept, and its reading is not timed
        output = io.BytesIO()

        def attempt(name: str) -> tuple[Codec, CompressionReport]:
            codec = self.load(name)
            return codec, compress_array(codec, waveform, sample_rate, output, target)

        begin = time.perf_counter()
        codec, report = first_to_reach(names, attempt)
        halfway = time.perf_counter()
        decoded, _ = decompress_array(codec, output.getvalue())
        end = time.perf_counter()
        return RoundTrip(
            decoded,
            report.bytes,
            halfway - begin,
            end - halfway,
            f"{codec.config.name} ({codec.latent_id})",
            report.at_finest,
        )


def evaluate(
    folder: Path,
    coders: Sequence[Coder],
    embedder: Codec,
    perceptual: Perceptual | None = None,
    progress: Progress = lambda name, done, total: None,
) -> Evaluation:
    """Every file through every codec.

    Args:
        embedder: the model whose latents sets of files are compared by.
        perceptual: None leaves these measures out.

    Raises:
        AudioError: no such folder, or nothing in it that can be read.
    """
    paths = find_audio(folder)
    shown = _spread_over_classes(paths, folder)
    rows: list[Row] = []
    examples: list[Example] = []
    skipped: list[str] = []
    originals: dict[str, dict[str, Clip]] = defaultdict(dict)
    decoded_clips: dict[tuple[str, str, float], dict[str, Clip]] = defaultdict(dict)
    for number, path in enumerate(paths):
        file, kind = path.relative_to(folder).as_posix(), _kind(path, folder)
        try:
            waveform, sample_rate = audio.read(path)
        except AudioError as error:
            skipped.append(str(error))
            continue
        clip = _clip(embedder, waveform, sample_rate, file)
        if clip is not None:
            originals[kind][file] = clip
        example = None
        if path in shown:
            stretch = middle(waveform, sample_rate, EXAMPLE_SECONDS)
            example = Example(file, kind, sample_rate, stretch)
            examples.append(example)
        for index, coder in enumerate(coders):
            what = f"{coder.codec} at {coder.kbps:g} kbps"
            progress(f"{path.name}: {what}", number * len(coders) + index, len(paths) * len(coders))
            try:
                trip = coder(waveform, sample_rate)
            except (AudioError, RateError) as error:
                skipped.append(f"{file}, {what}: {error}")
                continue
            row = _measure(file, kind, coder, trip, waveform, sample_rate, perceptual)
            rows.append(row)
            clip = _clip(embedder, trip.waveform, sample_rate, file)
            if clip is not None:
                decoded_clips[kind, coder.codec, coder.kbps][file] = clip
            if example is not None:
                stretch = middle(trip.waveform, sample_rate, EXAMPLE_SECONDS)
                example.decoded.append((row, stretch))
    if not rows:
        raise AudioError(f"nothing below '{folder}' could be evaluated:\n" + "\n".join(skipped[:5]))
    groups = []
    for kind in sorted({row.kind for row in rows}):
        for coder in coders:
            members = [
                row
                for row in rows
                if (row.kind, row.codec, row.asked_kbps) == (kind, coder.codec, coder.kbps)
            ]
            clips = decoded_clips[kind, coder.codec, coder.kbps]
            if members:
                groups.append(_group(members, clips, originals[kind]))
    return Evaluation(rows, groups, examples, skipped)


def _kind(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else "all"


def _spread_over_classes(paths: Sequence[Path], folder: Path) -> set[Path]:
    """EXAMPLES_PER_CLASS files of each class, as neighbours in a folder are often alike."""
    by_kind: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        by_kind[_kind(path, folder)].append(path)
    return {
        members[number * len(members) // EXAMPLES_PER_CLASS]
        for members in by_kind.values()
        for number in range(EXAMPLES_PER_CLASS)
    }


def _clip(codec: Codec, waveform: np.ndarray, sample_rate: int, name: str) -> Clip | None:
    try:
        return embed(codec, audio.resample(waveform, sample_rate, codec.sample_rate), name, None)
    except AudioError:  # too short
        return None


def _measure(
    file: str,
    kind: str,
    coder: Coder,
    trip: RoundTrip,
    waveform: np.ndarray,
    sample_rate: int,
    perceptual: Perceptual | None,
) -> Row:
    seconds = waveform.shape[1] / sample_rate
    x, y = (
        torch.from_numpy(audio.resample(signal, sample_rate, MEASURING_RATE))
        for signal in (trip.waveform, waveform)
    )
    scores = Scores()
    if perceptual is not None:
        scores = perceptual(trip.waveform, waveform, sample_rate, kind.lower() == SPEECH)
    return Row(
        file=file,
        kind=kind,
        codec=coder.codec,
        model=trip.model,
        asked_kbps=coder.kbps,
        kbps=trip.bytes * 8 / seconds / 1000,
        seconds=seconds,
        channels=len(waveform),
        mel_distance=float(mel_distance(x, y, MEASURING_RATE).mean()),
        stft_distance=float(stft_distance(x, y).mean()),
        si_sdr=float(si_sdr(x, y).mean()),
        band_error_db=float(band_error(x, y, MEASURING_RATE).mean()),
        **asdict(scores),
        compress_speed=seconds / trip.compress_seconds,
        decompress_speed=seconds / trip.decompress_seconds,
        finest=trip.finest,
    )


def _group(rows: Sequence[Row], decoded: dict[str, Clip], originals: dict[str, Clip]) -> Group:
    means = {}
    for measure in MEASURES:
        values = [value for row in rows if (value := getattr(row, measure)) is not None]
        if values:
            means[measure] = bootstrap_mean(np.array(values))
    names = sorted(decoded.keys() & originals.keys())
    distances = {}
    if len(names) >= MIN_FILES:
        distances = compare_sets([decoded[n] for n in names], [originals[n] for n in names])
    first = rows[0]
    return Group(first.kind, first.codec, first.asked_kbps, len(rows), means, distances)


def bootstrap_mean(values: np.ndarray, seed: int = 0) -> Estimate:
    """The mean over files and its 95 % interval, by resampling files (Efron 1979)."""
    rng = np.random.default_rng(seed)
    means = rng.choice(values, (BOOTSTRAPS, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(values.mean()), float(low), float(high))
