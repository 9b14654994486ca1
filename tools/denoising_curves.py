"""Curves of rate and quality: how many bytes a method saves, tables and a picture of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

Row = dict[str, float | str]
"""``clip``, ``quality``, ``method`` and ``seed``, and what was found: ``kbps`` and the measures."""
Curve = list[tuple[float, float]]
RESAMPLED = 500
"""Sets of clips and seeds that intervals are taken from."""


class Results:
    """Rows as an array: clips, qualities and seeds of each method."""

    def __init__(self, rows: Sequence[Row], measures: dict[str, str]) -> None:
        self.measures = measures
        """Name -> "higher" or "lower", which is better."""
        self.methods = list(dict.fromkeys(str(row["method"]) for row in rows))
        self.qualities = sorted({float(row["quality"]) for row in rows})
        clips = list(dict.fromkeys(row["clip"] for row in rows))
        self._columns = ["kbps", *measures]
        self._values = {}
        for method in self.methods:
            own = [row for row in rows if row["method"] == method]
            seeds = sorted({float(row["seed"]) for row in own})
            shape = (len(clips), len(self.qualities), len(seeds), len(self._columns))
            values = np.full(shape, np.nan)
            for row in own:
                at = (
                    clips.index(row["clip"]),
                    self.qualities.index(float(row["quality"])),
                    seeds.index(float(row["seed"])),
                )
                values[at] = [float(row.get(name, math.nan)) for name in self._columns]
            self._values[method] = values

    def curve(self, method: str, name: str, drawn: NDArray[np.intp] | None = None) -> Curve:
        """Means over clips and seeds at each quality; or over ``drawn`` clips, a seed for each."""
        values = self._values[method]
        if drawn is not None:
            seeds = (drawn * 7919 + np.arange(len(drawn))) % values.shape[2]
            values = values[drawn, :, seeds][:, :, None]
        # A clip in which a measure has nothing to say at some rate is left out at all.
        column = values[..., self._columns.index(name)]
        known = ~np.isnan(column).any(axis=(1, 2))
        if not known.any():
            return [(math.nan, math.nan)] * len(self.qualities)
        rates = values[known][..., 0].mean(axis=(0, 2))
        return list(zip(rates.tolist(), column[known].mean(axis=(0, 2)).tolist(), strict=True))

    def saved(self, method: str, reference: str, name: str) -> str:
        """How much fewer bytes, with the 95 % interval of resampled clips and seeds."""
        better, rng = self.measures[name], np.random.default_rng(0)
        share = saving(better, self.curve(method, name), self.curve(reference, name))
        if math.isnan(share):
            return "-"
        clips = len(self._values[method])
        others = []
        for _ in range(RESAMPLED):
            drawn = rng.integers(clips, size=clips)
            pair = (self.curve(of, name, drawn) for of in (method, reference))
            others.append(saving(better, *pair))
        found = [other for other in others if not math.isnan(other)] or [math.nan]
        low, high = np.quantile(found, (0.025, 0.975))
        return f"{100 * share:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def saving(better: str, curve: Curve, other: Curve) -> float:
    """By how much the rate of ``curve`` is below that of ``other`` at equal values, as a share.

    Both are (rate, value) with rates rising. NaN where they have no value in common.
    """
    sign = 1 if better == "higher" else -1
    lines: list[Callable[[NDArray[np.float64]], NDArray[np.float64]]] = []
    ends = []
    for points in (curve, other):
        rate, value = np.array(points).T
        value = np.maximum.accumulate(sign * value)  # more bits never count as worse
        ends.append((value[0], value[-1]))
        lines.append(lambda q, v=value, r=rate: np.interp(q, v, np.log(r)))  # type: ignore[misc]
    low, high = max(e[0] for e in ends), min(e[1] for e in ends)
    if not low < high:
        return float("nan")
    q = np.linspace(low, high, 200)
    return float(1 - np.exp((lines[0](q) - lines[1](q)).mean()))


def table(header: list[str], lines: list[list[str]]) -> None:
    for line in (header, ["---"] * len(header), *lines):
        print("|", " | ".join(line), "|")
    print(flush=True)


def draw(results: Results, labels: dict[str, str], path: Path) -> None:
    """A picture with a panel for each of ``labels`` (measure -> title): rate to the right.

    The first method is black. Those with a bit have too much in common with it to be seen.
    """
    methods = [method for method in results.methods if not method.endswith("bit")]
    colors = ["black", *map(colormaps["tab20"], range(len(methods)))]
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    axes = figure.subplots(2, math.ceil(len(labels) / 2)).flat
    for axis, (name, label) in zip(axes, labels.items(), strict=False):
        for method, color in zip(methods, colors, strict=False):
            rates, values = zip(*results.curve(method, name), strict=True)
            axis.plot(rates, values, marker=".", label=method, color=color)
        axis.set(title=f"{label} ({results.measures[name]} is better)", xlabel="kbps per channel")
        axis.grid(alpha=0.3)
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=6, fontsize="small")
    figure.savefig(path, dpi=80)
