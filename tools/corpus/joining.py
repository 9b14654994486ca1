"""Short clips of one kind, one after the other in files of about two minutes."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from corpus.disk import raise_if_full
from corpus.measure import Measured
from corpus.recordings import Recording, Report

SHORT = 12.0  # seconds; what is longer stays a file of its own
TARGET = 120.0
MIN_JOINED = 4.0
PAUSE = 0.25
_EDGE = 1e-3  # of a clip's peak: what is softer at its ends is cut off


@dataclass(frozen=True)
class Joined:
    """A list of clips that make one file, and its name without the folder."""

    name: str
    clips: tuple[Recording, ...]

    def summary(self) -> Recording:
        """The joined file as one recording, with all its clips' licences and authors."""
        first = self.clips[0]
        licences = {part for clip in self.clips for part in clip.licence.split(" AND ")}
        authors = dict.fromkeys(name for clip in self.clips for name in clip.author.split("; "))
        return replace(
            first,
            source=f"{first.source.partition(':')[0]}: {len(self.clips)} clips, see clips.csv",
            licence=" AND ".join(sorted(licences)),
            author="; ".join(name for name in authors if name),
        )


def group_clips(
    recordings: list[Recording], report: Report
) -> tuple[list[Recording], list[Joined]]:
    """Recordings that stay as they are, and the files that the short ones make.

    Only clips of one group, class, split, sample rate and number of channels go together.
    """
    whole, heaps = [], defaultdict(list)
    for recording in recordings:
        if recording.measured.seconds >= SHORT:
            whole.append(recording)
        else:
            facts = recording.measured
            heaps[
                recording.split, recording.group, recording.kind, facts.sample_rate, facts.channels
            ].append(recording)
    joined = []
    for (_, group, kind, _, _), clips in heaps.items():
        for portion in _portions(clips):
            if sum(clip.measured.seconds for clip in portion) < MIN_JOINED:
                for _ in portion:
                    report.drop(group, "too few to join")
                continue
            marks = "".join(clip.measured.digest for clip in portion)
            digest = hashlib.sha256(marks.encode()).hexdigest()[:8]
            joined.append(Joined(f"{group}_{kind}_{digest}.flac", tuple(portion)))
    return whole, joined


def _portions(clips: list[Recording]) -> Iterator[list[Recording]]:
    portion: list[Recording] = []
    seconds = 0.0
    for clip in clips:
        portion.append(clip)
        seconds += clip.measured.seconds + PAUSE
        if seconds >= TARGET:
            yield portion
            portion, seconds = [], 0.0
    if portion:
        yield portion


def write_joined(joined: Joined, target: Path) -> tuple[list[float], Measured]:
    """Write the clips to `target` as FLAC, unless it is there.

    Nothing is resampled; silent edges are cut and 0.25 s of silence put between. Returns the
    seconds at which each clip begins, and the file's measurements (those of its widest clip).
    """
    parts: list[NDArray[np.float32]] = []
    starts, at = [], 0
    rate = joined.clips[0].measured.sample_rate
    for clip in joined.clips:
        samples, _ = soundfile.read(clip.file, dtype="float32", always_2d=True)
        loud = np.flatnonzero(np.abs(samples).max(axis=1) > _EDGE * clip.measured.peak)
        samples = samples[loud[0] : loud[-1] + 1]
        pause = np.zeros((round(PAUSE * rate), samples.shape[1]), np.float32)
        starts.append(at / rate)
        parts += [samples, pause]
        at += len(samples) + len(pause)
    if not target.exists():
        write_flac(target, np.clip(np.concatenate(parts), -1, 1), rate)
    all_facts = [clip.measured for clip in joined.clips]
    facts = replace(
        all_facts[0],
        seconds=round(at / rate, 3),
        peak=max(facts.peak for facts in all_facts),
        bandwidth_hz=max(facts.bandwidth_hz for facts in all_facts),
        digest=target.stem.rpartition("_")[2],
        words="",
    )
    return starts, facts


def write_flac(target: Path, samples: NDArray[np.float32], rate: int) -> None:
    """All of it or nothing; raises OSError (ENOSPC) when the disk is full."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.stem}.part.flac")
    try:
        soundfile.write(part, samples, rate)
        part.replace(target)
    except soundfile.SoundFileError as error:
        raise_if_full(target.parent)
        raise ValueError(f"cannot write {target}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def place(recording: Recording, target: Path, link: bool) -> None:
    """The file itself at `target`: a hard link where that can be, or else a copy."""
    if target.exists() and target.stat().st_size == recording.file.stat().st_size:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if link:
        try:
            target.hardlink_to(recording.file)
            return
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
    part = target.with_name(f".{target.name}.part")
    try:
        shutil.copyfile(recording.file, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def file_name(recording: Recording) -> str:
    """GROUP_NAME.SUFFIX, from the file's own name and its folder's, plain letters only."""
    words = [*recording.file.parts[-2:-1], recording.file.stem]
    name = re.sub(r"[^A-Za-z0-9]+", "_", "_".join(words)).strip("_").lower()
    return f"{recording.group}_{name}{recording.file.suffix.lower()}"
