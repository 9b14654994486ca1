"""Do clean tones keep their level, and do beeps stay within bounds?

    python tools/tones.py 1,1.5,3,6

codes sines of -6 dB full scale, from 60 Hz to 14 kHz, and beeps of 0.4 at 3.1 kHz with digital
silence between them, at each rate in kbps with the shipped codec, and prints how far the level of
each tone is off in dB, and the beeps' peak.
"""

from __future__ import annotations

import cyclopts
import numpy as np

import codec

RATE, SECONDS = 44100, 6
FREQUENCIES = (60, 110, 220, 440, 1000, 3100, 5000, 8000, 14000)
TIME = np.arange(RATE * SECONDS) / RATE


def tone(hz: float) -> np.ndarray:
    """(1, time), computed in float64 and rounded once."""
    return np.float32(0.5 * np.sin(2 * np.pi * hz * TIME))[None]


def beeps() -> np.ndarray:
    """(1, time): a quarter of a second on, a quarter off."""
    return np.float32(0.4 * np.sin(2 * np.pi * 3100 * TIME) * (TIME % 0.5 < 0.25))[None]


def level_off(decoded: np.ndarray, original: np.ndarray, hz: float) -> float:
    """How much louder the tone is, in dB, without its first and last second."""
    middle = slice(RATE, -RATE)
    wave = np.exp(-2j * np.pi * hz * TIME[middle]) * np.hanning(len(TIME[middle]))
    levels = [abs((x[0, middle] * wave).sum()) for x in (decoded, original)]
    return float(20 * np.log10(levels[0] / levels[1]))


def coded(sound: np.ndarray, kbps: float) -> np.ndarray:
    """There and back."""
    return np.asarray(codec.decompress(codec.compress(sound, RATE, kbps=kbps))[0])


def main(rates: str, /) -> None:
    """A table for some rates, with commas between them."""
    print("| kbps | " + " | ".join(f"{hz} Hz" for hz in FREQUENCIES) + " | peak of beeps |")
    print("|---|" + "---|" * (len(FREQUENCIES) + 1))
    for kbps in map(float, rates.split(",")):
        off = [level_off(coded(tone(hz), kbps), tone(hz), hz) for hz in FREQUENCIES]
        peak = np.abs(coded(beeps(), kbps)).max()
        print(f"| {kbps:g} | " + " | ".join(f"{x:+.1f}" for x in off) + f" | {peak:.2f} |")


if __name__ == "__main__":
    cyclopts.run(main)
