"""The evaluation of a folder: what is measured, what is skipped, what is written."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from codec_helpers import Lacuna as Command
from codec_helpers import music

from codec import audio
from codec.api import Codec
from codec.errors import AudioError
from codec.evaluation.codecs.evaluate import (
    EXAMPLE_SECONDS,
    Evaluation,
    Lacuna,
    bootstrap_mean,
    evaluate,
)
from codec.evaluation.codecs.peers import RoundTrip
from codec.evaluation.codecs.report import write_report


class HalfAsLoud:
    """A codec that needs no program: 1000 bytes, and 6 dB less."""

    codec = "opus"
    kbps = 16.0

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> RoundTrip:
        return RoundTrip(0.5 * waveform, 1000, 0.01, 0.02)


class Broken(HalfAsLoud):
    def __call__(self, waveform: np.ndarray, sample_rate: int) -> RoundTrip:
        raise AudioError("it broke; mend it")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for kind, rate, channels in (("music", 44100, 2), ("speech", 16000, 1)):
        (folder / kind).mkdir()
        audio.write(folder / kind / "clip.wav", music(1.0, rate, channels), rate)
    (folder / "notes.txt").write_text("not audio")
    (folder / "broken.wav").write_text("not audio either")
    return folder


@pytest.fixture(scope="module")
def evaluation(tiny_codec: Codec, folder: Path) -> Evaluation:
    coders = [Lacuna(8.0, lambda name: tiny_codec, "tiny"), HalfAsLoud(), Broken()]
    return evaluate(folder, coders, tiny_codec)


def test_every_file_and_codec_gets_a_row_and_the_rest_is_named(evaluation: Evaluation):
    found = [(row.file, row.kind, row.codec, row.asked_kbps) for row in evaluation.rows]
    assert found == [
        ("music/clip.wav", "music", "lacuna", 8.0),
        ("music/clip.wav", "music", "opus", 16.0),
        ("speech/clip.wav", "speech", "lacuna", 8.0),
        ("speech/clip.wav", "speech", "opus", 16.0),
    ]
    assert "broken.wav" in evaluation.skipped[0]
    assert [reason.partition(":")[0] for reason in evaluation.skipped[1:]] == [
        "music/clip.wav, opus at 16 kbps",
        "speech/clip.wav, opus at 16 kbps",
    ]


def test_the_numbers_are_those_of_the_files(evaluation: Evaluation, tiny_codec: Codec):
    ours, louder = evaluation.rows[0], evaluation.rows[1]
    assert ours.model == f"tiny ({tiny_codec.latent_id})"
    assert 0 < ours.kbps <= 8 * 5  # a clip of 1 s may use the bytes of one of 5 s
    assert louder.kbps == pytest.approx(8.0)  # 1000 bytes in a second
    assert louder.band_error_db == pytest.approx(6.02, abs=0.1)
    assert louder.si_sdr > 40
    assert louder.compress_speed == pytest.approx(100)
    assert louder.visqol is None


def test_a_group_has_a_mean_of_every_measure_that_its_files_have(evaluation: Evaluation):
    group = evaluation.groups[1]
    assert (group.kind, group.codec, group.asked_kbps, group.files) == ("music", "opus", 16.0, 1)
    assert group.means["mel_distance"].value == pytest.approx(evaluation.rows[1].mel_distance)
    assert "visqol" not in group.means
    assert not group.distances  # of fewer than four files there is none


def test_sets_of_files_have_a_frechet_distance(tiny_codec: Codec, tmp_path: Path):
    for number in range(4):
        audio.write(tmp_path / f"{number}.wav", music(0.5, 16000, 1, seed=number), 16000)
    (group,) = evaluate(tmp_path, [HalfAsLoud()], tiny_codec).groups
    assert group.kind == "all"
    assert group.distances["log_mel"].frechet.value > 0


def test_examples_are_stretches_of_the_same_place(evaluation: Evaluation):
    music_clip = evaluation.examples[0]
    assert [row.codec for row, _ in music_clip.decoded] == ["lacuna", "opus"]
    assert music_clip.original.shape == (2, min(44100, round(44100 * EXAMPLE_SECONDS)))
    np.testing.assert_array_equal(music_clip.decoded[1][1], 0.5 * music_clip.original)


def test_without_a_model_the_rate_per_channel_chooses_one(
    tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch
):
    asked: list[float] = []
    monkeypatch.setattr(
        "codec.evaluation.codecs.evaluate.models_for_rate",
        lambda kbps: asked.append(kbps) or ["small"],
    )
    coder = Lacuna(8.0, lambda name: tiny_codec)
    coder(music(0.5, 16000, 2), 16000)
    assert asked == [4.0]


def test_an_unreachable_rate_is_a_reason_and_not_an_end(tiny_codec: Codec, folder: Path):
    coders = [Lacuna(rate, lambda name: tiny_codec, "tiny") for rate in (0.01, 8.0)]
    skipped = evaluate(folder, coders, tiny_codec).skipped
    assert sum("0.01 kbps is below" in reason for reason in skipped) == 2


def test_a_folder_without_audio_is_an_error(tiny_codec: Codec, folder: Path, tmp_path: Path):
    with pytest.raises(AudioError, match="no audio file below"):
        evaluate(tmp_path, [HalfAsLoud()], tiny_codec)
    with pytest.raises(AudioError, match="not a folder"):
        evaluate(tmp_path / "missing", [HalfAsLoud()], tiny_codec)
    with pytest.raises(AudioError, match="nothing below"):
        evaluate(folder, [Broken()], tiny_codec)


def test_the_tables_hold_the_rows_and_groups(evaluation: Evaluation, tmp_path: Path):
    text = write_report(evaluation, ["a note"], tmp_path)
    with open(tmp_path / "evaluation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [row.file for row in evaluation.rows]
    assert rows[0]["visqol"] == ""
    stored = json.loads((tmp_path / "evaluation.json").read_text())
    assert stored["rows"][0]["mel_distance"] == evaluation.rows[0].mel_distance
    assert stored["groups"][1]["means"]["kbps"]["value"] == pytest.approx(8.0)
    assert stored["notes"] == ["a note"]
    assert (tmp_path / "evaluation.md").read_text() == text
    assert "| music | opus | 16 | 8.00 | 1 |" in text
    assert "a note" in text
    assert evaluation.rows[0].model in text
    assert "broken.wav" in text
    assert "ViSQOL" not in text  # nothing has one


def test_the_page_stands_alone_and_holds_every_sound(evaluation: Evaluation, tmp_path: Path):
    write_report(evaluation, ["<b>a note</b>"], tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count('src="data:audio/flac;base64,') == 2 * 3
    assert page.count('src="data:image/png;base64,') == 2 * 3
    assert page.count("<svg") == 2  # mel and STFT distance: the other measures have no values
    assert "&lt;b&gt;a note" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page.replace("xlink:", ""))


def test_the_command_names_what_it_leaves_out(
    lacuna: Command, tiny_path: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))  # no program is there
    arguments = ["evaluate", folder, "--kbps", 8, "--against", "opus,mp3", "-m", tiny_path]
    result = lacuna(*arguments, "--perceptual-seconds", 0, "--out", tmp_path / "report")
    assert result.code == 0, result.stderr
    assert "opus is left out: the program opusenc and opusdec" in result.stderr
    assert "mp3 is left out: the program lame is not installed" in result.stderr
    assert b"mp3 is left out" in result.stdout
    assert (tmp_path / "report" / "report.html").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--kbps", "six"], "--kbps 'six'"),
        (["--kbps", "0"], "--kbps '0'"),
        (["--against", "ogg"], "opus, mp3, aac"),
        (["--against", "opus:much"], "opus:much"),
    ],
)
def test_the_command_refuses(
    lacuna: Command, folder: Path, tmp_path: Path, options: list[str], expected: str
):
    assert expected in lacuna.fails("evaluate", folder, "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_bootstrap_interval_covers_the_mean_and_shrinks_with_more_files():
    values = np.random.default_rng(1).normal(5, 1, 400)
    many, few = bootstrap_mean(values), bootstrap_mean(values[:10])
    assert many.low < values.mean() < many.high
    assert many.high - many.low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert few.high - few.low > many.high - many.low
