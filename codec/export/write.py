"""A folder of exported graphs: ONNX, torch.export packages, and the facts about them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from codec.errors import LacunaError
from codec.export.graphs import facts_of, graphs_of
from codec.export.parity import Parity, compare
from codec.export.program import save_onnx, save_program, to_program
from codec.files import atomic_path
from codec.model.latent_codec import LatentCodec
from codec.text import printable

FACTS = "model.json"


@dataclass(frozen=True)
class Exported:
    """What lies in the folder."""

    files: list[str]
    parities: list[Parity]


def export(codec: LatentCodec, out: str | Path, *, force: bool = False) -> Exported:
    """Write each graph as ``NAME.onnx`` and ``NAME.pt2`` to a folder, and ``model.json``.

    Both take any batch and any length. ONNX graphs are compared with the codec before anything
    is put in place. Weights lie in the files.

    Args:
        codec: on the CPU.
        force: replace files of these names.

    Raises:
        LacunaError: it is a codec of tokens, a file is there already, or a graph differs.
    """
    graphs = graphs_of(codec)
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise LacunaError(f"{printable(out)} is not a folder, expected one to write graphs into")
    names = [f"{graph.name}{suffix}" for graph in graphs for suffix in (".onnx", ".pt2")]
    names.append(FACTS)
    taken = [name for name in names if os.path.lexists(out / name)]
    if taken and not force:
        raise LacunaError(
            f"{printable(out)} has {', '.join(taken)} already; use --force to replace them, or "
            f"another --out"
        )
    facts = facts_of(codec)
    parities = []
    with tempfile.TemporaryDirectory(prefix="lacuna-") as folder:
        for graph in graphs:
            program = to_program(graph)
            save_program(program, Path(folder) / f"{graph.name}.pt2", json.dumps(facts))
            onnx = Path(folder) / f"{graph.name}.onnx"
            save_onnx(graph, program, onnx, facts)
            parities.append(compare(graph, onnx, codec.frame_rate))
        signatures = {
            graph.name: {
                "inputs": {item.name: item.shape for item in graph.inputs},
                "outputs": graph.output_names,
            }
            for graph in graphs
        }
        (Path(folder) / FACTS).write_text(
            json.dumps({**facts, "graphs": signatures}, indent=1) + "\n", encoding="utf-8"
        )
        out.mkdir(parents=True, exist_ok=True)
        for name in names:
            with atomic_path(out / name, force=force) as partial:
                shutil.copyfile(Path(folder) / name, partial)
    return Exported(names, parities)
