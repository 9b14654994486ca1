"""export: the codec's networks as graphs for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from codec.cli.options import Compute, Force, say, word
from codec.text import printable_lines

if TYPE_CHECKING:
    from codec.export.parity import Parity


def export(
    model: Annotated[str, word("MODEL", "A shipped model's name, or a checkpoint's path.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the graphs.", metavar="DIR")],
    force: Force = False,
    compute: Compute = Compute(),
) -> None:
    """Write a model's encoder and decoder as ONNX and as torch.export packages.

    Example: lacuna export small --out graphs/

    Graphs take any batch and any length, and their weights lie in them. Before they are put in
    place each ONNX graph is run by onnxruntime beside PyTorch, on noise and on digital silence;
    the table says how much they differ and how long both take. docs/EMBEDDING.md says what goes
    in and what comes out. Needs `pip install ".[export]"` in a checkout.
    """
    from codec.cli.extra import require

    require("export", "export", "onnx", "onnxscript", "onnxruntime")
    compute.use()
    codec = compute.load(model).cpu()
    from codec.export.write import export as write
    from codec.progress import working

    with working("exporting"):
        exported = write(codec, out, force=force)
    print(printable_lines(_table(exported.parities)))
    say(f"{out}: {', '.join(exported.files)}")


def _table(parities: list[Parity]) -> str:
    rows = [
        f"| {p.graph} | {p.difference:.1e} | {p.seconds:.0f} s | {p.torch_seconds * 1000:.0f} ms "
        f"| {p.onnx_seconds * 1000:.0f} ms |"
        for p in parities
    ]
    head = "| graph | largest difference | audio | PyTorch | onnxruntime |"
    return "\n".join([head, "|---|---|---|---|---|", *rows])
