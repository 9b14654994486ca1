"""Notes with known pitches: random but musical pieces, played from a free soundfont.

Each file is one program of General MIDI (one instrument) playing for about half a minute: single
notes over its range, scales, chords of a progression, or a melody above a bass. Beside NAME.flac
lie NAME.mid, what was played, and NAME.csv, one row a note: start and end in seconds (note on and
note off; the sound rings on after it), pitch (MIDI number), frequency in Hz (equal temperament,
A4 = 440 Hz) and velocity. Piece number i is a function of i alone, so a stopped run goes on.
"""

from __future__ import annotations

import csv
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mido
import soundfile

from corpus.disk import raise_if_full
from corpus.joining import write_flac

SAMPLE_RATE = 44100
SECONDS = 30.0  # of one piece, about
RING = 1.5  # seconds kept after the last note
SOUNDFONTS = (Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"),)
TICKS = 480

# General MIDI level 1: eight programs a family; percussive and sound effects have no clear pitch.
FAMILIES = (
    "piano", "chromatic_percussion", "organ", "guitar", "bass", "strings", "ensemble",
    "brass", "reed", "pipe", "synth_lead", "synth_pad", "synth_effects", "ethnic",
)  # fmt: skip
# lowest and highest pitch that sounds natural, by family
RANGES = {
    "piano": (28, 100),
    "chromatic_percussion": (48, 96),
    "guitar": (40, 84),
    "bass": (28, 60),
    "strings": (36, 88),
    "brass": (40, 79),
    "reed": (46, 84),
    "pipe": (60, 93),
}
MODES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "pentatonic": (0, 2, 4, 7, 9),
}
PROGRESSIONS = ((0, 4, 5, 3), (0, 3, 4, 0), (5, 3, 0, 4), (0, 5, 1, 4), (0, 2, 3, 4))


@dataclass(frozen=True)
class Note:
    """One note: start and duration in seconds, pitch as MIDI number, velocity 1 to 127."""

    start: float
    seconds: float
    pitch: int
    velocity: int


def _scale(root: int, mode: tuple[int, ...], low: int, high: int) -> list[int]:
    return [pitch for pitch in range(low, high + 1) if (pitch - root) % 12 in mode]


def _single(rng: random.Random, low: int, high: int, beat: float) -> Iterator[Note]:
    """Notes alone, anywhere in the range, short and long, soft and loud."""
    start = 0.0
    while start < SECONDS:
        seconds = beat * rng.choice((1, 2, 2, 4))
        yield Note(start, seconds * 0.9, rng.randint(low, high), rng.randint(40, 120))
        start += seconds + rng.choice((0.0, 0.0, beat))


def _scales(rng: random.Random, pitches: list[int], beat: float) -> Iterator[Note]:
    """Runs up and down the scale, by steps or by thirds."""
    start, at = 0.0, rng.randrange(len(pitches))
    while start < SECONDS:
        step, velocity = rng.choice((-2, -1, 1, 2)), rng.randint(60, 110)
        seconds = beat * rng.choice((0.25, 0.5, 0.5, 1))
        for _ in range(rng.randint(5, 12)):
            at += step
            if not 0 <= at < len(pitches):
                step = -step
                at += 2 * step
            yield Note(start, seconds, pitches[at], velocity)
            start += seconds


