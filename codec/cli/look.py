"""score and map: looking into the latent space."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from codec.cli.options import AsJson, Compute, Force, Model, expect_suffix, say, word
from codec.errors import LacunaError, install_hint
from codec.model.shipped import DEFAULT_MODEL
from codec.text import printable, printable_lines


def score(
    *sources: Annotated[
        str, Parameter(required=True), word("FILES", "Audio files, and folders of them.")
    ],
    model: Model = DEFAULT_MODEL,
    seconds: Annotated[
        float, Parameter(validator=Number(gt=0), help="Of each file's middle, which are scored.")
    ] = 30.0,
    as_json: AsJson = False,
    compute: Compute = Compute(),
) -> None:
    """Rank recordings by how unlikely they are, outliers first.

    Example: lacuna score recordings/ | head

    In nats per second and coded channel: what the latents cost, and how far the spectrum that
    they say is from the recording's, over a code that knows the power of every band: the length
    of a code in two parts (docs/EMBEDDING.md).
    """
    compute.use()
    codec = compute.load(model)
    from codec import audio
    from codec.batch.folders import find_audio
    from codec.errors import AudioError
    from codec.latent_space.score import Score
    from codec.latent_space.score import score as score_of
    from codec.progress import file_progress

    paths = [
        path
        for source in sources
        for path in (find_audio(source) if Path(source).is_dir() else [Path(source)])
    ]
    scores: list[tuple[Path, Score]] = []
    with file_progress("scoring") as progress:
        for done, path in enumerate(paths):
            progress(path.name, done, len(paths))
            try:
                waveform, sample_rate = audio.read(path)
                kept = min(waveform.shape[1], max(1, round(seconds * sample_rate)))
                start = (waveform.shape[1] - kept) // 2
                middle = waveform[:, start : start + kept]
                at_rate = audio.resample(middle, sample_rate, codec.sample_rate)
                scores.append((path, score_of(codec, at_rate)))
            except AudioError as error:
                if len(paths) == 1:
                    raise
                say(f"lacuna: left out: {error}")
    if not scores:
        raise LacunaError(f"none of the {len(paths)} files can be scored")
    scores.sort(key=lambda item: -item[1].total)
    if as_json:
        rows = [
            {"file": str(path), "total": s.total, "latents": s.latents, "misfit": s.misfit}
            for path, s in scores
        ]
        print(json.dumps({"model": codec.config.name, "scores": rows}))
        return
    print(f"{'total':>8} {'latents':>8} {'misfit':>8}  nats per second, outliers first")
    for path, s in scores:
        print(f"{s.total:8.0f} {s.latents:8.0f} {s.misfit:8.0f}  {printable(path)}")


def map_(
    folder: Annotated[Path, word("DIR", "Folder of audio; its sub-folders are labels.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The picture, a .png file.", metavar="PNG")],
    model: Model = DEFAULT_MODEL,
    force: Force = False,
    compute: Compute = Compute(),
) -> None:
    """Draw a folder's latents as a map, and say what can be read from them.

    Example: lacuna map recordings/ --out map.png

    A point is a file: the mean, deviation and change of its latents. The map shows principal
    components, and UMAP where umap-learn is installed. A linear probe then guesses the label of
    files that it was not fitted to, from latents and, as a control, from mel statistics; that
    needs scikit-learn.
    """
    expect_suffix(str(out), ".png")
    if out.exists() and not force:  # an error before the work
        raise LacunaError(f"{printable(out)} already exists; use --force to replace it")
    compute.use()
    codec = compute.load(model)
    from codec.latent_space.folder import draw_folder, read_folder
    from codec.latent_space.probe import probe
    from codec.progress import file_progress

    with file_progress("encoding") as progress:
        read = read_folder(codec, folder, progress)
    for reason in read.skipped:
        say(f"lacuna: left out: {reason}")
    title = f"{len(read.names)} files, latents of '{codec.config.name}'"
    share = draw_folder(read, title, out, force=force)
    say(f"{out}: {len(read.names)} files; two principal components show {share:.0%} of variance")
    if importlib.util.find_spec("sklearn") is None:
        say(f"lacuna: no probe: it needs scikit-learn; {install_hint('measures')}")
        return
    try:
        result = probe(read.vectors, read.labels)
    except LacunaError as error:
        say(f"lacuna: no probe: {error}")
        return
    lines = [
        f"a linear probe on {result.files} files of {result.labels} labels, cross-validated "
        f"(standard error {result.standard_error:.0%}):",
        *(f"  {share:4.0%}  {name}" for name, share in result.accuracy.items()),
        f"  {result.chance:4.0%}  chance: always the commonest label",
    ]
    print(printable_lines("\n".join(lines)))
