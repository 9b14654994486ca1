"""Whether an exported graph gives what the codec gives, and how long both take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from codec.errors import LacunaError
from codec.export.graphs import Graph

TOLERANCE = 1e-3
"""Largest absolute difference of latents of unit variance, and of samples of full scale 1."""

SHAPES = ((1, 1), (2, 23))
"""Items and frames at which results are compared."""

RUNS = 3
"""Timed runs, of which the fastest counts."""


@dataclass(frozen=True)
class Parity:
    """An ONNX graph beside the module that it was made from, on one thread count for both."""

    graph: str
    difference: float
    """The largest, on noise and on digital silence."""
    seconds: float
    """Seconds of audio in a timed run."""
    torch_seconds: float
    onnx_seconds: float


def compare(graph: Graph, path: Path, frame_rate: float, timed_seconds: float = 10.0) -> Parity:
    """Run an ONNX file and its module side by side on the CPU.

    Raises:
        LacunaError: they differ by more than TOLERANCE, or one of them gives NaN.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def by_onnx(x: tuple[Tensor, ...]) -> list[np.ndarray]:
        names = [item.name for item in graph.inputs]
        return session.run(None, {k: v.numpy() for k, v in zip(names, x, strict=True)})

    def by_torch(x: tuple[Tensor, ...]) -> list[np.ndarray]:
        with torch.inference_mode():
            results = graph.module(*x)
        return [y.numpy() for y in (results if isinstance(results, tuple) else (results,))]

    differences = [0.0]
    for batch, frames in SHAPES:
        coded, *drawn = graph.example(batch, frames)
        for x in ((coded, *drawn), (graph.silence.expand_as(coded), *drawn)):
            for name, right, y in zip(graph.output_names, by_torch(x), by_onnx(x), strict=True):
                difference = float(np.abs(right - y).max())
                if not difference <= TOLERANCE:  # NaN included
                    raise LacunaError(
                        f"the ONNX graph '{graph.name}' gives another '{name}': it differs by "
                        f"{difference:.3g}, expected at most {TOLERANCE:g}; nothing was written. "
                        f"Other versions of torch, onnxscript or onnxruntime may do better"
                    )
                differences.append(difference)
    frames = max(1, round(timed_seconds * frame_rate))
    long = graph.example(1, frames)
    return Parity(
        graph.name,
        max(differences),
        frames / frame_rate,
        _fastest(lambda: by_torch(long)),
        _fastest(lambda: by_onnx(long)),
    )


def _fastest(call: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS + 1):  # the first one warms up
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times[1:])
