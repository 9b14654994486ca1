"""How good and how small: every file of a folder through ``.lac`` and back, at several rates.

Files are compared after exactly what a user does: compress to bytes, decompress from bytes.
The rate counts all bytes of the file. Classes are the folder's first-level subfolders.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from codec import audio
from codec.codec import Codec
from codec.compression import compress_array, decompress_array
from codec.errors import AudioError, RateError
from codec.evaluation.metrics import band_error, si_sdr
from codec.files import atomic_path
from codec.mel import mel_distance
from codec.rate import RateTarget

BOOTSTRAPS = 2000


@dataclass(frozen=True)
class Row:
    """One file at one rate: speeds in multiples of real time, distances as means over channels."""

    file: str
    kind: str
    asked_kbps: float
    kbps: float
    seconds: float
    channels: int
    mel_distance: float
    si_sdr: float
    band_error_db: float
    compress_speed: float
    decompress_speed: float
    finest: bool


def evaluate(
    codec: Codec,
    folder: Path,
    rates: Iterable[float],
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> tuple[list[Row], list[str]]:
    """A row for every file and rate, and what was skipped, with the reason.

    Raises:
        AudioError: no such folder, or nothing in it that can be read.
    """
    if not folder.is_dir():
        raise AudioError(f"'{folder}' is not a folder; evaluate takes a folder of audio files")
    rates = list(rates)
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    rows: list[Row] = []
    skipped: list[str] = []
    for done, path in enumerate(paths):
        progress(path.name, done, len(paths))
        try:
            waveform, sample_rate = audio.read(path)
        except AudioError as error:
            skipped.append(str(error))
            continue
        relative = path.relative_to(folder)
        for rate in rates:
            try:
                rows.append(_measure(codec, relative, waveform, sample_rate, rate))
            except RateError as error:
                skipped.append(f"{relative}: {error}")
    if not rows:
        raise AudioError(f"nothing below '{folder}' could be evaluated:\n" + "\n".join(skipped[:5]))
    return rows, skipped


def _measure(
    codec: Codec, path: Path, waveform: np.ndarray, sample_rate: int, asked_kbps: float
) -> Row:
    output = io.BytesIO()
    begin = time.perf_counter()
    report = compress_array(codec, waveform, sample_rate, output, RateTarget(asked_kbps))
    middle = time.perf_counter()
    decoded, _ = decompress_array(codec, output.getvalue())
    end = time.perf_counter()
    # All files at one rate, so that the windows of the mel distance mean the same for all.
    x, y = (
        torch.from_numpy(audio.resample(signal, sample_rate, codec.sample_rate))
        for signal in (decoded, waveform)
    )
    return Row(
        file=path.as_posix(),
        kind=path.parts[0] if len(path.parts) > 1 else "all",
        asked_kbps=asked_kbps,
        kbps=report.kbps,
        seconds=report.seconds,
        channels=len(waveform),
        mel_distance=float(mel_distance(x, y, codec.sample_rate).mean()),
        si_sdr=float(si_sdr(x, y).mean()),
        band_error_db=float(band_error(x, y, codec.sample_rate).mean()),
        compress_speed=report.seconds / (middle - begin),
        decompress_speed=report.seconds / (end - middle),
        finest=report.at_finest,
    )


def bootstrap_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean over files, by resampling files (Efron 1979)."""
    rng = np.random.default_rng(seed)
    means = rng.choice(values, (BOOTSTRAPS, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def write_report(rows: list[Row], skipped: list[str], codec: Codec, out: Path) -> str:
    """Write evaluation.csv, .json and .md to ``out``; returns the markdown."""
    out.mkdir(parents=True, exist_ok=True)
    with (
        atomic_path(out / "evaluation.csv", force=True) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, fieldnames=list(asdict(rows[0])))
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    with atomic_path(out / "evaluation.json", force=True) as partial:
        partial.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    text = _markdown(rows, skipped, codec)
    with atomic_path(out / "evaluation.md", force=True) as partial:
        partial.write_text(text, encoding="utf-8")
    return text


def _markdown(rows: list[Row], skipped: list[str], codec: Codec) -> str:
    lines = [
        f"# Evaluation of '{codec.config.name}' (latent_id {codec.latent_id})",
        "",
        f"Made by `{' '.join(['lacuna', *sys.argv[1:]])}`. Means over files, with 95 % bootstrap "
        "intervals for the mel distance (DAC's definition, lower is better). SI-SDR in dB; "
        "band error is the mean absolute level error of 24 bands in dB.",
        "",
        "| class | asked kbps | kbps | files | mel distance | SI-SDR | band error |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in sorted({row.kind for row in rows}):
        for asked in sorted({row.asked_kbps for row in rows}):
            group = [row for row in rows if (row.kind, row.asked_kbps) == (kind, asked)]
            if not group:
                continue
            mel = np.array([row.mel_distance for row in group])
            low, high = bootstrap_interval(mel)
            lines.append(
                f"| {kind} | {asked:g} | {np.mean([r.kbps for r in group]):.2f} | {len(group)} "
                f"| {mel.mean():.2f} ({low:.2f} to {high:.2f}) "
                f"| {np.mean([r.si_sdr for r in group]):.1f} "
                f"| {np.mean([r.band_error_db for r in group]):.1f} |"
            )
    lines += [
        "",
        "| file | channels | seconds | asked kbps | kbps | mel distance | SI-SDR "
        "| compress x real time | decompress x real time |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.file} | {row.channels} | {row.seconds:.1f} | {row.asked_kbps:g} "
            f"| {row.kbps:.2f}{' (finest)' if row.finest else ''} | {row.mel_distance:.2f} "
            f"| {row.si_sdr:.1f} | {row.compress_speed:.0f} | {row.decompress_speed:.0f} |"
        )
    if skipped:
        lines += ["", "Skipped:", "", *(f"- {reason}" for reason in skipped)]
    return "\n".join(lines) + "\n"
