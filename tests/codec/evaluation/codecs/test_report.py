"""What is written about an evaluation: tables, verdicts, marks, pictures and sounds."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from codec_helpers import music
from PIL import Image

from codec.evaluation.codecs.comparison import blind, compare
from codec.evaluation.codecs.evaluate import Evaluation, Row, _group
from codec.evaluation.codecs.report import write_report
from codec.metrics.pictures import partials_figure, spectrogram_png

SYSTEMS = [("original", None), ("noise", None), ("comb", None), ("opus", 12.0), ("lacuna", 6.0)]
VISQOL = {"original": 4.7, "noise": 4.3, "comb": 4.2, "opus": 3.7, "lacuna": 4.4}
RECALL = {"original": 1.0, "noise": 0.05, "comb": 0.2, "opus": 0.8, "lacuna": 0.5}


def row(file: int, codec: str, kbps: float | None) -> Row:
    off = 0.0 if codec == "original" else 0.2
    spread = 0.01 * file
    values = {
        "tonal_recall": RECALL[codec] - spread,
        "visqol": VISQOL[codec] + spread,
        "buzz": 0.06 + off,
        "buzz_off": off,
        "modulation": off,
        "level_1000": -1.5,
        "si_sdr_1000": -20.0,
        "side_0-1 kHz": -8.0,
    }
    speed = None if kbps is None else 10.0
    return Row(
        f"music/{file}.wav", "music", codec, "", kbps, kbps, 1.0, 2, speed, speed, False, values
    )


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    rows = [row(file, *system) for file in range(5) for system in SYSTEMS]
    groups = [_group([r for r in rows if r.codec == codec]) for codec, _ in SYSTEMS]
    return Evaluation(rows, groups, compare(rows), blind(rows), ["broken.wav: <not audio>"], [])


@pytest.fixture(scope="module")
def report(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    assert write_report(evaluation, ["<b>a note</b>"], out) == (out / "evaluation.md").read_text()
    return out


def section(text: str, title: str) -> list[str]:
    return text.split(f"### {title}\n")[1].split("##")[0].splitlines()


def test_a_blind_measure_is_marked_where_it_stands(report: Path):
    lines = section((report / "evaluation.md").read_text(), "Quality")
    assert "| codec | kbps | tonal recall | ViSQOL (blind) |" in lines
    text = " ".join(lines)
    reason = "music: ViSQOL ranks the control noise (4.32) above opus at 12 kbps (3.72)"
    assert reason in text
    assert all(len(line) <= 100 for line in lines if not line.startswith("|"))


def test_original_controls_and_codecs_stand_in_every_table(report: Path):
    text = (report / "evaluation.md").read_text()
    for title in ("Quality", "Texture"):
        codecs = [line.split(" | ")[0] for line in section(text, title) if line.startswith("| ")]
        assert codecs[1:] == ["| original", "| noise", "| comb", "| opus at 12", "| lacuna at 6"]
    for title in ("Level by octave", "SI-SDR by octave", "Stereo image"):
        codecs = [line.split(" | ")[0] for line in section(text, title) if line.startswith("| ")]
        assert codecs[1:] == ["| noise", "| comb", "| opus at 12", "| lacuna at 6"]


def test_texture_is_shown_with_its_distance_to_the_original(report: Path):
    lines = section((report / "evaluation.md").read_text(), "Texture")
    assert "| codec | kbps | buzz | modulation off (dB) |" in lines
    assert "| original |  | 0.06 | 0.00 |" in lines
    assert "| lacuna at 6 | 6.00 | 0.26 (off 0.20) | 0.20 |" in lines


def test_verdicts_have_their_intervals(report: Path):
    lines = section((report / "evaluation.md").read_text(), "Ahead, even or behind")
    (verdict,) = [line for line in lines if line.startswith("| 6 | opus at 12 |")]
    assert "behind -0.30 (-0.30 to -0.30)" in verdict
    assert "ahead +0.70 (+0.70 to +0.70)" in verdict
    assert "even +0.00" in verdict


def test_the_summary_claims_nothing_by_a_blind_measure(report: Path):
    lines = (report / "evaluation.md").read_text().splitlines()
    assert "| class | Lacuna kbps | against | ahead in | even in | behind in | texture |" in lines
    assert "| music | 6 | opus at 12 | - | - | tonal recall | 0, 2, 0 |" in lines


def test_the_tables_hold_the_rows_and_groups(report: Path, evaluation: Evaluation):
    with open(report / "evaluation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["file"] for r in rows] == [r.file for r in evaluation.rows]
    assert rows[0]["pesq"] == ""
    assert float(rows[4]["visqol"]) == pytest.approx(4.4)
    stored = json.loads((report / "evaluation.json").read_text())
    assert stored["rows"][4]["values"]["visqol"] == pytest.approx(4.4)
    assert stored["groups"][4]["means"]["visqol"] == pytest.approx(4.42)
    assert stored["comparisons"][0]["verdict"] == "behind"
    assert "Infinity" not in (report / "evaluation.json").read_text()
    assert "broken.wav" in (report / "evaluation.md").read_text()


def test_the_page_needs_no_network_and_holds_nothing_raw(report: Path):
    page = (report / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2  # of the measures of quality that have values
    assert "ViSQOL (blind)" in page
    assert "music (blind)" in page
    assert "&lt;b&gt;a note" in page
    assert "&lt;not audio&gt;" in page
    assert not re.search(r"(src|href)=\"(?!#)", page.replace("xlink:", ""))


def test_a_partial_is_a_line_in_the_picture():
    t = np.arange(44100) / 44100
    tone = 0.5 * np.sin(2 * np.pi * 3000 * t, dtype=np.float32)[None]
    picture = np.array(Image.open(io.BytesIO(spectrogram_png(tone, tone, 44100, 6000.0))))
    height = picture.shape[0]
    brightest = picture[:, picture.shape[1] // 2].argmax()
    assert brightest == pytest.approx(height / 2, abs=2)  # 3 of 6 kHz
    assert np.sort(picture[:, picture.shape[1] // 2])[height // 2] == 0
    silent = np.array(Image.open(io.BytesIO(spectrogram_png(0 * tone, tone, 44100))))
    assert silent.max() == 0


def test_the_figure_has_a_row_for_each_clip_and_a_column_for_each_sound():
    sound = music(1.0, 16000, 1)
    titled = [("original", sound), ("Lacuna", sound), ("Opus", sound)]
    figure = partials_figure([("music", 16000, titled), ("speech", 16000, titled)])
    assert [axis.get_title() for axis in figure.axes[:3]] == ["original", "Lacuna", "Opus"]
    assert len(figure.axes) == 6
