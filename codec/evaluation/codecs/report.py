"""What is written about an evaluation: CSV, JSON, Markdown, and a page of HTML (page.py)."""

from __future__ import annotations

import csv
import json
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from codec.evaluation.codecs.evaluate import Evaluation
from codec.evaluation.codecs.measures import ALL
from codec.evaluation.codecs.page import page
from codec.evaluation.codecs.tables import Table, speeds, summary, tables_of_class
from codec.files import atomic_path

LINE = 100
"""Characters of a line of Markdown text."""


def write_report(evaluation: Evaluation, notes: Sequence[str], out: Path) -> str:
    """Write evaluation.csv, .json and .md and report.html to ``out``; returns the Markdown.

    Args:
        notes: what to say of programs, packages and settings, a sentence each.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = [asdict(row) for row in evaluation.rows]
    flat = [{**row, **row.pop("values")} for row in (dict(row) for row in rows)]
    with (
        atomic_path(out / "evaluation.csv", force=True) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        facts = [name for name in flat[0] if name not in ALL]
        writer = csv.DictWriter(file, fieldnames=[*facts, *ALL], restval="")
        writer.writeheader()
        writer.writerows(flat)
    content = {
        "command": command(),
        "notes": list(notes),
        "skipped": evaluation.skipped,
        "cut": evaluation.cut,
        "blind": list(evaluation.blind.values()),
        "groups": [asdict(group) for group in evaluation.groups],
        "comparisons": [{**asdict(c), "verdict": c.verdict} for c in evaluation.comparisons],
        "rows": rows,
    }
    text = _markdown(evaluation, notes)
    explained = explanation(evaluation, notes)
    for name, written in (
        ("evaluation.json", json.dumps(content, indent=1)),
        ("evaluation.md", text),
        ("report.html", page(evaluation, command(), explained)),
    ):
        with atomic_path(out / name, force=True) as partial:
            partial.write_text(written, encoding="utf-8")
    return text


def command() -> str:
    """What was typed."""
    return " ".join(["lacuna", *sys.argv[1:]])


def explanation(evaluation: Evaluation, notes: Sequence[str]) -> list[str]:
    """How to read the tables, a paragraph each."""
    models = ", ".join(sorted({row.model for row in evaluation.rows if row.model}))
    return [
        "Beside the codecs stand the original and two controls, white noise and a comb of lines "
        "every 43 Hz, both brought to the original's levels in 32 bands every 23 ms. A measure of "
        "quality that puts one of them above Opus at 12 kbps is marked as blind. "
        "What each measure is, and what it cannot hear: docs/EVALUATION.md.",
        *([f"lacuna: {models}"] if models else []),
        *notes,
    ]


def _markdown(evaluation: Evaluation, notes: Sequence[str]) -> str:
    lines = ["# Evaluation", "", f"Made by `{command()}`.", ""]
    for paragraph in explanation(evaluation, notes):
        lines += [*_wrapped(paragraph), ""]
    if evaluation.comparisons:
        lines += _markdown_table(summary(evaluation), level=2)
    for kind in dict.fromkeys(group.kind for group in evaluation.groups):
        lines += [f"## Class {kind}", ""]
        for table in tables_of_class(evaluation, kind):
            lines += _markdown_table(table)
    lines += _markdown_table(speeds(evaluation), level=2)
    for title, reasons in (("Skipped", evaluation.skipped), ("Cut", evaluation.cut)):
        if reasons:
            lines += [f"## {title}", "", *(f"- {reason}" for reason in reasons), ""]
    return "\n".join(lines[:-1]) + "\n"


def _markdown_table(table: Table, level: int = 3) -> list[str]:
    lines = [
        f"{'#' * level} {table.title}",
        "",
        *([*_wrapped(table.text), ""] if table.text else []),
    ]
    lines += [_bar(table.head), "|" + "---|" * len(table.head)]
    return [*lines, *(_bar(line) for line in table.cells), ""]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, LINE, break_long_words=False, break_on_hyphens=False)


def _bar(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
