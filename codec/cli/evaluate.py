"""evaluate: codecs, and generated audio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from codec.cli.options import Compute, Model, say, word
from codec.errors import LacunaError
from codec.model.shipped import DEFAULT_MODEL
from codec.text import printable_lines

Folder = Annotated[Path | None, Parameter(metavar="DIR", group="Generated audio")]


def evaluate(
    folder: Annotated[Path | None, word("DIR", "Folder of audio to compress.")] = None,
    /,
    *,
    out: Annotated[
        Path, Parameter(help="Folder for the report: .html, .md, .json and more.", metavar="DIR")
    ],
    kbps: Annotated[str, Parameter(help="Rates to try, with commas between.")] = "3,6",
    against: Annotated[
        str,
        Parameter(
            help="Other codecs, with commas between: opus, mp3, aac; opus:16 for a rate in kbps."
        ),
    ] = "opus",
    seconds: Annotated[
        float,
        Parameter(
            validator=Number(gte=1), help="Of each file's middle, which are coded and judged."
        ),
    ] = 10.0,
    signal_only: Annotated[
        bool,
        Parameter(help="Without the slow measures: Zimtohrli, PESQ, ESTOI, DNSMOS, ViSQOL."),
    ] = False,
    generated: Annotated[Folder, Parameter(help="Instead: generated audio to judge.")] = None,
    reference: Annotated[Folder, Parameter(help="Real audio to judge it by.")] = None,
    train: Annotated[
        Folder, Parameter(help="What it was trained on: looks for copies, learns the labels.")
    ] = None,
    manifest: Annotated[
        Path | None,
        Parameter(
            group="Generated audio",
            metavar="CSV",
            help="A table with 'path' and 'class': labels.",
            show_default="folder names",
        ),
    ] = None,
    model: Model = DEFAULT_MODEL,
    compute: Compute = Compute(),
) -> None:
    """Measure what compression loses, or how far generated audio is from real audio.

    Example: lacuna evaluate recordings/ --kbps 2,3,6 --against opus,mp3 --out report/

    or: lacuna evaluate --generated made/ --reference valid/ --train train/ --out report/

    Classes are the subfolders of DIR; those in 'speech' are judged as speech. A rate counts all
    bytes, container included. --kbps are Lacuna's; the others have rates of their own:
    --against opus,mp3 is opus:8,opus:12,opus:16,opus:24,mp3:48,mp3:64 (aac: 48 and 64). They need
    the programs opusenc and opusdec, lame, ffmpeg; measures of listeners' judgement need
    `pip install ".[evaluate]"` in a checkout. What is missing is named and left out.

    Many files, unattended, on one core:
    `OMP_NUM_THREADS=1 nohup lacuna evaluate DIR --threads 1 --out report/ > evaluate.log 2>&1 &`
    """
    from codec.cli.extra import require
    from codec.progress import file_progress

    if generated is not None or reference is not None:
        if generated is None or reference is None or folder is not None:
            raise LacunaError(
                "generated audio is judged with --generated DIR and --reference DIR, both and "
                "without another folder"
            )
        require("evaluation", "evaluate", "sklearn")
        compute.use()
        from codec.evaluation.generated import judge as judging

        codec = compute.load(model)
        with file_progress("judging") as progress:
            judgement = judging.judge_folders(
                codec, generated, reference, train=train, manifest=manifest, progress=progress
            )
        print(printable_lines(judging.write_report(judgement, codec, out)))
        return
    if folder is None:
        raise LacunaError(
            "nothing to evaluate; name a folder of audio, or --generated and --reference"
        )
    if train is not None or manifest is not None:
        raise LacunaError("--train and --manifest go with --generated and --reference only")
    require("evaluation", "evaluate", "scipy")
    compute.use()
    from codec.api import Models
    from codec.evaluation.codecs.evaluate import Lacuna
    from codec.evaluation.codecs.evaluate import evaluate as run_evaluation
    from codec.evaluation.codecs.peers import Coder, installed, parse_peers
    from codec.evaluation.codecs.perceptual import Perceptual
    from codec.evaluation.codecs.report import write_report
    from codec.lac.rate import RateTarget

    try:
        rates = [float(rate) for rate in kbps.split(",")]
        for rate in rates:
            RateTarget(rate)
    except ValueError:
        raise LacunaError(
            f"--kbps '{kbps}': expected numbers above 0 with commas between, as in 3,6"
        ) from None
    peers, notes = installed(parse_peers(against))
    judge = None if signal_only else Perceptual()
    notes.append(f"{seconds:g} s in the middle of each file are coded and judged.")
    notes += judge.notes if judge is not None else []
    for note in notes:
        say(f"lacuna: {note}")
    out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made fails before the work
    models = Models(model, compute.device)
    coders: list[Coder] = [*peers, *(Lacuna(rate, models) for rate in rates)]
    with file_progress("evaluating") as progress:
        evaluation = run_evaluation(folder, coders, judge, seconds, progress, out)
    print(printable_lines(write_report(evaluation, notes, out)))
