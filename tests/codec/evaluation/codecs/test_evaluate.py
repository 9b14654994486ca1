"""The evaluation of a folder: what is measured, what is skipped, what is compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from codec_helpers import Lacuna as Command
from codec_helpers import music

from codec import audio
from codec.api import Codec, Models
from codec.errors import AudioError
from codec.evaluation.codecs.evaluate import Evaluation, Lacuna, evaluate, matched
from codec.evaluation.codecs.peers import RoundTrip

SYSTEMS = ["original", "noise", "comb", "opus", "lacuna"]


class HalfAsLoud:
    """A codec that needs no program: 1000 bytes, and 6 dB less."""

    codec = "opus"
    kbps = 12.0

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> RoundTrip:
        return RoundTrip(0.5 * waveform, 1000, 0.01, 0.02)


class Broken(HalfAsLoud):
    codec = "mp3"

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> RoundTrip:
        raise AudioError("it broke; mend it")


class Surprising(HalfAsLoud):
    codec = "aac"

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> RoundTrip:
        raise IndexError("3")


class Shortened(HalfAsLoud):
    codec = "mp3"

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> RoundTrip:
        return RoundTrip(waveform[:, : -self.samples], 1000, 0.01, 0.02)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for kind, rate, channels in (("music", 44100, 2), ("speech", 16000, 1)):
        (folder / kind).mkdir()
        audio.write(folder / kind / "clip.wav", music(1.0, rate, channels), rate)
    audio.write(folder / "music" / "short.wav", music(1.0, 44100, 1)[:, :1024], 44100)
    audio.write(folder / "music" / "one.wav", music(1.0, 44100, 1)[:, :1], 44100)
    (folder / "notes.txt").write_text("not audio")
    (folder / "broken.wav").write_text("not audio either")
    return folder


@pytest.fixture(scope="module")
def evaluation(tiny_path: Path, folder: Path) -> Evaluation:
    own = Lacuna(8.0, Models(tiny_path))
    return evaluate(folder, [HalfAsLoud(), Broken(), Surprising(), own])


def test_every_file_goes_through_the_controls_and_every_codec(evaluation: Evaluation):
    found = [(row.file, row.kind, row.codec) for row in evaluation.rows]
    files = [("music/clip.wav", "music"), ("speech/clip.wav", "speech")]
    assert found == [(*file, codec) for file in files for codec in SYSTEMS]


def test_files_and_codecs_that_fail_are_named_and_the_rest_goes_on(evaluation: Evaluation):
    skipped = "\n".join(evaluation.skipped)
    assert "broken.wav" in skipped
    assert "music/short.wav: 1024 samples, 0.023 s, are too few" in skipped
    assert "music/one.wav: 1 samples" in skipped
    for file in ("music/clip.wav", "speech/clip.wav"):
        assert f"{file}, mp3 at 12 kbps: it broke; mend it" in skipped
        assert f"{file}, aac at 12 kbps: unexpected IndexError: 3" in skipped
    assert len(evaluation.skipped) == 3 + 4


def test_the_numbers_are_those_of_the_files(evaluation: Evaluation, tiny_codec: Codec):
    rows = dict(zip(SYSTEMS, evaluation.rows, strict=False))
    assert rows["lacuna"].model == f"tiny ({tiny_codec.coding_id})"
    assert rows["lacuna"].kbps is not None
    assert 0 < rows["lacuna"].kbps <= 8 * 5  # a clip of 1 s may use the bytes of one of 5 s
    assert rows["opus"].kbps == pytest.approx(8.0)  # 1000 bytes in a second
    assert rows["opus"].compress_speed == pytest.approx(100)
    values = rows["opus"].values
    assert values["level_125"] == pytest.approx(-6.02, abs=0.01)
    assert values["si_sdr_125"] > 50
    assert values["tonal_recall"] == 1.0
    assert values["side_0-1 kHz"] == pytest.approx(0.0, abs=1e-3)
    assert "visqol" not in values


def test_the_original_is_without_fault_and_the_controls_are_not(evaluation: Evaluation):
    original, noise, comb = evaluation.rows[:3]
    assert (original.kbps, original.asked_kbps, noise.compress_speed) == (None, None, None)
    assert original.values["mel_distance"] == 0
    assert original.values["buzz_off"] == 0
    assert original.values["tonal_recall"] == 1
    assert noise.values["tonal_recall"] < 0.3
    assert comb.values["comb_1024"] > 0.9
    assert comb.values["comb_1024_off"] > 0.8


def test_mono_has_no_image(evaluation: Evaluation):
    assert all("side_0-1 kHz" not in row.values for row in evaluation.rows if row.channels == 1)


def test_a_group_has_a_mean_of_every_measure_that_its_files_have(evaluation: Evaluation):
    group = evaluation.groups[3]
    assert (group.kind, group.codec, group.asked_kbps, group.files) == ("music", "opus", 12.0, 1)
    assert group.means["mel_distance"] == pytest.approx(evaluation.rows[3].values["mel_distance"])
    assert "visqol" not in group.means
    assert group.intervals == {}  # of fewer than four files there are none


def test_only_the_middle_is_coded_and_judged(tmp_path: Path):
    sound = music(4.0, 16000, 1)
    audio.write(tmp_path / "a.wav", sound, 16000)
    coded: list[np.ndarray] = []

    class Recorder(HalfAsLoud):
        def __call__(self, waveform: np.ndarray, sample_rate: int) -> RoundTrip:
            coded.append(waveform)
            return super().__call__(waveform, sample_rate)

    row = evaluate(tmp_path, [Recorder()], seconds=2.0).rows[-1]
    np.testing.assert_allclose(coded[0], sound[:, 16000:-16000], atol=1e-4)
    assert row.seconds == 2.0
    assert row.kbps == pytest.approx(4.0)  # 1000 bytes


def test_some_samples_fewer_are_cut_off_and_noted_and_lost_sound_is_an_error(folder: Path):
    found = evaluate(folder, [Shortened(100), Shortened(40_000)])
    short = [row for row in found.rows if row.codec == "mp3"]
    assert [row.file for row in short] == ["music/clip.wav", "speech/clip.wav"]
    assert short[0].values["mel_distance"] == 0
    assert found.cut[0] == (
        "music/clip.wav, mp3 at 12 kbps: 100 samples shorter than the original: compared "
        "without the rest"
    )
    assert any("it decoded to 0.093 s, expected the original's 1.000 s" in s for s in found.skipped)


def test_matched_refuses_other_channels_and_cuts_what_is_too_long():
    stereo = music(1.0, 16000, 2)
    with pytest.raises(AudioError, match="decoded to 1 channels, expected the original's 2"):
        matched(stereo[:1], stereo, 16000)
    longer, original, note = matched(np.pad(stereo, ((0, 0), (0, 70))), stereo, 16000)
    assert longer.shape == original.shape == stereo.shape
    assert note.startswith("70 samples longer")
    shorter, original, note = matched(stereo[:, :-1], stereo, 16000)
    assert (shorter.shape, original.shape, note) == ((2, 15999), (2, 15999), "")
    assert matched(stereo, stereo, 16000)[2] == ""


def test_an_unreachable_rate_is_a_reason_and_not_an_end(tiny_path: Path, folder: Path):
    coders = [Lacuna(rate, Models(tiny_path)) for rate in (0.01, 8.0)]
    skipped = evaluate(folder, coders).skipped
    assert sum("0.01 kbps is below" in reason for reason in skipped) == 2


def test_a_folder_without_audio_is_an_error(folder: Path, tmp_path: Path):
    with pytest.raises(AudioError, match="no audio file below"):
        evaluate(tmp_path, [HalfAsLoud()])
    with pytest.raises(AudioError, match="not a folder"):
        evaluate(tmp_path / "missing", [HalfAsLoud()])
    with pytest.raises(AudioError, match="nothing below"):
        evaluate(folder, [Broken()])


def test_the_command_names_what_it_leaves_out(
    lacuna: Command, tiny_path: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))  # no program is there
    arguments = ["evaluate", folder, "--kbps", 8, "--against", "opus,mp3", "-m", tiny_path]
    result = lacuna(*arguments, "--signal-only", "--out", tmp_path / "report")
    assert result.code == 0, result.stderr
    assert "opus is left out: the program opusenc and opusdec" in result.stderr
    assert "mp3 is left out: the program lame is not installed" in result.stderr
    text = " ".join(result.stdout.decode().split())
    assert "mp3 is left out" in text
    assert "Without opus at 12 kbps nothing says which of these measures can rank" in text
    assert "music/short.wav: 1024 samples" in text
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("<audio") == 2 * 4  # clips; original, noise, comb, lacuna


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


@pytest.mark.parametrize(
    ("module", "options"), [("scipy", ["."]), ("sklearn", ["--generated", ".", "--reference", "."])]
)
def test_a_missing_package_is_told_before_the_work(
    lacuna: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, options: list
):
    found = "codec.cli.extra.importlib.util.find_spec"
    monkeypatch.setattr(found, lambda name: None if name == module else object())
    message = lacuna.fails("evaluate", *options, "--out", tmp_path / "out")
    assert f"evaluation needs {module}" in message
    assert 'pip install ".[evaluate]"' in message
