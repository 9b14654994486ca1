"""Mutation tests: change the code in small ways, and count the changes that no test notices.

    make mutation                                        every module of the table below
    python tools/mutation.py codec/entropy/quantise.py --out /tmp/mutants

mutmut changes one operator, number, name or text at a time, and runs the module's own tests on it.
What survives is printed: it is either a gap in the tests, or a change that means the same
(docs/TESTING.md has the last scores and what was left). The work is done in a copy of the checkout.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
COPIED = ("codec", "diffusion", "configs", "tests", "docs", "tools", "pyproject.toml")
MODULES = {
    "codec/network/lapped.py": ("tests/codec/network/test_lapped.py",),
    "codec/network/layer_quantiser.py": ("tests/codec/network/test_layer_quantiser.py",),
    "codec/entropy/histogram.py": ("tests/codec/entropy/test_histogram.py",),
    "codec/entropy/quantise.py": (
        "tests/codec/entropy/test_quantise.py",
        "tests/codec/entropy/test_quantiser_rules.py",
    ),
    "codec/lac/header.py": ("tests/codec/lac/test_header.py",),
    "codec/lac/rate.py": ("tests/codec/lac/test_rate.py",),
    "codec/lac/trailer.py": ("tests/codec/lac/test_trailer.py",),
    "codec/training/kl.py": ("tests/codec/training/test_kl.py",),
    "diffusion/model/flow.py": ("tests/diffusion/model/test_flow.py",),
    "diffusion/model/samplers.py": ("tests/diffusion/model/test_samplers.py",),
}
"""Small files that much depends on, and the tests that are theirs."""


def config(module: str, tests: tuple[str, ...]) -> str:
    """mutmut's settings for one module, as TOML."""
    return (
        "\n[tool.mutmut]\n"
        f'source_paths = ["codec", "diffusion"]\nonly_mutate = ["{module}"]\n'
        f"pytest_add_cli_args_test_selection = {list(tests)!r}\n"
        f"also_copy = {[name for name in COPIED if '.' not in name]!r}\n"
    )


def mutate(module: str, folder: Path, processes: int) -> tuple[int, list[str]]:
    """The number of mutants that ran, and the survivors' changes.

    Raises:
        SystemExit: mutmut failed, as it does where the tests fail without any change.
    """
    for name in COPIED:
        source = REPOSITORY / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(config(module, MODULES[module]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)

    def mutmut(*words: str) -> str:
        command = [sys.executable, "-m", "mutmut", *words]
        result = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if result.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{(result.stdout + result.stderr)[-4000:]}")
        return result.stdout

    mutmut("run", "--max-children", str(processes))
    outcomes = re.findall(r"^\s*(\S+): ([\w ]+)$", mutmut("results", "--all", "true"), re.MULTILINE)
    survivors = [name for name, outcome in outcomes if outcome not in ("killed", "timeout")]
    return len(outcomes), [mutmut("show", name) for name in survivors]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=list(MODULES), metavar="MODULE")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    if unknown := set(arguments.modules) - set(MODULES):
        parser.error(f"no tests for {', '.join(unknown)}; expected some of {', '.join(MODULES)}")
    table = ["| module | mutants | survived | killed |", "|---|---|---|---|"]
    for module in arguments.modules:
        with tempfile.TemporaryDirectory(prefix="lacuna_mutation_") as folder:
            count, survivors = mutate(module, Path(folder), arguments.processes)
        for survivor in survivors:
            print(survivor)
        killed = 1 - len(survivors) / max(1, count)
        table.append(f"| {module} | {count} | {len(survivors)} | {killed:.0%} |")
    print("\n".join(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
