"""tools/corpus/midi.py: pieces that are the same each time, with labels that are true."""

from __future__ import annotations

import csv
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus import midi


def test_piece_number_i_is_always_the_same_and_no_two_are() -> None:
    assert midi.compose(3) == midi.compose(3)
    pieces = [midi.compose(number) for number in range(112)]
    assert len({program for program, _, _ in pieces}) == 112  # every program once
    assert len({tuple(notes) for _, _, notes in pieces}) == 112


def test_notes_are_within_their_instruments_range_and_length() -> None:
    for number in range(112):
        _, family, notes = midi.compose(number)
        low, high = midi.RANGES.get(family, (40, 88))
        assert notes == sorted(notes, key=lambda note: (note.start, note.pitch))
        assert midi.SECONDS / 2 < notes[-1].start < midi.SECONDS + 12
        for note in notes:
            assert low <= note.pitch <= high
            assert 1 <= note.velocity <= 127
            assert note.seconds > 0


def test_the_midi_file_plays_what_the_labels_say() -> None:
    program, _, notes = midi.compose(2)
    at, played, programs = 0.0, [], []
    for message in midi.to_midi(program, notes):  # iterates in seconds
        at += message.time
        if message.type == "program_change":
            programs.append(message.program)
        if message.type == "note_on" and message.velocity:
            played.append((at, message.note, message.velocity))
    assert programs == [program]
    assert len(played) == len(notes)
    for (start, pitch, velocity), note in zip(
        sorted(played), sorted(notes, key=lambda n: (round(n.start, 3), n.pitch)), strict=True
    ):
        assert start == pytest.approx(note.start, abs=2e-3)
        assert 0 < velocity <= 127
        assert pitch in {other.pitch for other in notes if abs(other.start - start) < 5e-3}


def test_without_fluidsynth_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(midi.shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match="apt-get install fluidsynth fluid-soundfont-gm"):
        midi.find_soundfont()


@pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not midi.SOUNDFONTS[0].exists(),
    reason="no fluidsynth or soundfont here",
)
def test_what_is_heard_has_the_pitches_of_the_labels(tmp_path: Path) -> None:
    soundfont = midi.find_soundfont()
    number = next(n for n in range(200) if midi.compose(n)[1] == "pipe" and _alone(n))
    path = midi.render(number, tmp_path, soundfont)
    samples, rate = soundfile.read(path)
    with path.with_suffix(".csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    right = 0
    rows = rows[:20]
    for row in rows:
        start, end = (round(float(row[name]) * rate) for name in ("start", "end"))
        middle = samples[start + (end - start) // 4 : end].mean(axis=1)
        power = np.abs(np.fft.rfft(middle * np.hanning(len(middle)))) ** 2
        hz = np.fft.rfftfreq(len(middle), 1 / rate)
        near = [abs(np.log2(hz[1:] / (float(row["hz"]) * k))) < 0.02 for k in range(1, 9)]
        right += power[1:][np.any(near, axis=0)].sum() > 0.8 * power[1:][hz[1:] > 30].sum()
    assert right >= 0.9 * len(rows) > 9
    before = path.stat().st_mtime_ns
    assert midi.render(number, tmp_path, soundfont) == path
    assert path.stat().st_mtime_ns == before


def _alone(number: int) -> bool:
    """Whether the piece's notes follow one another and last long enough to be measured."""
    _, _, notes = midi.compose(number)
    pairs = pairwise(notes)
    return all(a.start + a.seconds <= b.start + 1e-6 for a, b in pairs) and len(notes) < 60
