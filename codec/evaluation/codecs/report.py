"""What is written about an evaluation: tables in CSV, JSON and Markdown, and one page of HTML.

The page (report.html) holds all that it shows: plots as SVG, spectrograms as PNG, sounds as FLAC,
which browsers play. It needs no network and no other file.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path

import numpy as np
import soundfile

from codec.evaluation.codecs.evaluate import EXAMPLE_SECONDS, Evaluation, Example, Group, Row
from codec.evaluation.codecs.perceptual import middle
from codec.files import atomic_path
from codec.metrics.pictures import rate_distortion, spectrogram_png

SOUND_BYTES = 9_000_000
"""Of all FLAC files in a page; base64 makes 4 characters of 3 bytes."""

COLUMNS = {
    "mel_distance": "mel distance",
    "visqol": "ViSQOL",
    "pesq": "PESQ-WB",
    "estoi": "ESTOI",
    "stft_distance": "STFT distance",
    "si_sdr": "SI-SDR (dB)",
    "band_error_db": "band error (dB)",
}
WITH_INTERVAL = ("mel_distance", "visqol", "pesq", "estoi")
PLOTTED = {
    "mel_distance": "mel distance (lower is better)",
    "visqol": "ViSQOL (higher is better)",
    "pesq": "PESQ-WB (higher is better)",
    "estoi": "ESTOI (higher is better)",
    "stft_distance": "STFT distance (lower is better)",
}
DISTANCE = "log_mel"
"""The embedding whose Frechet distance the tables show: the one that knows nothing of Lacuna."""


def write_report(evaluation: Evaluation, notes: Sequence[str], out: Path) -> str:
    """Write evaluation.csv, .json and .md and report.html to ``out``; returns the Markdown.

    Args:
        notes: what to say of programs, packages and settings, a sentence each.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = [asdict(row) for row in evaluation.rows]
    with (
        atomic_path(out / "evaluation.csv", force=True) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    content = {
        "command": _command(),
        "notes": list(notes),
        "skipped": evaluation.skipped,
        "groups": [asdict(group) for group in evaluation.groups],
        "rows": rows,
    }
    text = _markdown(evaluation, notes)
    for name, written in (
        ("evaluation.json", json.dumps(content, indent=1)),
        ("evaluation.md", text),
        ("report.html", _page(evaluation, notes)),
    ):
        with atomic_path(out / name, force=True) as partial:
            partial.write_text(written, encoding="utf-8")
    return text


def _command() -> str:
    return " ".join(["lacuna", *sys.argv[1:]])


def _explanation(evaluation: Evaluation, notes: Sequence[str]) -> list[str]:
    """How to read the tables, a paragraph each."""
    models = ", ".join(sorted({row.model for row in evaluation.rows if row.model}))
    return [
        "Means over files with 95 % intervals from resampled files. A rate is what the whole file "
        "takes, container included (bytes * 8 / seconds), and an asked rate is a ceiling for "
        "Lacuna and a target for the others.",
        "Mel distance as DAC defines it, and STFT distance with auraloss's defaults: lower is "
        "better, both at 44.1 kHz. SI-SDR says how well the waveform is followed, phases included; "
        "it is no measure of how a codec sounds that makes phases up. Band error: mean absolute "
        "level error of 24 bands. Frechet: distance of decoded and original files as sets of "
        "log-mel statistics, comparable within a class. Speeds are multiples of real time, start "
        "of programs included.",
        *([f"lacuna: {models}"] if models else []),
        *notes,
    ]


def _table(groups: Sequence[Group]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells, without columns that are empty throughout."""
    measures = [name for name in COLUMNS if any(name in group.means for group in groups)]
    head = ["class", "codec", "asked kbps", "kbps", "files", *(COLUMNS[m] for m in measures)]
    head += ["Frechet", "compress", "decompress"]
    cells = []
    for group in groups:
        means = group.means
        line = [group.kind, group.codec, f"{group.asked_kbps:g}", f"{means['kbps'].value:.2f}"]
        line.append(str(group.files))
        for name in measures:
            if name not in means:
                line.append("")
                continue
            value, low, high = means[name].value, means[name].low, means[name].high
            interval = f" ({low:.2f} to {high:.2f})" if name in WITH_INTERVAL else ""
            line.append(f"{value:.2f}{interval}")
        line.append(f"{group.distances[DISTANCE].frechet.value:.0f}" if group.distances else "")
        line += [f"{means[f'{way}_speed'].value:.0f}x" for way in ("compress", "decompress")]
        cells.append(line)
    return head, cells


def _markdown(evaluation: Evaluation, notes: Sequence[str]) -> str:
    head, cells = _table(evaluation.groups)
    lines = ["# Evaluation", "", f"Made by `{_command()}`.", ""]
    lines += [line for paragraph in _explanation(evaluation, notes) for line in (paragraph, "")]
    lines += [_bar(head), "|" + "---|" * len(head), *(_bar(line) for line in cells)]
    if evaluation.skipped:
        lines += ["", "Skipped:", "", *(f"- {reason}" for reason in evaluation.skipped)]
    return "\n".join(lines) + "\n"


def _bar(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


# ------------------------------------------------------------------------------------ the HTML page

STYLE = """
:root { color-scheme: light dark; --line: #8886; --back: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: 0.25rem 0.6rem; text-align: right; }
td { white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
tbody tr.lacuna { background: var(--back); font-weight: 600; }
.plots { display: flex; flex-wrap: wrap; }
svg { max-width: 100%; height: auto; }
.sounds { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: 0.5rem; }
figure img { width: 100%; height: 8rem; display: block; }
figure audio { width: 100%; margin-top: 0.4rem; }
figcaption { font-size: 0.85rem; margin-bottom: 0.3rem; }
"""

SCRIPT = """
document.addEventListener("play", event => {
  for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
}, true);
"""


def _page(evaluation: Evaluation, notes: Sequence[str]) -> str:
    plots = [_plot(evaluation.groups, name, label) for name, label in PLOTTED.items()]
    head, cells = _table(evaluation.groups)
    seconds = _seconds_that_fit(evaluation.examples)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><title>Lacuna: evaluation</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style></head><body>",
        f"<h1>Evaluation</h1><p>Made by <code>{escape(_command())}</code>.</p>",
        *(f"<p>{escape(paragraph)}</p>" for paragraph in _explanation(evaluation, notes)),
        '<h2>Rate and distortion</h2><div class="plots">',
        *plots,
        "</div>",
        "<h2>Classes</h2>",
        _html_table(head, cells),
        f"<h2>Listen and look</h2><p>{seconds:.1f} s from the middle of files. Spectrograms: mel "
        "bands upwards, time to the right, 90 dB below the original's loudest band.</p>",
        *(_example(example, seconds) for example in evaluation.examples),
        "<h2>Files</h2><details><summary>Every file</summary>",
        _files(evaluation.rows),
        "</details>",
    ]
    if evaluation.skipped:
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in evaluation.skipped)
        parts.append(f"<h2>Skipped</h2><ul>{reasons}</ul>")
    parts.append(f"<script>{SCRIPT}</script></body></html>\n")
    return "\n".join(parts)


def _plot(groups: Sequence[Group], measure: str, label: str) -> str:
    """The means of a measure over the rate; nothing where no file has it."""
    panels: dict[str, dict[str, list[tuple[float, float, float, float]]]] = {}
    for group in groups:
        if measure in group.means:
            mean = group.means[measure]
            curve = panels.setdefault(group.kind, {}).setdefault(group.codec, [])
            curve.append((group.means["kbps"].value, mean.value, mean.low, mean.high))
    return rate_distortion(panels, label) if panels else ""


def _html_table(head: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    lines = ['<div class="wide"><table><thead>', _html_row(head, "th"), "</thead><tbody>"]
    lines += [_html_row(line, "td") for line in cells]
    return "\n".join([*lines, "</tbody></table></div>"])


def _html_row(cells: Sequence[str], tag: str) -> str:
    ours = ' class="lacuna"' if "lacuna" in cells[:2] else ""
    return f"<tr{ours}>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _files(rows: Sequence[Row]) -> str:
    measures = [name for name in COLUMNS if any(getattr(row, name) is not None for row in rows)]
    head = ["file", "codec", "model", "channels", "seconds", "asked kbps", "kbps"]
    cells = []
    for row in rows:
        values = (getattr(row, name) for name in measures)
        cells.append(
            [
                *(row.file, row.codec, row.model, str(row.channels), f"{row.seconds:.1f}"),
                f"{row.asked_kbps:g}",
                f"{row.kbps:.2f}{' (finest)' if row.finest else ''}",
                *("" if value is None else f"{value:.2f}" for value in values),
            ]
        )
    return _html_table([*head, *(COLUMNS[name] for name in measures)], cells)


def _example(example: Example, seconds: float) -> str:
    original = middle(example.original, example.sample_rate, seconds)
    figures = [_figure("original", original, original, example.sample_rate)]
    for row, decoded in example.decoded:
        scores = [
            f"{COLUMNS[name]} {value:.2f}"
            for name in ("mel_distance", "visqol", "pesq", "estoi")
            if (value := getattr(row, name)) is not None
        ]
        title = ", ".join([f"{row.codec}, {row.kbps:.2f} kbps", *scores])
        decoded = middle(decoded, example.sample_rate, seconds)
        figures.append(_figure(title, decoded, original, example.sample_rate))
    return f'<h3>{escape(example.file)}</h3><div class="sounds">{"".join(figures)}</div>'


def _figure(title: str, sound: np.ndarray, original: np.ndarray, sample_rate: int) -> str:
    picture = _data_uri("image/png", spectrogram_png(sound, original, sample_rate))
    flac = _data_uri("audio/flac", _flac(sound, sample_rate))
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<img src="{picture}" alt="spectrogram: {escape(title)}">'
        f'<audio controls preload="metadata" src="{flac}"></audio></figure>\n'
    )


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _flac(sound: np.ndarray, sample_rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound.T.clip(-1, 1), sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _seconds_that_fit(examples: Sequence[Example]) -> float:
    """How much of each example keeps their sounds within SOUND_BYTES."""
    size = sum(
        len(_flac(sound, example.sample_rate))
        for example in examples
        for sound in (example.original, *(decoded for _, decoded in example.decoded))
    )
    return EXAMPLE_SECONDS * min(1.0, SOUND_BYTES / max(1, size))
