"""The command lines that make in a terminal what was made on the page."""

from __future__ import annotations

import shlex
from pathlib import Path

from diffusion.generation import Sampling


def line(command: str, *words: str | Path, **options: object) -> str:
    """``line("vary", "a.wav", "b.wav", strength=0.5)``; options that are None are left out."""
    parts = ["lacuna", command, *map(str, words)]
    for name, value in options.items():
        if value is True:
            parts.append(f"--{name.replace('_', '-')}")
        elif value is not None and value is not False:
            text = f"{value:.10g}" if isinstance(value, float) else str(value)
            parts += [f"--{name.replace('_', '-')}", text]
    return shlex.join(parts)


def of_sampling(sampling: Sampling) -> dict[str, object]:
    """Its options."""
    guidance = None if sampling.label is None else float(sampling.guidance)
    return {
        "label": sampling.label,
        "seed": sampling.seed,
        "steps": sampling.steps,
        "guidance": guidance,
    }
