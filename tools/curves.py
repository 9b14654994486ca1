"""Rate and quality in one picture: what `lacuna evaluate` measured, a panel a measure.

    lacuna evaluate valid/ --kbps 1.5,3,6,12,24,48 --against opus --out report/
    python tools/curves.py report/evaluation.json --out docs/curves.png

Means over files, with their 95 % intervals; the dotted line is white noise at the recordings'
levels. A measure that puts it above Opus at 12 kbps ranks nothing in that class.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import matplotlib
from cyclopts import Parameter

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from codec.files import atomic_path

MEASURES = {
    "tonal_recall": "tonal recall",
    "tonal_precision": "tonal precision",
    "zimtohrli": "Zimtohrli",
    "pesq": "PESQ-WB",
}
COLORS = {"lacuna": "tab:blue", "opus": "tab:orange"}
CONTROL = "noise"


def draw(axes: Axes, groups: list[dict[str, Any]], measure: str) -> None:
    """The curves of one class and one measure."""
    for name, color in COLORS.items():
        points = sorted(
            (g["kbps"], g["means"][measure], g["intervals"].get(measure))
            for g in groups
            if g["codec"] == name and measure in g["means"]
        )
        rates, means = [p[0] for p in points], [p[1] for p in points]
        axes.plot(rates, means, "o-", color=color, label=name, markersize=4)
        bounds = [p[2] for p in points]
        if all(bounds):
            low, high = [b["low"] for b in bounds], [b["high"] for b in bounds]
            axes.fill_between(rates, low, high, color=color, alpha=0.15, linewidth=0)
    for group in groups:
        if group["codec"] == CONTROL and measure in group["means"]:
            axes.axhline(group["means"][measure], color="gray", linestyle=":", label=CONTROL)
    axes.set_xscale("log")
    ticks = [1.5, 3, 6, 12, 24, 48]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)


def main(evaluation: Path, /, *, out: Annotated[Path, Parameter(help="A PNG file.")]) -> None:
    """Draw the curves of an evaluation.json."""
    groups = json.loads(evaluation.read_text(encoding="utf-8"))["groups"]
    kinds = sorted({group["kind"] for group in groups})
    figure, grid = plt.subplots(
        len(MEASURES), len(kinds), figsize=(4 * len(kinds), 2.6 * len(MEASURES)), squeeze=False
    )
    for row, (measure, label) in zip(grid, MEASURES.items(), strict=True):
        for axes, kind in zip(row, kinds, strict=True):
            members = [group for group in groups if group["kind"] == kind]
            if not any(measure in group["means"] for group in members):
                axes.axis("off")
                continue
            draw(axes, members, measure)
            axes.set_title(f"{kind}: {label}", fontsize=10)
    grid[0][0].legend(fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("kbps of the file")
    figure.tight_layout()
    with atomic_path(out, force=True) as partial:
        figure.savefig(partial, format="png", dpi=80)


if __name__ == "__main__":
    cyclopts.run(main)