def _chords(rng: random.Random, pitches: list[int], degrees: int, beat: float) -> Iterator[Note]:
    """Triads and sevenths of a progression, struck together or one after the other."""
    start, progression = 0.0, rng.choice(PROGRESSIONS)
    octaves = max(1, (len(pitches) - 7) // degrees)
    turn = 0
    while start < SECONDS:
        base = progression[turn % 4] + degrees * rng.randrange(octaves)
        chord = [
            pitches[base + third]
            for third in (0, 2, 4, 6)[: rng.choice((3, 3, 4))]
            if base + third < len(pitches)
        ]
        velocity, spread = rng.randint(55, 105), rng.choice((0.0, 0.0, 0.02, beat / 2))
        seconds = max(beat * rng.choice((2, 4)), beat + spread * len(chord))
        for place, pitch in enumerate(chord):
            yield Note(start + place * spread, seconds - place * spread, pitch, velocity)
        start += seconds
        turn += 1


def _melody(rng: random.Random, pitches: list[int], degrees: int, beat: float) -> Iterator[Note]:
    """A line that moves by small steps in the upper half, above one bass note a bar."""
    progression, bar, turn = rng.choice(PROGRESSIONS), 4 * beat, 0
    at = 2 * len(pitches) // 3
    while turn * bar < SECONDS:
        bass = pitches[progression[turn % 4] % degrees]
        yield Note(turn * bar, bar * 0.95, bass, rng.randint(50, 90))
        start = turn * bar
        while start < (turn + 1) * bar - 1e-6:
            left = (turn + 1) * bar - start
            seconds = min(left, beat * rng.choice((0.5, 0.5, 1, 1, 1.5, 2)))
            if rng.random() > 0.1:
                at += rng.choice((-3, -2, -1, -1, 0, 1, 1, 2, 3))
                at = min(max(at, len(pitches) // 3), len(pitches) - 1)
                velocity = rng.randint(60, 115)
                yield Note(start, seconds * 0.95, pitches[at], velocity)
            start += seconds
        turn += 1


def compose(number: int) -> tuple[int, str, list[Note]]:
    """Piece `number`: (program of General MIDI from 0, family, notes in order of start)."""
    rng = random.Random(f"lacuna midi {number}")
    program = (number * 37) % (8 * len(FAMILIES))  # 37 and 112 share no factor: all take turns
    family = FAMILIES[program // 8]
    low, high = RANGES.get(family, (40, 88))
    root, mode = rng.randrange(12), MODES[rng.choice(list(MODES))]
    pitches = _scale(root, mode, low, high)
    beat = 60 / rng.uniform(60, 150)
    kind = rng.choice(("single", "scales", "chords", "chords", "melody", "melody"))
    if kind == "single":
        notes = list(_single(rng, low, high, beat))
    elif kind == "scales":
        notes = list(_scales(rng, pitches, beat))
    elif kind == "chords":
        notes = list(_chords(rng, pitches, len(mode), beat))
    else:
        notes = list(_melody(rng, pitches, len(mode), beat))
    return program, family, sorted(notes, key=lambda note: (note.start, note.pitch))


def to_midi(program: int, notes: list[Note]) -> mido.MidiFile:
    """The notes as a standard MIDI file of one track, 120 beats a minute."""
    events = [(note.start, True, note) for note in notes]
    events += [(note.start + note.seconds, False, note) for note in notes]
    events.sort(key=lambda event: (event[0], event[1]))  # note off before note on
    track = mido.MidiTrack([mido.Message("program_change", program=program)])
    at = 0
    for seconds, on, note in events:
        tick = round(seconds * TICKS * 2)
        velocity = note.velocity if on else 0
        track.append(
            mido.Message("note_on", note=note.pitch, velocity=velocity, time=max(0, tick - at))
        )
        at = max(at, tick)
    track.append(mido.MetaMessage("end_of_track", time=round(RING * TICKS * 2)))
    return mido.MidiFile(ticks_per_beat=TICKS, tracks=[track])


def find_soundfont() -> Path:
    """The soundfont and fluidsynth itself, or an error that says how to get them."""
    present = [path for path in SOUNDFONTS if path.exists()]
    if not present or shutil.which("fluidsynth") is None:
        raise FileNotFoundError(
            "--midi needs fluidsynth and a soundfont at "
            f"{SOUNDFONTS[0]}: apt-get install fluidsynth fluid-soundfont-gm"
        )
    return present[0]


def render(number: int, folder: Path, soundfont: Path) -> Path:
    """Piece `number` in `folder` as .flac, .mid and .csv; what is there already stays.

    The .flac is moved to its name last, so that it is whole and has its labels where it exists.
    Raises OSError (ENOSPC) when the disk is full, ValueError when fluidsynth fails.
    """
    program, family, notes = compose(number)
    stem = folder / f"notes_{family}_{number:05d}"
    target = stem.with_suffix(".flac")
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    song = stem.with_suffix(".mid")
    to_midi(program, notes).save(song)
    with stem.with_suffix(".csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["start", "end", "pitch", "hz", "velocity", "program"])
        for note in notes:
            hz = 440.0 * 2 ** ((note.pitch - 69) / 12)
            times = f"{note.start:.4f}", f"{note.start + note.seconds:.4f}"
            writer.writerow([*times, note.pitch, f"{hz:.3f}", note.velocity, program])
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        wave = Path(scratch) / "piece.wav"
        command = ["fluidsynth", "-ni", "-q", "-g", "0.5", "-r", str(SAMPLE_RATE)]
        command += ["-F", str(wave), str(soundfont), str(song)]
        run = subprocess.run(command, check=False, capture_output=True, text=True)
        last = max(note.start + note.seconds for note in notes)
        needed = round((last + RING) * SAMPLE_RATE)
        samples, rate = soundfile.read(wave, dtype="float32", always_2d=True, frames=needed)
        if run.returncode or len(samples) < 0.99 * needed:
            raise_if_full(folder)
            raise ValueError(f"fluidsynth cannot play {song}: {run.stderr.strip()}")
        write_flac(target, samples, rate)
    return target
