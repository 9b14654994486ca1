"""Give the labels of a diffusion model their profiles (diffusion/model/profile.py).

    python tools/calibrate_labels.py MODEL.safetensors --real corpus/train --manifest train.csv

Writes into MODEL, of each label whose recordings have at least PITCHED clear partials a second, how
slow the noise is that its sounds are made from, and how clear they are decoded: what gives them as
many partials, as long, as the recordings have. First the noise is chosen, at a clarity of 1, then
the clarity. Other labels are made from white noise and decoded as files are. Seeds are SEED and
after, which nothing else is judged by. Three minutes of a core for a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from math import inf, isfinite, log
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from judge_labels import Heard, files_by_label, first_channel, of_file

from codec.evaluation.evenly import evenly
from codec.model.sound import Sound
from codec.process import set_threads
from codec.progress import file_progress
from diffusion.generation import Sampling, generate_together, load
from diffusion.model import checkpoint
from diffusion.model.profile import LabelProfile

PITCHED = 10.0
FILES, PIECES, CLIPS, SECONDS = 24, 96, 24, 5.9
SEED = 1000
SLOW = (1.0, 1.1, 1.2, 1.3)
CLARITY = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
WHITE = LabelProfile(slow=1.0)
MEASURED = ("a second", "frames", "level")
COLUMNS = ("label", "real", *MEASURED, "made", *MEASURED, "channels", "slow", "clarity")


def error(made: Heard, real: Heard) -> float:
    """How far numbers and lengths of partials are apart: squares of logarithms of ratios."""
    ratios = (made.per_second / real.per_second, made.frames / real.frames)
    return sum(log(ratio) ** 2 for ratio in ratios) if all(r > 0 for r in ratios) else inf


def calibrated(
    model: Path, label: str, profile: LabelProfile, files: Sequence[Path]
) -> tuple[LabelProfile, str]:
    """The profile of a label with the recordings ``files``, and a line of a table."""
    set_threads(1)
    pieces = [piece for path in evenly(files, FILES) for piece in of_file(path, SECONDS)[1]]
    real = Heard.of(evenly(pieces, PIECES))
    profile = replace(WHITE, coded_channels=profile.coded_channels)
    if not (isfinite(real.frames) and real.per_second >= PITCHED):
        return profile, f"| {label} | {real} |{' |' * 7}"
    generator = load(model)

    def made_with(candidate: LabelProfile) -> list[Sound]:
        generator.profiles = {label: candidate}
        sampling = Sampling(label, seed=SEED)
        return generate_together(generator, CLIPS, SECONDS, sampling=sampling)

    made = {slow: made_with(replace(profile, slow=slow, clarity=1.0)) for slow in SLOW}

    @cache
    def heard(candidate: LabelProfile) -> Heard:
        sounds = (replace(s, clarity=candidate.clarity) for s in made[candidate.slow])
        return Heard.of([first_channel(generator, sound) for sound in sounds])

    def best(candidates: Sequence[LabelProfile]) -> LabelProfile:
        return min(candidates, key=lambda one: error(heard(one), real))

    profile = best([replace(profile, slow=slow, clarity=1.0) for slow in SLOW])
    profile = best([replace(profile, clarity=clarity) for clarity in CLARITY])
    values = f"{profile.coded_channels} | {profile.slow:g} | {profile.clarity:g}"
    return profile, f"| {label} | {real} | {heard(profile)} | {values} |"


def main(
    model: Path,
    /,
    *,
    real: Annotated[Path, Parameter(help="Folder of the recordings it was trained on.")],
    manifest: Annotated[Path | None, Parameter(help="CSV with 'path' and 'class'.")] = None,
    labels: Annotated[str | None, Parameter(help="Which, with commas; all.")] = None,
    workers: int = 1,
) -> None:
    """Print a table, and write the profiles."""
    loaded, files = checkpoint.load(model), files_by_label(real, manifest)
    chosen = loaded.labels if labels is None else labels.split(",")
    wanted = [label for label in chosen if label in files]
    profiles = dict(loaded.profiles)
    old = [profiles.get(label, WHITE) for label in wanted]
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|", flush=True)
    with ExitStack() as stack:
        progress = stack.enter_context(file_progress("calibrating"))
        each = map
        if workers > 1:
            pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
            each = stack.enter_context(pool).map
        found = each(partial(calibrated, model), wanted, old, [files[one] for one in wanted])
        for done, (label, (profile, line)) in enumerate(zip(wanted, found, strict=True)):
            progress(label, done, len(wanted))
            print(line, flush=True)
            profiles[label] = profile
    checkpoint.save(replace(loaded, profiles=profiles), model)


if __name__ == "__main__":
    cyclopts.run(main)
