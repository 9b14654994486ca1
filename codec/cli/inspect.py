"""info, verify and trim: what stands in a .lac file, and less of it; needs no model."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

from cyclopts import Parameter

from codec.cli.options import (
    EXIT_DAMAGED,
    AsJson,
    Force,
    expect_suffix,
    refuse_own_input,
    say,
    word,
)
from codec.text import printable

LacFile = Annotated[str, word("IN", "A .lac file; '-' is stdin.")]


def info(source: LacFile, /, *, as_json: AsJson = False) -> None:
    """Show what a .lac file holds, and its bit rate over time; needs no model.

    Example: lacuna info song.lac --json
    """
    from codec.files import read_bytes
    from codec.lac.info import block_rates, file_facts, rate_lines
    from codec.lac.reader import LacReader

    data = read_bytes(source)
    reader = LacReader(data)
    facts, rates = file_facts(reader, len(data)), block_rates(reader)
    if as_json:
        print(json.dumps({**facts, **rates}))
        return
    tags = facts.pop("tags")
    _print_facts(facts, as_json=False)
    # Output that is piped may be in an encoding without blocks, on Windows for one.
    encoding = getattr(sys.stdout, "encoding", None) or ""
    for line in rate_lines(rates, encoding.lower().startswith("utf")):
        print(line)
    _show(f"{'tags':18} {'' if tags else 'none'}".rstrip())
    for key, text in tags.items():
        _show(f"  {key}: {text}")


def _show(line: str) -> None:
    """Print what may come from anyone, in whatever encoding the output has."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(printable(line).encode(encoding, "replace").decode(encoding))


def verify(source: LacFile, /, *, as_json: AsJson = False) -> None:
    """Check a .lac file's structure and checksums; exits with 3 if it is damaged.

    Example: lacuna verify song.lac
    """
    from codec.files import read_bytes
    from codec.lac.reader import verify as verify_container

    report = verify_container(read_bytes(source))
    facts = {
        "ok": report.ok,
        "blocks": report.blocks,
        "damaged_blocks": report.damaged,
        "damaged_layers": report.damaged_layers,
        "complete": report.complete,
        "samples": report.samples,
    }
    _print_facts(facts, as_json)
    if not report.ok:
        raise SystemExit(EXIT_DAMAGED)


def trim(
    source: LacFile,
    target: Annotated[str, word("OUT", "A .lac file; '-' is stdout.")],
    /,
    *,
    kbps: Annotated[float, Parameter(help="Of the result, at most.")],
    force: Force = False,
) -> None:
    """Cut a .lac file to a lower rate without coding it again; needs no model.

    Example: lacuna trim song.lac small.lac --kbps 6

    The waveform layer is rounded to coarser steps, as far as to nothing; what a file has below it
    stays as it is.
    """
    from codec.files import output_file, read_bytes
    from codec.lac.rate import RateTarget
    from codec.lac.reader import LacReader
    from codec.lac.trim import trim as trim_container

    wanted = RateTarget(kbps)
    if target != "-":
        expect_suffix(target, ".lac")
    refuse_own_input(source, target)
    reader = LacReader(read_bytes(source))
    with output_file(target, force=force) as output:
        report = trim_container(reader, output, wanted)
    layer = "with a coarser waveform layer" if report.layered else "without a waveform layer"
    say(f"{target}: {report.bytes:,} bytes, {report.kbps:.2f} kbps, {layer}")


def _print_facts(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(facts))
        return
    for key, value in facts.items():
        if isinstance(value, float):
            value = f"{value:.3f}"
        elif isinstance(value, dict):
            value = ", ".join(f"{k}: {v}" for k, v in value.items()) or "none"
        elif isinstance(value, list):
            value = ", ".join(f"number {item}" for item in value) or "none"
        elif value is None:
            value = "unknown: the end of the file is lost"
        _show(f"{key.replace('_', ' '):18} {value}")
