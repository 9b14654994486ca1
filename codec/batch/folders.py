"""Which files of a folder are done, and what their results are called; work.py does them."""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from codec.errors import AudioError, LacunaError
from codec.text import printable

SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} | {
    *(".aif", ".aifc", ".oga", ".opus")
}
SUFFIXES -= {".raw"}  # without a header, so nobody knows the sample rate; often a photograph
"""Suffixes of the files that libsndfile reads; in lower case."""

OTHER_SUFFIXES = {
    *(".m4a", ".m4b", ".aac", ".wma", ".ac3", ".amr", ".ape", ".wv", ".tta", ".mka", ".mpc"),
    *(".dsf", ".dff", ".ra", ".spx"),
}
"""Suffixes of audio files that it does not read: they are named and counted, not passed over."""

AUDIO_SUFFIXES = SUFFIXES | OTHER_SUFFIXES


@dataclass(frozen=True)
class Job:
    """A file to read and the file to write; "-" is standard input and output."""

    source: str
    target: str


def find_files(
    folder: str | Path, suffixes: Collection[str], kind: str, outside: Path | None = None
) -> list[Path]:
    """All files below ``folder`` with one of the suffixes (in either case), sorted.

    Links are followed, to files and to folders; those that lead nowhere count as files, so that
    whoever opens them tells. Hidden files and folders are left out, and so is ``outside``.

    Raises:
        AudioError: no such folder, or no such file in it; ``kind`` names what was looked for.
    """
    root = Path(folder)
    if not root.is_dir():
        raise AudioError(f"'{printable(root)}' is not a folder, expected a folder of {kind}s")
    apart = None if outside is None else os.path.realpath(outside)
    paths = sorted(path for path in _walk(root, (), apart) if path.suffix.lower() in suffixes)
    if not paths:
        raise AudioError(
            f"no {kind} below '{printable(root)}'; looked for {', '.join(sorted(suffixes))}"
        )
    return paths


def _walk(folder: Path, above: tuple[str, ...], outside: str | None) -> Iterator[Path]:
    """Files, and links to nowhere, in a folder that lies in the folders ``above``."""
    real = os.path.realpath(folder)
    if real in above or real == outside:  # a link to where it lies would have no end
        return
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        warnings.warn(f"{printable(folder)} is left out: {error.strerror}", stacklevel=2)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(folder / entry.name, (*above, real), outside)
        elif entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path)):
            yield folder / entry.name


def find_audio(folder: str | Path) -> list[Path]:
    """All files below ``folder`` with a suffix that libsndfile reads, sorted.

    A warning names the audio files of other kinds, and links that lead nowhere.

    Raises:
        AudioError: no such folder, or no such file in it.
    """
    paths = find_files(folder, AUDIO_SUFFIXES, "audio file")
    usable, left_out = [], []
    for path in paths:
        if path.suffix.lower() in SUFFIXES and path.is_file():
            usable.append(path)
        else:
            left_out.append(printable(path))
    if not usable:
        raise AudioError(
            f"none of the {len(left_out)} audio files below '{printable(folder)}' can be read, "
            f"such as {left_out[0]}; convert them to WAV or FLAC first"
        )
    if left_out:
        more = f" and {len(left_out) - 5} more" if len(left_out) > 5 else ""
        warnings.warn(
            f"{len(left_out)} audio files are left out, which cannot be read or are not there: "
            f"{', '.join(left_out[:5])}{more}",
            stacklevel=2,
        )
    return usable


def plan(
    source: str, out_dir: Path, suffixes: Collection[str], kind: str, new_suffix: str
) -> list[Job]:
    """What to do for ``source``, a file or a folder, so that the results lie in ``out_dir``.

    Subfolders are kept. ``song.wav`` becomes ``song`` + ``new_suffix``; files whose results would
    have the same name all keep their own suffix in it: ``song.wav.lac`` and ``song.flac.lac``.
    Results below an ``out_dir`` that lies inside ``source`` are not taken for sources.

    Raises:
        AudioError: no such file in the folder.
    """
    root = Path(source)
    if not root.is_dir():
        return [Job(source, str(out_dir / Path(root.name).with_suffix(new_suffix)))]
    from_root = _relative_to(out_dir, root)
    outside = root / from_root if from_root and from_root.parts else None
    paths = find_files(root, suffixes, kind, outside)
    names = _distinct([path.relative_to(root) for path in paths], new_suffix)
    return [Job(str(path), str(out_dir / name)) for path, name in zip(paths, names, strict=True)]


def keep_originals(jobs: Sequence[Job], source: str) -> None:
    """See that --force does not replace audio that lies beside the .lac files, or below them.

    They may be what the .lac files were made from.

    Raises:
        LacunaError: a result would take the place of a file below ``source``, a folder, or in the
            folder of ``source``.
    """
    root = (Path(source) if Path(source).is_dir() else Path(source).parent).resolve()
    taken = [
        job.target
        for job in jobs
        # Not where a link leads: it is the name in the folder that counts.
        if os.path.lexists(job.target) and Path(job.target).parent.resolve().is_relative_to(root)
    ]
    if taken:
        raise LacunaError(
            f"{len(taken)} results would replace files that lie with the .lac files and may be "
            f"their originals, such as {taken[0]}; --force does not do that: give another --out-dir"
        )


def _relative_to(path: Path, root: Path) -> Path | None:
    path, root = path.resolve(), root.resolve()
    return path.relative_to(root) if path.is_relative_to(root) else None


def _distinct(names: list[Path], suffix: str) -> list[Path]:
    """Each name with ``suffix`` in the place of its own, or after it where two would be equal."""
    chosen = [name.with_suffix(suffix) for name in names]
    while True:  # again, since song.wav.lac may be the output for song.wav.wav
        uses = Counter(map(_as_a_disk_sees_it, chosen))
        renamed = [
            name.with_name(name.name + suffix) if uses[_as_a_disk_sees_it(taken)] > 1 else taken
            for name, taken in zip(names, chosen, strict=True)
        ]
        if renamed == chosen:
            return chosen
        chosen = renamed


def _as_a_disk_sees_it(path: Path) -> str:
    """Equal for names that are one file on some systems: Song.lac and song.lac."""
    return unicodedata.normalize("NFC", str(path)).casefold()
