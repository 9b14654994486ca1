"""Pictures of sound."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.image
import numpy as np
import torch
from matplotlib.figure import Figure

from codec.metrics.mel import mel_spectrogram

DYNAMIC_RANGE = 90  # dB below the original's loudest bin
CODEC_STYLES = {
    "lacuna": ("#d55e00", "o"),
    "opus": ("#0072b2", "s"),
    "mp3": ("#009e73", "^"),
    "aac": ("#cc79a7", "D"),
}
"""Colour and marker: Okabe and Ito's colours, which colour-blind people tell apart."""
INK = "#010203"
"""Of text and axes in a figure that becomes part of a web page, where it takes the page's."""
MEL_WINDOW = 2048
MEL_BANDS = 128

Curve = Sequence[tuple[float, float, float, float]]
"""Points: kbps, value and the ends of its interval."""


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


def rate_distortion(panels: Mapping[str, Mapping[str, Curve]], label: str) -> str:
    """An SVG element with one panel for each class and one curve for each codec.

    Args:
        panels: class -> codec -> curve.
        label: of the vertical axis.
    """
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label, "font.size": 11}):
        figure = Figure(figsize=(3.4 * len(panels) + 1.2, 3.3), layout="constrained")
        row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        shown = {}
        for axis, (kind, curves) in zip(row, panels.items(), strict=True):
            for codec, curve in curves.items():
                colour, marker = CODEC_STYLES[codec]
                kbps, values, lows, highs = np.array(sorted(curve)).T
                reach = [values - lows, highs - values]
                shown[codec] = axis.errorbar(
                    kbps, values, reach, color=colour, marker=marker, elinewidth=0.8, capsize=2
                )
            axis.set_title(kind, color=INK)
            axis.set_xlabel("kbps", color=INK)
            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_formatter("{x:g}")
            axis.tick_params(colors=INK)
            axis.grid(alpha=0.3)
            axis.patch.set_alpha(0)
            for spine in axis.spines.values():
                spine.set_color(INK)
        row[0].set_ylabel(label, color=INK)
        legend = figure.legend(shown.values(), shown, loc="outside right upper", framealpha=0)
        for text in legend.get_texts():
            text.set_color(INK)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")


def spectrogram_png(sound: np.ndarray, original: np.ndarray, sample_rate: int) -> bytes:
    """A small picture of the mono mix of a sound, (channels, time), as PNG: mel bands upwards.

    Colours span DYNAMIC_RANGE below the loudest band of ``original``, so that pictures of both
    compare.
    """
    file = io.BytesIO()
    top = _mel_levels(original, sample_rate).max()
    matplotlib.image.imsave(
        file,
        _mel_levels(sound, sample_rate),
        vmin=top - DYNAMIC_RANGE,
        vmax=top,
        cmap="magma",
        origin="lower",
        format="png",
    )
    return file.getvalue()


def _mel_levels(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """(channels, time) -> (MEL_BANDS, frames) in dB"""
    mix = torch.from_numpy(sound.mean(axis=0, keepdims=True, dtype=np.float32))
    magnitudes = mel_spectrogram(mix, sample_rate, MEL_WINDOW, MEL_BANDS)[0, ::2]
    return 20 * magnitudes.clamp(min=1e-6).log10().T.numpy()
