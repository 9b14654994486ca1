"""One page of HTML about an evaluation: tables, plots, spectrograms, sounds.

It holds all that it shows: plots as SVG, spectrograms as PNG, sounds as FLAC, which browsers play.
It needs no network and no other file.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
import soundfile

from codec.evaluation.codecs.controls import CONTROLS
from codec.evaluation.codecs.evaluate import (
    EXAMPLE_SECONDS,
    Evaluation,
    Example,
    Row,
    name_of,
)
from codec.evaluation.codecs.measures import QUALITY
from codec.evaluation.codecs.perceptual import middle
from codec.evaluation.codecs.tables import BLIND, Table, speeds, summary, tables_of_class
from codec.metrics.pictures import PARTIALS_HZ, Curve, rate_distortion, spectrogram_png

SOUND_BYTES = 24_000_000
"""Of all FLAC files in a page; base64 makes 4 characters of 3 bytes."""
CAPTIONED = ("tonal_recall", "zimtohrli", "pesq")

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
figure img { width: 100%; height: 13rem; display: block; margin-top: 0.3rem; }
figure img + img { height: 8rem; }
figure audio { width: 100%; margin-top: 0.4rem; }
figcaption { font-size: 0.85rem; margin-bottom: 0.3rem; }
"""

SCRIPT = """
document.addEventListener("play", event => {
  for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
}, true);
"""


def page(evaluation: Evaluation, command: str, explanation: Sequence[str]) -> str:
    """The page; ``explanation`` is how to read the tables, a paragraph each."""
    seconds = _seconds_that_fit(evaluation.examples)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><title>Lacuna: evaluation</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style></head><body>",
        f"<h1>Evaluation</h1><p>Made by <code>{escape(command)}</code>.</p>",
        *(f"<p>{escape(paragraph)}</p>" for paragraph in explanation),
        f"<h2>Listen and look</h2><p>{seconds:.1f} s from the middle of files. Above, 0 to "
        f"{PARTIALS_HZ / 1000:g} kHz with a window of 93 ms, where missing partials are plain to "
        f"see; below, the full band.</p>",
        *(_example(example, seconds) for example in evaluation.examples),
    ]
    if evaluation.comparisons:
        parts.append(_html_table(summary(evaluation)))
    for kind in dict.fromkeys(group.kind for group in evaluation.groups):
        parts.append(f"<h2>Class {escape(kind)}</h2>")
        parts += [_html_table(table) for table in tables_of_class(evaluation, kind)]
    parts.append(_html_table(speeds(evaluation)))
    parts.append('<h2>Quality over rate</h2><p>Dashed: the controls.</p><div class="plots">')
    parts += [_plot(evaluation, name) for name in QUALITY]
    parts.append("</div><h2>Files</h2><details><summary>Every file</summary>")
    parts += [_html_table(_files(evaluation.rows)), "</details>"]
    for title, reasons in (("Skipped", evaluation.skipped), ("Cut", evaluation.cut)):
        if reasons:
            lines = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
            parts.append(f"<h2>{title}</h2><ul>{lines}</ul>")
    parts.append(f"<script>{SCRIPT}</script></body></html>\n")
    return "\n".join(parts)


def _plot(evaluation: Evaluation, name: str) -> str:
    """The means of a measure over the rate; nothing where no file has it."""
    panels: dict[str, dict[str, list[tuple[float, float, float, float]]]] = {}
    controls: dict[str, list[float]] = {}
    for group in evaluation.groups:
        if name not in group.means:
            continue
        value = group.means[name]
        title = group.kind + (BLIND if (group.kind, name) in evaluation.blind else "")
        if group.kbps is not None:
            reach = group.intervals.get(name)
            low, high = (reach.low, reach.high) if reach else (value, value)
            curve = panels.setdefault(title, {}).setdefault(group.codec, [])
            curve.append((group.kbps, value, low, high))
        elif group.codec in CONTROLS:
            controls.setdefault(title, []).append(value)
    if not panels:
        return ""
    curves: dict[str, dict[str, Curve]] = {title: {**panel} for title, panel in panels.items()}
    measure = QUALITY[name]
    return rate_distortion(curves, f"{measure.label} ({measure.better} is better)", controls)


def _html_table(table: Table) -> str:
    lines = [f"<h3>{escape(table.title)}</h3>"]
    lines += [f"<p>{escape(table.text)}</p>"] if table.text else []
    lines += ['<div class="wide"><table><thead>', _html_row(table.head, "th"), "</thead><tbody>"]
    lines += [_html_row(line, "td") for line in table.cells]
    return "\n".join([*lines, "</tbody></table></div>"])


def _html_row(cells: Iterable[str], tag: str) -> str:
    cells = list(cells)
    own = ' class="lacuna"' if any(cell.startswith("lacuna") for cell in cells[:2]) else ""
    return f"<tr{own}>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _files(rows: Sequence[Row]) -> Table:
    measures = [name for name in QUALITY if any(name in row.values for row in rows)]
    head = ["file", "codec", "model", "channels", "seconds", "kbps"]
    cells = [
        [
            *(row.file, name_of(row.codec, row.asked_kbps), row.model, str(row.channels)),
            f"{row.seconds:.1f}",
            "" if row.kbps is None else f"{row.kbps:.2f}{' (finest)' if row.finest else ''}",
            *(f"{row.values[name]:.2f}" if name in row.values else "" for name in measures),
        ]
        for row in rows
    ]
    return Table("", "", [*head, *(QUALITY[name].label for name in measures)], cells)


def _example(example: Example, seconds: float) -> str:
    original = middle(example.original, example.sample_rate, seconds)
    figures = []
    for row, decoded in example.decoded:
        scores = [
            f"{QUALITY[name].label} {row.values[name]:.2f}"
            for name in CAPTIONED
            if name in row.values and row.codec != "original"
        ]
        rate = [] if row.kbps is None else [f"{row.kbps:.2f} kbps"]
        decoded = middle(decoded, example.sample_rate, seconds)
        title = ", ".join([row.codec, *rate, *scores])
        figures.append(_figure(title, decoded, original, example.sample_rate))
    return f'<h3>{escape(example.file)}</h3><div class="sounds">{"".join(figures)}</div>'


def _figure(title: str, sound: np.ndarray, original: np.ndarray, sample_rate: int) -> str:
    pictures = [
        f'<img src="{_data_uri("image/png", png)}" alt="spectrogram {what}: {escape(title)}">'
        for what, png in (
            ("of partials", spectrogram_png(sound, original, sample_rate, PARTIALS_HZ)),
            ("of the full band", spectrogram_png(sound, original, sample_rate)),
        )
    ]
    flac = _data_uri("audio/flac", _flac(sound, sample_rate))
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>{''.join(pictures)}"
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
        for _, sound in example.decoded
    )
    return EXAMPLE_SECONDS * min(1.0, SOUND_BYTES / max(1, size))
