"""docs/GENERATION.md from its marker on: makes the sounds, judges them, writes every table anew.

    python tools/generation_page.py --valid valid --train train --manifest manifest.csv --out judged

What is above the marker is written by hand and stays. OUT gets four clips of 6 s of each label of
the validation audio that the model knows, links to the first four training files of each class and
to ten validation recordings, evenly over all, and what tools/judge_generation.py makes. Then
tools/judge_labels.py and tools/judge_gaps.py are run. Eleven minutes of one core.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from codec.batch.folders import find_audio
from codec.errors import LacunaError
from codec.evaluation.evenly import evenly
from codec.evaluation.generated.labels import Labels
from codec.files import atomic_path
from diffusion.generation import load_checkpoint

PAGE = Path("docs/GENERATION.md")
MARKER = "<!-- From here on written by tools/generation_page.py -->"
OF_CLASS, CLIPS, GAPS = 4, 4, 10
PITCHED = "piano,guitar,strings,speech_male,speech_female,rock,dog,rain"
SEEDS = 48
NOTES = f"""\
## Notes, levels, label and seed

    python tools/judge_labels.py --real train --manifest manifest.csv --count {SEEDS}
        --labels {PITCHED}

"real": all pieces of 5.9 s of the training files of a label; "middles": the middle 5.9 s of each
file; "decoded": up to 24 of the pieces through the codec, not quantised, and decoded as clearly as
made clips are; "made": the first seeds. Clear partials that begin in a second, frames of 46 ms that
they last, median levels, and how many clips had their peaks limited, by at most so many dB."""
INPAINTING = """\
## Gaps

    python tools/judge_gaps.py OUT/gaps
"""


def run(*command: str | Path) -> str:
    """What it prints; its errors are shown as they come.

    Raises:
        LacunaError: it fails.
    """
    done = subprocess.run([sys.executable, *map(str, command)], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise LacunaError(f"'{' '.join(map(str, command))}' failed, see above")
    return done.stdout


def link(folder: Path, paths: dict[str, Path]) -> Path:
    """A folder with nothing but links, by their names in it."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, path in paths.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path.resolve())
    return folder


def first_of_each(folder: Path, labels: Labels) -> dict[str, Path]:
    """The first files of each class, as CLASS/NAME."""
    of_class: dict[str, list[Path]] = defaultdict(list)
    for path in find_audio(folder):
        label = labels.of(path, folder)
        if label is not None:
            of_class[label].append(path)
    return {f"{k}/{p.name}": p for k, paths in of_class.items() for p in paths[:OF_CLASS]}


def wrapped(text: str) -> str:
    """Paragraphs in lines of 100; tables, commands and headings as they are."""
    return "\n".join(
        line if line.startswith(("|", "#", " ", "!")) else textwrap.fill(line, 100)
        for line in text.splitlines()
    )


def page(old: str, parts: Sequence[str]) -> str:
    """What stands above the marker, and the parts below it.

    Raises:
        LacunaError: there is no marker.
    """
    above, found, _ = old.partition(MARKER)
    if not found:
        raise LacunaError(f"the page has no line '{MARKER}', below which the tables go")
    return f"{above}{MARKER}\n\n" + "\n\n".join(part.strip("\n") for part in parts) + "\n"


def main(
    *,
    valid: Annotated[Path, Parameter(help="Folder of real audio, not trained on.")],
    train: Annotated[Path, Parameter(help="Folder of what was trained on.")],
    manifest: Annotated[Path, Parameter(help="CSV with 'path' and 'class' of both.")],
    out: Annotated[Path, Parameter(help="Folder for sounds and sets; may exist.")],
) -> None:
    """Make and judge."""
    tools, labels = Path(__file__).parent, Labels([valid, train], manifest)
    recordings = find_audio(valid)
    known = {labels.of(path, valid) for path in recordings} & {*load_checkpoint().labels}
    made = out / "made"
    shutil.rmtree(made, ignore_errors=True)  # other weights may have made them
    made.mkdir(parents=True)
    for label in sorted(known - {None}):
        options = ("--label", label, "--seconds", "6", "--count", str(CLIPS))
        run("-m", "diffusion", "generate", made / f"{label}.wav", *options)
    some = link(out / "train", first_of_each(train, labels))
    gaps = link(out / "gaps", {path.name: path for path in evenly(recordings, GAPS)})
    folders = ("--generated", made, "--valid", valid, "--train", some, "--manifest", manifest)
    run(tools / "judge_generation.py", *folders, "--out", out)
    _, _, judged = (out / "generation.md").read_text(encoding="utf-8").partition("\n")
    of_labels = ("--real", train, "--manifest", manifest, "--labels", PITCHED)
    notes = run(tools / "judge_labels.py", *of_labels, "--count", str(SEEDS))
    filled = run(tools / "judge_gaps.py", gaps)
    parts = (wrapped(judged.replace("(generation.png)", "(GENERATION.png)")), NOTES, notes)
    text = page(PAGE.read_text(encoding="utf-8"), (*parts, INPAINTING, filled))
    shutil.copy(out / "generation.png", PAGE.with_suffix(".png"))
    with atomic_path(PAGE, force=True) as partial:
        partial.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    cyclopts.run(main)
