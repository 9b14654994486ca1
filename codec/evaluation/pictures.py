"""Pictures of sound."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure

DYNAMIC_RANGE = 90  # dB below the original's loudest bin


def spectrogram_pair(original: np.ndarray, decoded: np.ndarray, sample_rate: int) -> Figure:
    """Spectrograms of the first channel of two (channels, time) signals, one above the other."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True)
    top = 0.0
    window = min(2048, original.shape[-1] // 2)
    for axis, sound, title in zip(axes, (original, decoded), ("original", "decoded"), strict=True):
        _, _, _, image = axis.specgram(
            sound[0] + 1e-9,
            NFFT=window,
            noverlap=window * 3 // 4,
            Fs=sample_rate,
            cmap=matplotlib.colormaps["magma"],
        )
        if title == "original":
            top = float(image.get_array().max())
        image.set_clim(top - DYNAMIC_RANGE, top)
        axis.set(title=title, ylabel="frequency (Hz)")
        figure.colorbar(image, ax=axis, label="dB")
    axes[1].set_xlabel("time (s)")
    return figure
