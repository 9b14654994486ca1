"""info and verify: what stands in a .lac file; needs no model."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

from codec.cli.options import EXIT_DAMAGED, AsJson, word
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
        "complete": report.complete,
        "samples": report.samples,
    }
    _print_facts(facts, as_json)
    if not report.ok:
        raise SystemExit(EXIT_DAMAGED)


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
