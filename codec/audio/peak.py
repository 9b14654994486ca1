"""Sound that was made has no level of its own: its peaks are limited, so that no file clips.

EBU R 128 asks for a true peak of at most -1 dBFS: that of the wave between the samples, as four
times as many of them show it (ITU-R BS.1770-4, annex 2). What is beyond is turned down by a gain
that looks ahead and moves slowly: the least that is wanted within 25 ms, smoothed over as much.

    peaks      ____|#|______________
    least      _______       _______    of 25 ms before and after
               ------|_______|------
    smoothed   ------\\_______/------    over 25 ms before and after: nowhere above what is wanted
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from codec.audio.resampling import resample
from codec.audio.waveform import FloatArray

MOST = 10 ** (-1 / 20)
REACH_SECONDS = 0.025
FRAME = 64
"""Samples, of which the peak is taken."""


def limited(waveform: FloatArray, sample_rate: int) -> tuple[FloatArray, float]:
    """(channels, time) with a true peak of at most -1 dBFS, and by how many dB it was turned down.

    The dB are those of its loudest moment. What is 50 ms and more from any peak stays as it is, and
    so does all of a sound that has room; all channels get the same gain.
    """
    peaks = true_peaks(waveform)
    if peaks.max(initial=0.0) <= MOST:
        return waveform, 0.0
    wanted = MOST / np.maximum(peaks, MOST)
    reach = max(1, round(REACH_SECONDS * sample_rate / FRAME))
    # A frame more, since samples lie between the middles of two frames.
    around = np.pad(wanted, 2 * reach + 1, mode="edge")
    least = sliding_window_view(around, 2 * (reach + 1) + 1).min(axis=1)
    weights = np.hanning(2 * reach + 3)[1:-1]
    frames = np.convolve(least, weights / weights.sum(), mode="valid")
    middles = FRAME * (np.arange(len(frames)) + 0.5) - 0.5
    gain = np.interp(np.arange(waveform.shape[1]), middles, frames).astype(np.float32)
    return waveform * gain, float(-20 * np.log10(frames.min()))


def true_peaks(waveform: FloatArray) -> NDArray[np.floating]:
    """The largest magnitude of every FRAME samples of (channels, time), and of what is between."""
    between = resample(waveform, 1_000, 4_000)  # only the ratio counts
    return np.maximum(_loudest(waveform, FRAME), _loudest(between, 4 * FRAME))


def _loudest(waveform: FloatArray, size: int) -> NDArray[np.floating]:
    """The largest magnitude of every ``size`` samples."""
    loudest = np.abs(waveform).max(axis=0, initial=0.0)
    return np.pad(loudest, (0, -len(loudest) % size)).reshape(-1, size).max(axis=1)
