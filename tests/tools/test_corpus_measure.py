"""tools/corpus/measure.py, duplicates.py: bandwidth, and recordings that are known again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus.duplicates import find_matches
from corpus.measure import WORDS_PER_SECOND, bandwidth, fingerprint, measure
from corpus_helpers import RATE, narrow, sound


def test_bandwidth_is_where_the_sound_ends() -> None:
    noise = sound(1, 5)
    assert bandwidth(noise, RATE) == RATE // 2
    assert bandwidth(narrow(noise), RATE) == pytest.approx(RATE / 8, abs=200)
    assert bandwidth(np.zeros(RATE, np.float32), RATE) == 0
    assert bandwidth(noise[:100], RATE) > 0  # shorter than a frame


def test_a_file_is_measured_whole(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    stereo = np.stack([sound(1, 6), -0.5 * sound(2, 6)], axis=1)
    soundfile.write(path, stereo, RATE)
    facts = measure(path)
    assert (facts.seconds, facts.sample_rate, facts.channels) == (6.0, RATE, 2)
    assert facts.peak == pytest.approx(0.5, abs=1e-3)
    assert len(facts.fingerprint()) == pytest.approx(6 * WORDS_PER_SECOND, abs=12)
    again = tmp_path / "again.flac"
    soundfile.write(again, *soundfile.read(path))
    assert measure(again).digest == facts.digest
    soundfile.write(again, stereo[:, ::-1], RATE)
    assert measure(again).digest != facts.digest


def test_an_excerpt_is_found_where_it_was_cut_even_from_a_lossy_copy(tmp_path: Path) -> None:
    whole, other = sound(1, 40), sound(2, 40)
    start = 15.123
    excerpt = whole[round(start * RATE) :][: 10 * RATE]
    soundfile.write(tmp_path / "lossy.ogg", 0.3 * excerpt, RATE)
    lossy, _ = soundfile.read(tmp_path / "lossy.ogg", dtype="float32")
    marks = [fingerprint(samples, RATE) for samples in (other, whole, lossy)]
    (match,) = find_matches(marks)
    assert (match.first, match.second) == (1, 2)
    assert match.seconds == pytest.approx(start, abs=0.1)


def test_silence_and_nothing_match_nothing() -> None:
    silence = fingerprint(np.zeros(20 * RATE, np.float32), RATE)
    nothing = fingerprint(np.zeros(0, np.float32), RATE)
    assert not find_matches([silence, silence, nothing])
    assert not find_matches([])
