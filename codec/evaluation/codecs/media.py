"""What a report lets people hear and see, written beside its page as each clip is done.

OUT/media/0003-music-song/0005-opus-at-12-kbps.flac            the sound
                          0005-opus-at-12-kbps-partials.png    0 to 6 kHz, window of 93 ms
                          0005-opus-at-12-kbps-full.png        the full band
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import numpy as np

from codec.player.media import write_sound

FOLDER = "media"
SOUND = ".flac"
LONGEST_SLUG = 60


def write_media(
    out: Path,
    clip: tuple[int, str],
    system: tuple[int, str],
    sounds: tuple[np.ndarray, np.ndarray],
    sample_rate: int,
) -> str:
    """Write a decoded sound as 16-bit FLAC, and its spectrograms, below ``out``.

    Args:
        clip: its number and its name, which comes from a file and may be anything.
        system: number and name of the codec or control.
        sounds: decoded and original, (channels, time) each; colors refer to the original.

    Returns:
        The path relative to ``out`` that all three share (codec/player/media.py): ASCII letters,
        digits, "-" and "/".

    Raises:
        AudioError, LacunaError, OSError: FLAC cannot hold it, or it could not be written.
    """
    name = "/".join([FOLDER, *(f"{number:04d}-{slug(text)}" for number, text in (clip, system))])
    stem = str(out / name)
    decoded, original = sounds
    Path(stem).parent.mkdir(parents=True, exist_ok=True)
    write_sound(stem, SOUND, decoded, original, sample_rate)
    return name


def slug(text: str) -> str:
    """Letters and digits of ASCII with single hyphens between; empty where there are none."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", ascii_text)[:LONGEST_SLUG].strip("-")
