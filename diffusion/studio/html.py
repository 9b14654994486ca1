"""What results look like on the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
lacuna-player { --paper: var(--body-background-fill); }
lacuna-player .sounds { grid-auto-columns: minmax(12rem, 1fr); }
lacuna-player figure img { height: 9rem; }
lacuna-player figure img + img { height: 6rem; }
lacuna-player figcaption { height: auto; min-height: 1.5em; }
lacuna-player figure p { margin: 0.3rem 0 0; font-size: 0.9rem; }
.facts { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0.5rem 0; }
.facts :is(th, td) { padding: 0.2rem 0.7rem !important; text-align: right !important; }
.facts :is(th, td) { border: 0 !important; border-bottom: 1px solid #8886 !important; }
.facts :is(th, td):first-child { text-align: left !important; white-space: nowrap; }
.command code { user-select: all; white-space: pre-wrap; }
.note, .wrong { margin: 0.3rem 0; }
.wrong { color: #d55e00; font-weight: 600; }
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Iterable[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<table class="facts"><thead>{line(head, "th")}</thead><tbody>{body}</tbody></table>'


def command_line(*lines: str) -> str:
    """What makes the same in a terminal."""
    code = "\n".join(lines)
    return f'<p class="command">The same in a terminal: <code>{escape(code)}</code></p>'


def notes(texts: Iterable[str]) -> str:
    return "".join(f'<p class="note">{escape(text)}</p>' for text in texts)


def wrong(text: str) -> str:
    return f'<p class="wrong">{escape(text)}</p>'


def save_link(name: str, url: str) -> str:
    """A link that saves a file under this name."""
    return f'<p><a href="{escape(url)}" download="{escape(name)}">Save {escape(name)}</a></p>'
