"""The player as HTML: sounds beside each other, to switch between at one position.

Without its script the page still shows all pictures, each with a player of the browser's own. With
it (player.js), ``<lacuna-player>`` plays all of its sounds in step and lets one through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from codec.player.media import FULL_BAND, PARTIALS


@dataclass(frozen=True)
class Track:
    """One sound of a player."""

    caption: str
    """What it is, in plain text."""
    media: str
    """Where its files lie, without their endings (media.py)."""
    suffix: str
    """Suffix of the sound's file."""
    gain_db: float = 0.0
    """What matches its level to that of the others, at most 0."""
    below: str = ""
    """HTML to stand below it."""


SCRIPTS = ("blind_test.js", "engines.js", "player.js")


@cache
def style() -> str:
    """CSS of all players on a page, to be put there once."""
    return (Path(__file__).parent / "player.css").read_text(encoding="utf-8")


@cache
def script() -> str:
    """JavaScript of all players on a page, to be put there once."""
    parts = [(Path(__file__).parent / name).read_text(encoding="utf-8") for name in SCRIPTS]
    return "\n".join(['(() => {\n"use strict";', *parts, "})();\n"])


def player(tracks: Sequence[Track], *, ready: bool = False) -> str:
    """A player of these sounds, the first of which is what the others are compared with.

    Args:
        ready: load the sounds at once, and not when they are first played.
    """
    figures = "".join(_figure(track) for track in tracks)
    return f'<lacuna-player{" ready" * ready}><div class="sounds">{figures}</div></lacuna-player>\n'


def _figure(track: Track) -> str:
    caption, media = escape(track.caption), escape(track.media)
    pictures = "".join(
        f'<img loading="lazy" src="{media}{ending}" alt="spectrogram {what}: {caption}">'
        for what, ending in (("of partials", PARTIALS), ("of the full band", FULL_BAND))
    )
    sound = f'<audio controls preload="none" src="{media}{escape(track.suffix)}"></audio>'
    return (
        f'<figure data-gain="{track.gain_db:.2f}"><figcaption>{caption}</figcaption>'
        f'<div class="pictures">{pictures}</div>{sound}{track.below}</figure>\n'
    )
