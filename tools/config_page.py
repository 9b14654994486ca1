"""Write docs/CONFIG.md: every key of the config files, from the classes that check them.

python tools/config_page.py            write it
python tools/config_page.py --check    say whether it is out of date (status 1)
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from codec.network.config import ModelConfig
from codec.training.config import DECODER_PHASE, TrainingConfig
from diffusion.model.config import DiffusionConfig
from diffusion.training.config import DiffusionTrainingConfig

PAGE = Path(__file__).resolve().parent.parent / "docs" / "CONFIG.md"
INTRODUCTION = f"""# Config files

Every key of the TOML files in configs/. Written by `python tools/config_page.py` from the classes
that check them. A file has the tables `[model]` and `[training]`; what it leaves out has the
default. `--set training.kl.target_kbps=16` replaces one value on the command line, and an unknown
key or a value that is not allowed is an error that names the key. docs/TRAINING.md says how the
values work together, docs/DESIGN.md what the networks are.

`[training.{DECODER_PHASE}]` may have every key of a codec's `[training]`: what is different in the
second phase, which trains the decoder alone.
"""
FILES = {
    "A codec": {"model": ModelConfig, "training": TrainingConfig},
    "A diffusion model": {"model": DiffusionConfig, "training": DiffusionTrainingConfig},
}


def tables(name: str, cls: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The name and class of a TOML table, and of all tables in it."""
    yield name, cls
    for key, field in cls.model_fields.items():
        for kind in _classes(field.annotation):
            yield from tables(f"{name}.{key}", kind)


def _classes(annotation: Any) -> list[type[BaseModel]]:
    """The config classes in an annotation such as ``A | B | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [kind for part in get_args(annotation) for kind in _classes(part)]


def allowed(schema: dict[str, Any]) -> str:
    """The values that a field takes, in words, from its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(allowed(one) for one in schema["anyOf"] if one["type"] != "null")
    choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if choices:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in choices)
    kind = schema["type"]
    if kind == "array":
        pair = "prefixItems" in schema
        item = allowed(schema["prefixItems"][0] if pair else schema["items"])
        return f"two: {item}" if pair else f"list: {item}"
    words = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false"}
    bounds = {
        "minimum": "from {}",
        "exclusiveMinimum": "above {}",
        "maximum": "to {}",
        "exclusiveMaximum": "below {}",
    }
    limits = [text.format(schema[key]) for key, text in bounds.items() if key in schema]
    return " ".join([words[kind], *limits])


def table(name: str, cls: type[BaseModel]) -> str:
    """A section of the page: what a TOML table is, and its keys."""
    properties = cls.model_json_schema()["properties"]
    kind = properties.get("kind", {}).get("const")
    title = f"### `[{name}]`" + (f" with `kind = {json.dumps(kind)}`" if kind else "")
    rows = []
    for key, field in cls.model_fields.items():
        schema = properties[key]
        if _classes(field.annotation):
            continue  # a table of its own
        if field.is_required():
            default = "required"
        elif field.default is None:
            default = "unset"
        else:
            default = f"`{json.dumps(field.default)}`"
        meaning = " ".join((field.description or "").split()).replace("``", "`")
        cells = (f"`{key}`", default, allowed(schema), schema.get("unit", ""), meaning)
        rows.append(f"| {' | '.join(cells)} |")
    about = inspect.cleandoc(cls.__doc__ or "").replace("``", "`")
    if not rows:
        return f"{title}\n\n{about}\n"
    header = "| key | default | allowed | unit | meaning |\n|---|---|---|---|---|"
    return "\n".join([f"{title}\n", f"{about}\n", header, *rows]) + "\n"


def page() -> str:
    sections = [INTRODUCTION]
    for title, roots in FILES.items():
        sections.append(f"## {title}\n")
        for root, cls in roots.items():
            sections += [table(name, kind) for name, kind in tables(root, cls)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(sections))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        print(f"{PAGE} is out of date; run: python tools/config_page.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
