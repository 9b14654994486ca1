"""Sound that was made has no level of its own: it is turned down where it would clip.

EBU R 128 asks for a true peak of at most -1 dBFS. The true peak is that of the wave between the
samples, as four times as many of them show it (ITU-R BS.1770-4, annex 2).
"""

from __future__ import annotations

import numpy as np

from codec.audio.resampling import resample
from codec.audio.waveform import FloatArray

MOST = 10 ** (-1 / 20)


def true_peak(waveform: FloatArray) -> float:
    """The largest magnitude of (channels, time), between samples as well."""
    between = resample(waveform, 1_000, 4_000)  # only the ratio counts
    return max(float(np.abs(x).max(initial=0.0)) for x in (waveform, between))


def turned_down(waveform: FloatArray) -> tuple[FloatArray, float]:
    """(channels, time) with a true peak of at most -1 dBFS, and by how many dB it was turned down.

    One gain for all of it, so that nothing is distorted; 0 dB where there is room already.
    """
    peak = true_peak(waveform)
    if peak <= MOST:
        return waveform, 0.0
    return waveform * np.float32(MOST / peak), float(20 * np.log10(peak / MOST))
