"""Sounds and pictures beside the page: every clip, whatever its name, and every codec."""

from __future__ import annotations

import os
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from codec_helpers import music
from PIL import Image

from codec import audio
from codec.errors import AudioError
from codec.evaluation.codecs import evaluate as evaluation_module
from codec.evaluation.codecs.evaluate import Evaluation, evaluate
from codec.evaluation.codecs.media import slug
from codec.evaluation.codecs.peers import RoundTrip
from codec.evaluation.codecs.report import write_report

SCRIPT = "<script>alert('1')</script>"
NAMES = ["a/clip.wav", "b/clip.wav", f"b/{SCRIPT.replace('/', '')}.wav", "b/Überfühlt 音.wav"]
NAMES += ['b/x" onerror="y.wav', "b/%2e%2e#?.wav", "b/-.wav", "b/" + 40 * "long " + ".wav"]
NAMES += [os.fsdecode(b"b/latin-\xe9.wav")]
SYSTEMS = ["original", "noise", "comb", "opus"]


class HalfAsLoud:
    """A codec that needs no program; it fails with sounds of 8 kHz."""

    codec = "opus"
    kbps = 12.0

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> RoundTrip:
        if sample_rate == 8000:
            raise AudioError("8 kHz is not for it")
        return RoundTrip(0.5 * waveform, 1000, 0.01, 0.02)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for name in [*NAMES, "c/failing.wav"]:
        rate = 8000 if name.startswith("c/") else 16000
        (folder / name).parent.mkdir(exist_ok=True)
        audio.write(folder / "sound.wav", music(0.5, rate, 1), rate)
        (folder / "sound.wav").rename(folder / name)
    (folder / "broken<i>.wav").write_text("not audio")
    return folder


@pytest.fixture(scope="module")
def evaluation(folder: Path) -> Evaluation:
    evaluation = evaluate(folder, [HalfAsLoud()], out=folder / "report")
    write_report(evaluation, [], folder / "report")
    return evaluation


@pytest.fixture(scope="module")
def page(folder: Path, evaluation: Evaluation) -> str:
    return (folder / "report" / "report.html").read_text(encoding="utf-8")


def test_every_clip_has_its_pictures_and_players_and_their_files_are_there(
    folder: Path, evaluation: Evaluation, page: str
):
    assert len(evaluation.rows) == len(NAMES) * len(SYSTEMS) + 3
    clips = page.split('id="clips"')[1].split("<h2>Files")[0].split("<h3>")[1:]
    names = [unescape(clip.split("</h3>")[0]) for clip in clips]
    escaped = [name.encode("utf-8", "backslashreplace").decode() for name in NAMES]
    assert sorted(names) == sorted([*escaped, "c/failing.wav"])
    seen = set()
    for name, clip in zip(names, clips, strict=True):
        captions = re.findall("<figcaption>([a-z]+)", clip)
        coded = [] if name == "c/failing.wav" else ["opus"]
        assert captions == ["original", *coded, "noise", "comb"]
        pictures = re.findall('<img loading="lazy" src="([^"]*)"', clip)
        sounds = re.findall('<audio controls preload="none" src="([^"]*)"', clip)
        assert (len(pictures), len(sounds)) == (2 * len(captions), len(captions))
        for link in [*pictures, *sounds]:
            assert re.fullmatch("[A-Za-z0-9/.-]+", link)
            assert (folder / "report" / link).is_file()
            seen.add(link)
        for link in pictures:
            Image.open(folder / "report" / link).verify()
        original, _ = audio.read(folder / "report" / sounds[0])
        assert original.shape[1] in (4000, 8000)
        if coded:
            decoded, _ = audio.read(folder / "report" / sounds[1])
            np.testing.assert_allclose(decoded, 0.5 * original, atol=1e-4)
    assert len(seen) == 3 * len(evaluation.rows)


def test_no_name_reaches_the_page_raw_and_the_page_is_small(page: str):
    assert page.count("<script>") == 1  # its own
    assert "alert(&#x27;1&#x27;)" in page
    assert 'onerror="' not in page
    assert "base64" not in page
    assert len(page) < 100_000


def test_what_fails_is_still_named(page: str):
    skipped = page.split("<h2>Skipped</h2>")[1]
    assert "c/failing.wav, opus at 12 kbps: 8 kHz is not for it" in skipped
    assert "broken&lt;i&gt;.wav" in skipped


@pytest.fixture
def two_clips(tmp_path: Path) -> Path:
    for name in "ab":
        audio.write(tmp_path / f"{name}.wav", music(0.5, 16000, 1), 16000)
    return tmp_path


def test_a_report_inside_the_folder_is_not_evaluated(two_clips: Path):
    once, again = (evaluate(two_clips, [HalfAsLoud()], out=two_clips) for _ in range(2))
    assert [row.media for row in again.rows] == [row.media for row in once.rows]
    assert {row.file for row in again.rows} == {"a.wav", "b.wav"}


def test_a_sound_is_written_before_the_next_is_made(two_clips: Path):
    class Watching(HalfAsLoud):
        def __call__(self, waveform: np.ndarray, sample_rate: int) -> RoundTrip:
            counts.append(len(list(two_clips.rglob("*.flac"))))
            return super().__call__(waveform, sample_rate)

    counts: list[int] = []
    evaluate(two_clips, [Watching()], out=two_clips)
    assert counts == [3, 7]


def test_a_clip_that_cannot_be_written_is_named_and_its_measures_stay(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*arguments: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(evaluation_module, "write_media", full)
    evaluation = evaluate(folder / "a", [HalfAsLoud()], out=tmp_path)
    assert [row.codec for row in evaluation.rows] == SYSTEMS
    assert len(evaluation.skipped) == len(SYSTEMS)
    assert "clip.wav, opus at 12 kbps: measured, but not on the page:" in evaluation.skipped[3]
    write_report(evaluation, [], tmp_path)
    assert "<audio" not in (tmp_path / "report.html").read_text()


def test_slugs():
    assert slug("music/Überfühlt - No. 1.wav") == "music-Uberfuhlt-No-1-wav"
    assert slug("../音<b>") == "b"
    assert slug("音") == ""
    assert len(slug(300 * "x")) == 60
