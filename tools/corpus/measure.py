"""What one decoded recording is: length, level, bandwidth, and marks to know it again by.

Bandwidth is the highest 200 Hz band whose 95th-percentile level is above -90 dB once the peak is
at full scale. The fingerprint is that of Haitsma and Kalker (2002), "A highly robust audio
fingerprinting system": 32 bits a frame, each the sign of the difference of neighboring bands'
energies (300 to 2000 Hz) between neighboring frames. Copies of other bit rates share most bits.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

FINGERPRINT_RATE = 5512.5  # Hz
WINDOW, HOP = 2048, 256  # samples at that rate: 0.37 s, 46 ms
WORDS_PER_SECOND = FINGERPRINT_RATE / HOP
MIN_FINGERPRINTED = 5.0  # seconds; shorter clips are told apart by their samples alone
_FRAME = 2048  # samples of a frame for the bandwidth
_LOOKS = 400  # such frames at most, evenly spread


@dataclass(frozen=True)
class Measured:
    """One recording: seconds, Hz, channels, peak (1.0 is full scale), what its tags say."""

    seconds: float
    sample_rate: int
    channels: int
    peak: float
    bandwidth_hz: int
    digest: str  # of the decoded samples
    words: str  # the fingerprint, hexadecimal, 8 digits a frame
    artist: str
    licence: str

    def fingerprint(self) -> NDArray[np.uint32]:
        """(frames,) words of 32 bits."""
        return np.frombuffer(bytes.fromhex(self.words), ">u4").astype(np.uint32)


def measure(path: Path) -> Measured:
    """Decode `path` once; raises soundfile.LibsndfileError for what is not audio."""
    with soundfile.SoundFile(path) as file:
        rate, artist, licence = file.samplerate, file.artist, file.license
        samples = file.read(dtype="float32", always_2d=True)
    digest = hashlib.blake2b(samples, digest_size=16, key=f"{rate} {samples.shape[1]}".encode())
    mono = samples @ np.full(samples.shape[1], 1 / samples.shape[1], np.float32)
    seconds = len(samples) / rate
    return Measured(
        round(seconds, 3),
        rate,
        samples.shape[1],
        round(float(max(samples.max(initial=0), -samples.min(initial=0))), 5),
        bandwidth(mono, rate),
        digest.hexdigest(),
        fingerprint(mono, rate).astype(">u4").tobytes().hex()
        if seconds >= MIN_FINGERPRINTED
        else "",
        artist,
        licence,
    )


def bandwidth(mono: NDArray[np.float32], rate: int) -> int:
    """Hz up to which `mono` (time,) has sound; 0 for silence."""
    peak = float(np.abs(mono).max(initial=0))
    if peak == 0:
        return 0
    padded = np.pad(mono, (0, max(0, _FRAME - len(mono)))) / peak
    places = np.unique(np.linspace(0, len(padded) - _FRAME, _LOOKS).astype(int))
    frames = padded[places[:, None] + np.arange(_FRAME)]
    window = np.hanning(_FRAME).astype(np.float32)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2 / (window.sum() / 2) ** 2
    width = 200 * _FRAME / rate  # bins of a band
    edges = np.arange(0, _FRAME // 2 + 1 - width / 2, width).astype(int)
    bands = np.add.reduceat(power, edges, axis=1)
    level = 10 * np.log10(np.percentile(bands, 95, axis=0) + 1e-20)
    heard = np.flatnonzero(level > -90)
    return min(rate // 2, 200 * (int(heard[-1]) + 1)) if len(heard) else 0


def fingerprint(mono: NDArray[np.float32], rate: int) -> NDArray[np.uint32]:
    """(frames,) words of `mono` (time,); frames of digital silence get the word 0."""
    low = soxr.resample(mono, rate, FINGERPRINT_RATE, quality="LQ")
    if len(low) < WINDOW + HOP:
        return np.zeros(0, np.uint32)
    frames = np.lib.stride_tricks.sliding_window_view(low, WINDOW)[::HOP]
    window = np.hanning(WINDOW).astype(np.float32)
    edges = (np.geomspace(300, 2000, 34) * WINDOW / FINGERPRINT_RATE).astype(int)
    energy = np.concatenate(
        [
            np.add.reduceat(
                np.abs(np.fft.rfft(frames[start : start + 1024] * window, axis=1)) ** 2,
                edges,
                axis=1,
            )[:, :33]
            for start in range(0, len(frames), 1024)
        ]
    )
    steps = np.diff(energy, axis=1)
    bits = np.diff(steps, axis=0) > 0
    words = bits @ (np.uint32(1) << np.arange(32, dtype=np.uint32))
    words[energy[1:].sum(axis=1) < 1e-6] = 0
    return words.astype(np.uint32)
