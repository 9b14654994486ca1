"""Pictures of sound."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image

from codec.files import atomic_path

DYNAMIC_RANGE = 90  # dB below the original's loudest bin
CODEC_STYLES = {
    "lacuna": ("#d55e00", "o"),
    "opus": ("#0072b2", "s"),
    "mp3": ("#009e73", "^"),
    "aac": ("#cc79a7", "D"),
}
"""Colour and marker: Okabe and Ito's colours, which colour-blind people tell apart."""
INK = "#010203"
"""Color of text and axes in a figure for a web page, which puts its own in its place."""
PARTIALS_HZ = 6000.0
PARTIALS_WINDOW = 4096
"""Samples at 44.1 kHz, 93 ms: partials of music lie several bins apart."""
PARTIALS_RANGE = 70.0  # dB
FULL_BAND_WINDOW = 2048
FULL_BAND_ROWS = 256
SHADES = 64
"""Shades in a PNG: more make it larger, and nobody sees them."""

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


def partials_figure(
    rows: Sequence[tuple[str, int, Sequence[tuple[str, np.ndarray]]]],
) -> Figure:
    """Spectrograms up to PARTIALS_HZ beside each other, a row for each recording.

    Args:
        rows: name, sample rate in Hz, and titled sounds (channels, time), the original first.
    """
    columns = max(len(sounds) for _, _, sounds in rows)
    figure = Figure(figsize=(3.6 * columns, 2.6 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, sharey=True, squeeze=False)
    for axes, (name, sample_rate, sounds) in zip(grid, rows, strict=True):
        top = _levels(sounds[0][1], sample_rate, PARTIALS_HZ).max()
        for axis, (title, sound) in zip(axes, sounds, strict=False):
            levels = _levels(sound, sample_rate, PARTIALS_HZ)
            seconds = sound.shape[-1] / sample_rate
            axis.imshow(
                levels,
                vmin=top - PARTIALS_RANGE,
                vmax=top,
                cmap="magma",
                origin="lower",
                aspect="auto",
                extent=(0, seconds, 0, min(PARTIALS_HZ, sample_rate / 2) / 1000),
            )
            axis.set_title(title, fontsize=10)
        axes[0].set_ylabel(f"{name}\nkHz", fontsize=9)
    for axis in grid[-1]:
        axis.set_xlabel("s", fontsize=9)
    return figure


def write_png(figure: Figure, path: Path, *, dpi: int, colors: int) -> None:
    """A picture with a palette, which takes a third of the bytes; a file in the way is replaced."""
    full = io.BytesIO()
    figure.savefig(full, format="png", dpi=dpi)
    with atomic_path(path, force=True) as partial:
        Image.open(full).convert("RGB").quantize(colors).save(partial, format="PNG", optimize=True)


def rate_distortion(
    panels: Mapping[str, Mapping[str, Curve]],
    label: str,
    levels: Mapping[str, Sequence[float]] | None = None,
) -> str:
    """An SVG element with one panel for each class and one curve for each codec.

    Args:
        panels: class -> codec -> curve.
        label: of the vertical axis.
        levels: class -> values that have no rate, drawn as dashed lines.
    """
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label, "font.size": 11}):
        figure = Figure(figsize=(3.4 * len(panels) + 1.2, 3.3), layout="constrained")
        row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        shown = {}
        for axis, (kind, curves) in zip(row, panels.items(), strict=True):
            for level in (levels or {}).get(kind, ()):
                axis.axhline(level, color=INK, linestyle="--", linewidth=0.8)
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


def spectrogram_png(
    sound: np.ndarray, original: np.ndarray, sample_rate: int, top_hz: float | None = None
) -> bytes:
    """A small picture of the mono mix of a sound, (channels, time), as PNG: frequency upwards.

    Up to ``top_hz`` with the window that shows partials, or the full band. Colors span a range
    below the loudest bin of ``original``, so that pictures of both compare.
    """
    span = DYNAMIC_RANGE if top_hz is None else PARTIALS_RANGE
    levels = _levels(sound, sample_rate, top_hz)
    top = (levels if sound is original else _levels(original, sample_rate, top_hz)).max()
    shade = ((levels - top + span) / span).clip(0, 1)
    picture = Image.fromarray((shade[::-1] * (SHADES - 1)).round().astype(np.uint8), mode="P")
    colors = matplotlib.colormaps["magma"](np.linspace(0, 1, SHADES))[:, :3]
    picture.putpalette((255 * colors).astype(np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()


def _levels(sound: np.ndarray, sample_rate: int, top_hz: float | None) -> np.ndarray:
    """(channels, time) -> (bins, frames) in dB, the loudest of FULL_BAND_ROWS for a full band"""
    mix = torch.from_numpy(sound.mean(axis=0, keepdims=True, dtype=np.float32))
    window = PARTIALS_WINDOW if top_hz is not None else FULL_BAND_WINDOW
    window = round(window * sample_rate / 44_100 / 2) * 2
    mix = F.pad(mix, (0, max(0, window - mix.shape[1])))
    spectra = torch.stft(
        mix, window, window // 4, window=torch.hann_window(window), return_complex=True
    )
    power = spectra[0].abs().square()
    if top_hz is not None:
        power = power[: max(1, round(min(top_hz, sample_rate / 2) / sample_rate * window))]
    else:
        power = F.adaptive_max_pool2d(power[None], (FULL_BAND_ROWS, power.shape[1]))[0]
    return 10 * power.clamp(min=1e-12).log10().numpy()
