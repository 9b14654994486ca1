"""Recordings whose class is known because they are made of it: tones, noise, clicks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 44100
CLASSES = ("tones", "noise", "clicks")
OTHERS = "others"
"""The folder of what has no label."""


def sound(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Half a second of a class at a random pitch, slope, decay and level, over a little noise."""
    count = SAMPLE_RATE // 2
    time = np.arange(count) / SAMPLE_RATE
    if kind == "tones":
        pitch, phase = rng.uniform(150, 2000), rng.uniform(0, 6)
        made = sum(np.sin(2 * np.pi * pitch * k * time + phase * k) / k for k in (1, 2, 3))
    elif kind == "noise":
        spectrum = np.fft.rfft(rng.standard_normal(count))
        slope = (np.arange(len(spectrum)) + 20.0) ** -rng.uniform(0, 1)
        made = np.fft.irfft(spectrum * slope, count)
    else:
        made = np.zeros(count)
        decay = np.exp(-np.arange(400) / rng.uniform(20, 100))
        for start in rng.integers(0, count - 400, rng.integers(3, 8)):
            made[start : start + 400] += rng.standard_normal(400) * decay
    level = 10 ** (rng.uniform(-20, 0) / 20)
    return 0.5 * level * made / np.abs(made).max() + 1e-4 * rng.standard_normal(count)


def write_folder(
    root: Path, labelled: int, unlabelled: int, seed: int, *, rotated: bool = False
) -> Path:
    """Files of every class in a folder of its name, and others of every class in OTHERS.

    ``rotated`` is the control: every folder has as many files of each class, so that its name says
    nothing.
    """
    rng = np.random.default_rng(seed)
    for number, kind in enumerate(CLASSES):
        for i in range(labelled + unlabelled):
            name = CLASSES[(number + i) % 3] if rotated else kind
            folder = root / (name if i < labelled else OTHERS)
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"{kind}{i}.wav", sound(kind, rng), SAMPLE_RATE)
    return root
