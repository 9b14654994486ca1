"""A graph as a ``torch.export`` program with dynamic batch and length, and that as ONNX."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from codec.export.graphs import Graph

OPSET = 20
"""ONNX's operator set: the first with GELU, and with the DFT operator in its present form."""

EXAMPLE_BATCH, EXAMPLE_FRAMES = 3, 11
"""Shape of the traced input: no layer has these sizes, which would be taken for its own."""

LEAST_FRAMES = 3
"""Fewest frames of a ``.pt2``: torch.export takes sizes of one for cases of their own; where levels
are looked up in the frames before and after that is two frames. ONNX graphs take a single one."""

TINY = 1e-4
"""Constants below this that are added are floors, under a logarithm or a root."""


def to_program(graph: Graph) -> ExportedProgram:
    """Trace a graph; its batch and its frames (LEAST_FRAMES or more) are dynamic."""
    batch, frames = Dim("batch", min=1), Dim("frames", min=1)
    free = {"batch": batch, "frames": frames, "time": graph.hop_length * frames}
    shapes = {
        item.name: {at: free[size] for at, size in enumerate(item.shape) if isinstance(size, str)}
        for item in graph.inputs
    }
    with _quiet(), torch.no_grad():
        return torch.export.export(
            graph.module.eval(),
            graph.example(EXAMPLE_BATCH, EXAMPLE_FRAMES),
            dynamic_shapes=shapes,
            strict=False,
            # A size that a layer takes for a case of its own is refused when it comes, not now.
            prefer_deferred_runtime_asserts_over_guards=True,
        )


def save_program(program: ExportedProgram, path: Path, facts: str) -> None:
    """Write a ``.pt2`` package with ``facts`` (JSON) as its extra file ``model.json``."""
    with _quiet():
        torch.export.save(program, path, extra_files={"model.json": facts})


def save_onnx(graph: Graph, program: ExportedProgram, path: Path, facts: dict[str, Any]) -> None:
    """Write a program as one ONNX file with its weights in it, ``facts`` as its metadata."""
    scale_floors(program)
    with _quiet():
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=[item.name for item in graph.inputs],
            output_names=list(graph.output_names),
            verbose=False,
        )
        assert exported is not None
        exported.model.metadata_props.update({key: str(value) for key, value in facts.items()})
        exported.save(path, external_data=False)


def scale_floors(program: ExportedProgram) -> None:
    """Write every tiny floor of a program, x + f, as (x / f + 1) * f.

    The optimizer of onnxscript takes x + 1e-8 for x + 0 and drops it: the logarithm of digital
    silence is then minus infinity, and what follows NaN. One is not taken for zero. Clamping
    would do as well on silence, and change everything that is nearly silent.
    """
    aten = torch.ops.aten
    parts = [part for part in program.graph_module.modules() if isinstance(part, GraphModule)]
    for part in parts:  # the body of `with in_float32(x)` is a part of its own
        for node in list(part.graph.nodes):
            if node.target is not aten.add.Tensor or node.kwargs:
                continue
            x, floor = node.args
            if not isinstance(floor, float) or not 0 < abs(floor) < TINY:
                continue
            with part.graph.inserting_before(node):
                shares = part.graph.call_function(aten.mul.Tensor, (x, 1 / floor))
                raised = part.graph.call_function(aten.add.Tensor, (shares, 1.0))
            for new in (shares, raised):
                new.meta["val"] = node.meta["val"]
            node.target, node.args = aten.mul.Tensor, (raised, floor)
        part.recompile()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters tell their own developers."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
