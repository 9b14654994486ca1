"""One page of HTML about an evaluation: tables, plots, spectrograms, sounds.

Spectrograms (PNG) and sounds (FLAC) lie beside it (media.py) and are loaded when they come into
view or are played. The folder needs no network and may be moved as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

from codec.evaluation.codecs.controls import CONTROLS
from codec.evaluation.codecs.evaluate import Evaluation, Row, name_of
from codec.evaluation.codecs.measures import QUALITY
from codec.evaluation.codecs.media import SOUND
from codec.evaluation.codecs.tables import BLIND, Table, speeds, summary, tables_of_class
from codec.metrics.loudness import matching_gains
from codec.metrics.pictures import PARTIALS_HZ, Curve, rate_distortion
from codec.player import html as player

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
lacuna-player .sounds { grid-auto-columns: 17rem; }
"""


def page(evaluation: Evaluation, command: str, explanation: Sequence[str]) -> str:
    """The page; ``explanation`` is how to read the tables, a paragraph each."""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><title>Lacuna: evaluation</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{player.style()}{STYLE}</style></head><body>",
        f"<h1>Evaluation</h1><p>Made by <code>{escape(command)}</code>.</p>",
        *(f"<p>{escape(paragraph)}</p>" for paragraph in explanation),
        '<p><a href="#clips">Listen and look</a></p>',
    ]
    if evaluation.comparisons:
        parts.append(_html_table(summary(evaluation)))
    for kind in dict.fromkeys(group.kind for group in evaluation.groups):
        parts.append(f"<h2>Class {escape(kind)}</h2>")
        parts += [_html_table(table) for table in tables_of_class(evaluation, kind)]
    parts.append(_html_table(speeds(evaluation)))
    parts.append('<h2>Quality over rate</h2><p>Dashed: the controls.</p><div class="plots">')
    parts += [_plot(evaluation, name) for name in QUALITY]
    parts.append(
        '</div><h2 id="clips">Listen and look</h2><p>What was judged of each file. Above, 0 to '
        f"{PARTIALS_HZ / 1000:g} kHz with a window of 93 ms, where missing partials are plain to "
        f"see; below, the full band. All sounds of a clip play in step: switch between them by "
        f"their numbers or with a click on a picture, which also goes to that place.</p>"
    )
    for file, rows in groupby(evaluation.rows, key=lambda row: row.file):
        heard = sorted((row for row in rows if row.media), key=_place)
        parts += [f"<h3>{escape(file)}</h3>", player.player(_tracks(heard)) if heard else ""]
    parts.append("<h2>Files</h2><details><summary>Every file</summary>")
    parts += [_html_table(_files(evaluation.rows)), "</details>"]
    for title, reasons in (("Skipped", evaluation.skipped), ("Cut", evaluation.cut)):
        if reasons:
            lines = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
            parts.append(f"<h2>{title}</h2><ul>{lines}</ul>")
    parts.append(f"<script>{player.script()}</script></body></html>\n")
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


def _place(row: Row) -> int:
    """Where a sound stands on the page: the original, Lacuna, the other codecs, the controls."""
    if row.codec in CONTROLS:
        return 3
    return {"original": 0, "lacuna": 1}.get(row.codec, 2)


def _tracks(rows: Sequence[Row]) -> list[player.Track]:
    gains = matching_gains([row.loudness for row in rows])
    return [
        player.Track(_caption(row), row.media, SOUND, gain)
        for row, gain in zip(rows, gains, strict=True)
    ]


def _caption(row: Row) -> str:
    scores = [
        f"{QUALITY[name].label} {row.values[name]:.2f}"
        for name in CAPTIONED
        if name in row.values and row.codec != "original"
    ]
    rate = [] if row.kbps is None else [f"{row.kbps:.2f} kbps"]
    return ", ".join([row.codec, *rate, *scores])
