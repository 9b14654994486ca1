"""A sound and its pictures as files that a page loads.

NAME.flac (or another suffix)    the sound
NAME-partials.png                0 to 6 kHz, window of 93 ms
NAME-full.png                    the full band
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from codec import audio
from codec.metrics.pictures import PARTIALS_HZ, spectrogram_png

PARTIALS, FULL_BAND = "-partials.png", "-full.png"


def write_pictures(stem: str, sound: np.ndarray, original: np.ndarray, sample_rate: int) -> None:
    """Both spectrograms of (channels, time); colors refer to ``original``.

    Raises:
        OSError: they could not be written.
    """
    for ending, top_hz in ((PARTIALS, PARTIALS_HZ), (FULL_BAND, None)):
        Path(stem + ending).write_bytes(spectrogram_png(sound, original, sample_rate, top_hz))


def write_sound(
    stem: str, suffix: str, sound: np.ndarray, original: np.ndarray, sample_rate: int
) -> None:
    """The sound, 16 bits, and its pictures.

    Raises:
        AudioError, LacunaError, OSError: the format cannot hold it, or it could not be written.
    """
    audio.write(stem + suffix, sound, sample_rate, force=True)
    write_pictures(stem, sound, original, sample_rate)
