"""The evaluation of a folder: what is measured, what is skipped, what is written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from codec import audio
from codec.codec import Codec
from codec.errors import AudioError
from codec.evaluation.evaluate import bootstrap_interval, evaluate, write_report


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for kind, rate, channels in (("music", 44100, 2), ("speech", 16000, 1)):
        (tmp_path / "in" / kind).mkdir(parents=True)
        sound = 0.1 * rng.standard_normal((channels, rate)).astype(np.float32)
        audio.write(tmp_path / "in" / kind / "clip.wav", sound, rate)
    (tmp_path / "in" / "notes.txt").write_text("not audio")
    return tmp_path / "in"


def test_every_file_and_rate_gets_a_row_and_the_rest_is_named(tiny_codec: Codec, folder: Path):
    rows, skipped = evaluate(tiny_codec, folder, [4.0, 8.0])
    found = [(row.file, row.kind, row.asked_kbps) for row in rows]
    assert found == [
        ("music/clip.wav", "music", 4.0),
        ("music/clip.wav", "music", 8.0),
        ("speech/clip.wav", "speech", 4.0),
        ("speech/clip.wav", "speech", 8.0),
    ]
    assert len(skipped) == 1
    assert "notes.txt" in skipped[0]
    for row in rows:
        assert row.kbps > 0
        assert row.mel_distance > 0
        assert row.compress_speed > 0


def test_an_unreachable_rate_is_a_reason_and_not_an_end(tiny_codec: Codec, folder: Path):
    _, skipped = evaluate(tiny_codec, folder, [0.01, 8.0])
    assert sum("0.01 kbps is below" in reason for reason in skipped) == 2


def test_a_folder_without_audio_is_an_error(tiny_codec: Codec, tmp_path: Path):
    with pytest.raises(AudioError, match="nothing below"):
        evaluate(tiny_codec, tmp_path, [6.0])
    with pytest.raises(AudioError, match="not a folder"):
        evaluate(tiny_codec, tmp_path / "missing", [6.0])


def test_the_report_holds_the_rows_in_three_formats(
    tiny_codec: Codec, folder: Path, tmp_path: Path
):
    rows, skipped = evaluate(tiny_codec, folder, [8.0])
    text = write_report(rows, skipped, tiny_codec, tmp_path / "report")
    with open(tmp_path / "report" / "evaluation.csv", newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [row.file for row in rows]
    stored = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    assert stored[0]["mel_distance"] == rows[0].mel_distance
    assert (tmp_path / "report" / "evaluation.md").read_text() == text
    assert "| music | 8 |" in text
    assert "notes.txt" in text


def test_bootstrap_interval_covers_the_mean_and_shrinks_with_more_files():
    values = np.random.default_rng(1).normal(5, 1, 400)
    low, high = bootstrap_interval(values)
    few_low, few_high = bootstrap_interval(values[:10])
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert few_high - few_low > high - low
