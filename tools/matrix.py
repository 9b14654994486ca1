"""Try the package as installed: on each Python it names, and with its oldest dependencies.

    make matrix                         all rows, each in a fresh virtual environment
    python tools/matrix.py --only 3.12 --only lowest

A row builds an environment in a temporary folder, installs the wheel there with nothing but pytest
and hypothesis, runs ``lacuna demo`` in an empty folder and the tests in ``QUICK``, and deletes it.
Both run without a network where ``unshare`` can take it away. "newest" takes what pip finds;
"lowest" takes every dependency at the lower bound of pyproject.toml. Pythons are those on the path
and pyenv's; what is not installed is skipped. The table goes to standard output, and the status is
1 if a row failed. Where pip's default torch is a GPU build, a row takes 7 GB of disk.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parent.parent
LARGEST_WHEEL = 90_000_000
"""Bytes; package indexes take no more than 100 MB without asking."""
QUICK = (
    "tests/codec/test_front_door.py",
    "tests/codec/test_api.py",
    "tests/codec/test_settings.py",
    "tests/codec/audio/test_reading.py",
    "tests/codec/cli/test_program.py",
    "tests/codec/entropy/test_golden.py",
    "tests/codec/entropy/test_range_coder.py",
    "tests/codec/model/test_shipped.py",
    "tests/diffusion/test_generation.py",
)
"""Tests that need no training package: files, tensors, settings and exact bytes."""


@dataclass
class Row:
    python: str
    dependencies: str
    versions: str = ""
    demo: str = ""
    tests: str = ""
    failed: bool = False

    def markdown(self) -> str:
        cells = (self.python, self.dependencies, self.versions, self.demo, self.tests)
        return f"| {' | '.join(cells)} |"


def find_python(version: str) -> str | None:
    """The interpreter of Python ``version`` (such as "3.12"), or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *pyenv.glob(f"{version}.*/bin/python")]
    for candidate in filter(None, candidates):
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        result = subprocess.run([candidate, "-c", code], capture_output=True, text=True)
        if result.stdout.strip() == version:  # a shim of pyenv may stand for no Python
            return str(candidate)
    return None


def lower_bounds(dependencies: list[str]) -> list[str]:
    """Each ``name>=X`` as ``name==X``.

    Raises:
        ValueError: a dependency has no lower bound.
    """
    pinned = []
    for text in dependencies:
        requirement = Requirement(text)
        lowest = [bound.version for bound in requirement.specifier if bound.operator == ">="]
        if not lowest:
            raise ValueError(f"{text} has no lower bound; give it one in pyproject.toml")
        pinned.append(f"{requirement.name}=={lowest[0]}")
    return pinned


def without_network() -> list[str]:
    """What to put in front of a command to run it without a network; nothing if that fails."""
    for words in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        if shutil.which(words[0]) and not subprocess.run([*words, "true"], check=False).returncode:
            return words
    print("unshare is not permitted here: the network stays", file=sys.stderr)
    return []


def run(words: Sequence[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in ``folder`` without what would make the checkout importable."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def try_row(
    row: Row,
    python: str,
    wheel: Path,
    constraints: list[str],
    tests: Sequence[str],
    folder: Path,
) -> None:
    """Fill in ``row``, in the environment ``folder``/environment."""
    environment = folder / "environment"
    programs = environment / "bin"
    (folder / "constraints.txt").write_text("\n".join(constraints))
    pip = (programs / "pip", "install", "--quiet", "--no-cache-dir", "--no-compile")
    packages = (wheel, "pytest", "hypothesis", "--constraint", folder / "constraints.txt")
    versions = "import numpy, torch; print('torch', torch.__version__, 'numpy', numpy.__version__)"
    pytest = (programs / "pytest", "-p", "no:cacheprovider", "-c", REPOSITORY / "pyproject.toml")
    offline = without_network()
    empty = folder / "empty"
    empty.mkdir()
    steps: list[tuple[str, list[str | Path]]] = [
        ("environment", [python, "-m", "venv", environment]),
        ("install", [*pip, *packages]),
        ("versions", [programs / "python", "-c", versions]),
        ("demo", [*offline, programs / "lacuna", "demo"]),
        ("tests", [*offline, *pytest, *(REPOSITORY / name for name in tests)]),
    ]
    for name, words in steps:
        print(f"{row.python}, {row.dependencies}: {name}", file=sys.stderr, flush=True)
        result = run(words, empty if name == "demo" else folder)
        last = result.stdout.strip().splitlines()[-1] if result.stdout.strip() else ""
        if result.returncode:
            print(result.stdout[-4000:], file=sys.stderr, flush=True)
            row.failed = True
            last = f"failed: {last}"
        if name == "versions":
            row.versions = last
        elif name == "demo":
            row.demo = "failed" if result.returncode else "passed"
        elif name == "tests":
            row.tests = re.sub(r" in .*", "", last.strip("= "))
        elif result.returncode:
            row.versions = f"{name} {last}"
            return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", help="a Python such as 3.12, or 'lowest'")
    parser.add_argument("--tests", nargs="+", default=QUICK, help="in place of the quick ones")
    arguments = parser.parse_args()
    only = arguments.only
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lowest = lower_bounds(project["dependencies"])
    pythons = [
        classifier.rsplit(" ", 1)[-1]
        for classifier in project["classifiers"]
        if re.search(r"Python :: 3\.\d+$", classifier)
    ]
    rows = [Row(version, "newest") for version in pythons] + [Row(pythons[0], "lowest")]
    if only:
        rows = [row for row in rows if {row.python, row.dependencies} & set(only)]
    with tempfile.TemporaryDirectory(prefix="lacuna_matrix_") as name:
        pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps")
        result = run([*pip, "--wheel-dir", name, REPOSITORY], Path(name))
        wheels = list(Path(name).glob("*.whl"))
        if not wheels:
            print(result.stdout, file=sys.stderr)
            return 1
        size = wheels[0].stat().st_size
        for row in rows:
            python = find_python(row.python)
            if python is None:
                row.versions = f"skipped: Python {row.python} is not installed"
                continue
            with tempfile.TemporaryDirectory(dir=name) as folder:
                constraints = lowest if row.dependencies == "lowest" else []
                try_row(row, python, wheels[0], constraints, arguments.tests, Path(folder))
    print("| Python | dependencies | versions | `lacuna demo` | tests |\n|---|---|---|---|---|")
    print("\n".join(row.markdown() for row in rows))
    print(f"\nThe wheel has {size / 1e6:.1f} MB; at most {LARGEST_WHEEL / 1e6:.0f} MB are allowed.")
    return int(size > LARGEST_WHEEL or any(row.failed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
