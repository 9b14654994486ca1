"""Sounds that recordings seldom hold and users bring: hard cuts, silence, beeps, sweeps, noise.

A network that never saw them does not interpolate: a map trained on recordings alone was 25 dB too
loud where a sound was cut hard, and beeps of 0.4 came back at 15 (docs/LESSONS.md).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]
Rng = np.random.Generator

LOWEST_HZ = 40.0
CUT_SHARE = 0.75
"""Share of the changed items that are recordings cut hard. The others are synthetic."""
KEPT_CUT = 0.3
"""Share of the synthetic ones that are cut as well."""


def make_rare(recording: NDArray[np.float32], sample_rate: int, rng: Rng) -> NDArray[np.float32]:
    """A recording (channels, time) cut hard, or something synthetic in all of its channels."""
    if rng.random() < CUT_SHARE:
        return cut_hard(recording, rng)
    kinds: list[Callable[[int, int, Rng], Samples]] = [tones, sweep, beeps, noise, clicks]
    make = kinds[rng.integers(len(kinds))]
    sound = make(recording.shape[-1], sample_rate, rng).astype(np.float32)
    sound = cut_hard(sound, rng) if rng.random() < KEPT_CUT else sound
    return np.broadcast_to(sound, recording.shape).copy()


def cut_hard(sound: NDArray[np.float32], rng: Rng) -> NDArray[np.float32]:
    """Digital silence before a place, after one, between two, or around what lies between."""
    time = sound.shape[-1]
    first, second = np.sort(rng.integers(0, time + 1, 2))
    silent = np.zeros(time, bool)
    kind = rng.integers(4)
    silent[:first] = kind in (0, 3)
    silent[first:second] = kind == 2
    silent[second:] = kind in (1, 3)
    return np.where(silent, np.float32(0), sound)


def tones(time: int, sample_rate: int, rng: Rng) -> Samples:
    """One to four steady sines."""
    seconds = np.arange(time) / sample_rate
    total = np.zeros(time)
    for _ in range(rng.integers(1, 5)):
        phase = 2 * np.pi * (_hz(rng, sample_rate) * seconds + rng.random())
        total += rng.uniform(0.02, 0.25) * np.sin(phase)
    return total


def sweep(time: int, sample_rate: int, rng: Rng) -> Samples:
    """A sine that rises or falls in equal ratios."""
    hz = np.geomspace(_hz(rng, sample_rate), _hz(rng, sample_rate), time)
    return rng.uniform(0.05, 0.6) * np.sin(2 * np.pi * np.cumsum(hz) / sample_rate)


def beeps(time: int, sample_rate: int, rng: Rng) -> Samples:
    """A sine that is switched on and off."""
    seconds = np.arange(time) / sample_rate
    period = rng.uniform(0.05, 0.6)
    on = (seconds + rng.uniform(0, period)) % period < period * rng.uniform(0.2, 0.8)
    return rng.uniform(0.05, 0.6) * np.sin(2 * np.pi * _hz(rng, sample_rate) * seconds) * on


def noise(time: int, sample_rate: int, rng: Rng) -> Samples:
    """Gaussian noise from white to brown, and two fifths of the time of a band alone."""
    spectrum = np.fft.rfft(rng.standard_normal(time))
    hz = np.fft.rfftfreq(time, 1 / sample_rate) + 20
    spectrum *= hz ** rng.uniform(-1, 0.3)
    if rng.random() < 0.4:
        low = _hz(rng, sample_rate) / 2
        spectrum[(hz < low) | (hz > low * 2 ** rng.uniform(0.5, 4))] = 0
    sound = np.fft.irfft(spectrum, time)
    return sound / (sound.std() + 1e-9) * 10 ** rng.uniform(-2.3, -0.7)


def clicks(time: int, sample_rate: int, rng: Rng) -> Samples:
    """One to twelve single samples in next to nothing."""
    sound = rng.uniform(0, 1e-4) * rng.standard_normal(time)
    places = rng.integers(0, time, rng.integers(1, 13))
    sound[places] += rng.uniform(-0.8, 0.8, len(places))
    return sound


def _hz(rng: Rng, sample_rate: int) -> float:
    """A frequency, octaves alike, up to nine tenths of the Nyquist frequency."""
    return float(LOWEST_HZ * (0.45 * sample_rate / LOWEST_HZ) ** rng.random())
