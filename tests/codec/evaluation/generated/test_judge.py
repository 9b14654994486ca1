"""Judging generated audio, on sets whose difference is known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from codec_helpers import Lacuna, music
from torch import Tensor

from codec.api import Codec
from codec.errors import AudioError, LacunaError
from codec.evaluation.generated.classifier import cross_validate, fit, recognise, usable
from codec.evaluation.generated.embeddings import MAX_WINDOWS, Clip, embed, embed_folder
from codec.evaluation.generated.frechet import (
    KernelSums,
    WindowSet,
    compare_sets,
    frechet_distance,
    frechet_of_samples,
    shrunk_covariance,
)
from codec.evaluation.generated.judge import compare_envelopes, judge, judge_folders
from codec.evaluation.generated.labels import Labels
from codec.evaluation.generated.nearest import memorisation, nearest

RATE = 16_000


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def clip(seed: int, windows: int = 2, shift: float = 0.0, label: str | None = None) -> Clip:
    """Random embeddings of two kinds around ``shift``, all windows of one file alike."""
    own = normal(1, 6, seed=seed)
    values = shift + own + 0.1 * normal(windows, 6, seed=1000 + seed)
    return Clip(
        name=f"{seed}.wav",
        label=label,
        embeddings={"latents": values.float(), "log_mel": values[:, :3].float()},
        envelope=torch.full((64,), shift),
        queries=torch.zeros(0, 4, 8),
        starts=(),
        tracks=(),
    )


# --- distances


def test_frechet_distance_of_two_gaussians_is_the_closed_form():
    # Covariances that commute: |m|^2 + sum (s_x - s_y)^2 in their common axes.
    axes = torch.linalg.qr(normal(3, 3)).Q
    x, y = (axes @ torch.diag(torch.tensor(s).double()) @ axes.T for s in ([4, 1, 9], [1, 16, 0]))
    mean = torch.tensor([1.0, 2.0, 2.0]).double()
    assert frechet_distance(0 * mean, x, mean, y) == pytest.approx(9 + 1 + 9 + 9)
    assert frechet_distance(mean, x, mean, x) == pytest.approx(0, abs=1e-9)
    # In one dimension each: (1 - 3)^2 + (sqrt(2) - sqrt(8))^2.
    one = [torch.tensor([[v]]).double() for v in (1.0, 2.0, 3.0, 8.0)]
    assert frechet_distance(one[0][0], one[1], one[2][0], one[3]) == pytest.approx(4 + 2)


@pytest.mark.parametrize("windows", [20, 5000])
def test_frechet_distance_of_samples_is_zero_for_one_set_and_grows_with_a_shift(windows: int):
    x, y = normal(windows, 40), normal(windows, 40, seed=1)
    distances = [frechet_of_samples(x, y + shift) for shift in (0, 0.5, 1, 2)]
    assert frechet_of_samples(x, x) == pytest.approx(0, abs=1e-8)
    assert distances == sorted(distances)
    expected = distances[0] + 40 * 2**2
    assert distances[3] == pytest.approx(expected, rel=0.2)
    # With half as many windows as dimensions, too, two sets of one kind are near.
    assert distances[0] < 0.5 * distances[1] + (windows < 40) * 10


def test_shrinking_leaves_large_samples_alone_and_repairs_small_ones():
    truth = torch.linspace(0.5, 2, 30).double()
    large, small = (normal(n, 30) * truth.sqrt() for n in (20_000, 10))
    assert torch.allclose(shrunk_covariance(large), torch.diag(truth), atol=0.1)
    shrunk = shrunk_covariance(small)
    raw = small.T.cov(correction=0)
    assert torch.linalg.eigvalsh(shrunk)[0] > 0.05
    assert (shrunk - torch.diag(truth)).norm() < 0.6 * (raw - torch.diag(truth)).norm()


def kernel_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    """The distance of (windows, dimensions) that are taken for independent."""
    sums = KernelSums.of(*(WindowSet(v.double(), torch.arange(len(v))) for v in (x, y)))
    return sums.distance(torch.ones_like(sums.x_windows), torch.ones_like(sums.y_windows))


def test_kernel_distance_is_unbiased_and_sees_a_shift():
    halves = [
        kernel_distance(normal(60, 5, seed=s), normal(40, 5, seed=500 + s)) for s in range(99)
    ]
    error = np.std(halves) / math.sqrt(len(halves))
    assert abs(np.mean(halves)) < 3 * error
    assert min(halves) < 0
    assert kernel_distance(normal(60, 5), normal(40, 5, seed=1) + 1) > 10 * np.std(halves)


def test_kernel_distance_is_not_fooled_by_windows_of_one_file_that_are_alike():
    """As independent draws, the windows of 10 files would make sets of one kind seem apart."""
    right, wrong = [], []
    for seed in range(0, 600, 20):
        sets = []
        for first in (seed, seed + 10):
            values = torch.cat(
                [clip(s, windows=4).embeddings["latents"] for s in range(first, first + 10)]
            )
            sets.append(WindowSet(values.double(), torch.arange(10).repeat_interleave(4)))
        right.append(
            KernelSums.of(*sets).distance(torch.ones(10).double(), torch.ones(10).double())
        )
        wrong.append(kernel_distance(sets[0].values, sets[1].values))
    assert abs(np.mean(right)) < 3 * np.std(right) / math.sqrt(len(right))
    assert np.mean(wrong) > 6 * np.std(wrong) / math.sqrt(len(wrong))


def test_intervals_hold_the_value_and_tell_a_shifted_set_from_its_like():
    reference = [clip(s) for s in range(30)]
    same = compare_sets([clip(s) for s in range(30, 60)], reference)["latents"]
    other = compare_sets([clip(s, shift=2.0) for s in range(30, 60)], reference)["latents"]
    for distances in (same, other):
        for estimate in (distances.frechet, distances.kernel):
            assert estimate.low < estimate.value < estimate.high
    assert same.kernel.low < 0 < same.kernel.high
    assert other.kernel.low > same.kernel.high
    assert other.frechet.low > same.frechet.high


def test_too_few_files_are_an_error_that_counts_them():
    with pytest.raises(AudioError, match="reference has 3 usable audio files, expected 4"):
        compare_sets([clip(s) for s in range(5)], [clip(s) for s in range(3)])


# --- labels and spectra


def test_the_classifier_finds_classes_that_differ_and_guesses_those_that_do_not():
    apart = [clip(s, shift=6.0 * (s % 3), label="abc"[s % 3]) for s in range(30)]
    found = cross_validate(apart)
    assert (found.clips, found.labels, found.top1, found.top3) == (30, 3, 1.0, 1.0)
    alike = [clip(s, label="abcdefghij"[s % 10]) for s in range(60)]
    assert cross_validate(alike).top1 < 0.4
    swapped = [clip(100, shift=6.0, label="a"), clip(101, shift=6.0, label="b")]
    seen = recognise(fit(apart), [*swapped, clip(102, label="unheard of")])
    assert seen is not None
    assert (seen.clips, seen.top1) == (2, 0.5)


def test_rare_labels_count_as_much_as_frequent_ones():
    many = [clip(s, shift=6.0, label="frequent") for s in range(30)]
    few = [clip(100 + s, shift=-6.0, label="rare") for s in range(2)]
    wrong = clip(200, shift=6.0, label="rare")
    found = recognise(fit([*many, *few]), [*many, wrong])
    assert found is not None
    assert found.top1 == pytest.approx(0.5)


def test_training_clips_without_labels_are_an_error_that_lists_what_there_is():
    with pytest.raises(LacunaError, match=r"have these labels: none; expected two"):
        usable([clip(0), clip(1)])
    with pytest.raises(LacunaError, match=r"a \(2\), b \(1\)"):
        usable([clip(0, label="a"), clip(1, label="a"), clip(2, label="b")])


def test_labels_come_from_the_manifest_the_folder_or_the_name(tmp_path: Path):
    for name in ("valid/music/x.wav", "valid/music/y.wav", "made/sea_waves/1.wav", "made/b.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    table = tmp_path / "manifest.csv"
    table.write_text("path,class\nvalid/music/x.wav,sea_waves\nvalid/music/z.wav,sea\n")
    valid, made = tmp_path / "valid", tmp_path / "made"
    labels = Labels([valid, made], table)
    assert labels.of(valid / "music" / "x.wav", valid) == "sea_waves"
    assert labels.of(valid / "music" / "y.wav", valid) is None
    assert labels.of(made / "sea_waves" / "1.wav", made) == "sea_waves"
    for name, label in (("sea_waves-3", "sea_waves"), ("sea_07", "sea"), ("seal-1", None)):
        assert labels.of(made / f"{name}.wav", made) == label
    assert Labels([valid, made]).of(valid / "music" / "y.wav", valid) == "music"

    table.write_text("file,class\n")
    with pytest.raises(LacunaError, match="has the columns file, class; expected 'path'"):
        Labels([valid], table)


def test_envelopes_differ_by_the_gain_between_the_sets():
    generated = [clip(s, shift=3.0, label="a") for s in range(2)] + [clip(2, label="b")]
    reference = [clip(s, label="a") for s in range(4)]
    everything, only = compare_envelopes(generated, reference)
    assert (everything.label, everything.difference_db) == (None, pytest.approx(2.0))
    assert (only.label, only.generated_files, only.reference_files) == ("a", 2, 4)
    assert only.difference_db == pytest.approx(3.0)
    assert only.train_difference_db is None


# --- copies


def test_nearest_finds_the_place_and_agrees_with_looking_everywhere():
    tracks = [normal(4, n, seed=n).float() for n in (30, 50, 5)]
    queries = torch.stack([tracks[1][:, 17:25], normal(4, 8, seed=7).float()])
    found = nearest(queries, tracks)
    assert (found.track[0], found.frame[0]) == (1, 17)
    assert found.distance[0] < 1e-3

    def distance(track: Tensor, frame: int) -> float:
        w = track[:, frame : frame + 8]
        return float((queries[1] - w).norm() / (queries[1].norm() ** 2 + w.norm() ** 2).sqrt())

    everywhere = [distance(t, f) for t in tracks for f in range(t.shape[1] - 7)]
    assert float(found.distance[1]) == pytest.approx(min(everywhere), abs=1e-5)
    assert nearest(queries, tracks[2:]).distance.isinf().all()


def noise_clip(codec: Codec, seed: int, *, whole: bool = False) -> tuple[np.ndarray, Clip]:
    """Two seconds of chords that come and go at random."""
    rng = np.random.default_rng(seed)
    gates = np.repeat(rng.uniform(0, 1, 40), RATE // 20)
    sound = music(2, RATE, 1, seed) * gates + 0.05 * rng.standard_normal(2 * RATE) * gates[::-1]
    return sound, embed(codec, sound.astype(np.float32), f"{seed}.wav", None, whole=whole)


def test_memorisation_finds_a_copied_clip(tiny_codec: Codec):
    train = [noise_clip(tiny_codec, seed, whole=True) for seed in range(6)]
    clips = [c for _, c in train]
    reference = [noise_clip(tiny_codec, seed)[1] for seed in range(10, 16)]
    fresh = [noise_clip(tiny_codec, seed)[1] for seed in range(20, 26)]
    honest = memorisation(fresh, reference, clips, tiny_codec.frame_rate)
    assert not honest.suspicious
    assert honest.generated_least > 0.5 * honest.reference_least

    # Cut out somewhere, at a frame's border, and a little noise laid over it.
    sound = train[3][0][:, 10 * 128 :]
    sound = sound + 1e-3 * np.random.default_rng(9).standard_normal(sound.shape)
    copied = embed(tiny_codec, sound.astype(np.float32), "copy.wav", None)
    found = memorisation([*fresh, copied], reference, clips, tiny_codec.frame_rate)
    assert found.suspicious
    first = found.nearest[0]
    assert (first.file, first.train_file) == ("copy.wav", "3.wav")
    assert first.train_seconds == pytest.approx(10 * 128 / RATE)
    assert first.distance < 0.3 * honest.generated_least


# --- embeddings


def test_windows_are_those_of_the_whole_file_and_no_more_than_a_few(tiny_codec: Codec):
    sound = music(31, RATE, 2)
    windowed, whole = (embed(tiny_codec, sound, "x", None, whole=w) for w in (False, True))
    assert not windowed.tracks
    assert [track.shape for track in whole.tracks] == [(4, 3875)] * 2
    for key in ("latents", "log_mel"):
        assert len(windowed.embeddings[key]) == MAX_WINDOWS
        assert torch.allclose(windowed.embeddings[key], whole.embeddings[key], atol=1e-3)
    assert windowed.embeddings["log_mel"].shape[1] == 3 * 64
    assert windowed.embeddings["latents"].shape[1] == 3 * 4
    assert len(windowed.queries) == len(windowed.starts) == 2 * 2 * MAX_WINDOWS


def test_short_silent_and_double_sounds(tiny_codec: Codec):
    short = embed(tiny_codec, music(0.3, RATE, 1), "x", None)
    assert len(short.embeddings["latents"]) == 1
    assert len(short.queries) == 0
    assert len(embed(tiny_codec, np.zeros((1, 4 * RATE), np.float32), "x", None).queries) == 0
    mono = music(3, RATE, 1)
    double = embed(tiny_codec, np.repeat(mono, 2, axis=0), "x", None)
    assert torch.equal(
        double.embeddings["latents"], embed(tiny_codec, mono, "x", None).embeddings["latents"]
    )
    with pytest.raises(AudioError, match=r"0\.050 s of sound, expected 0\.1 s"):
        embed(tiny_codec, mono[:, :800], "x", None)


# --- the command


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real, training and generated rumbling and hissing, and hissing under both names."""
    root = tmp_path_factory.mktemp("judged")
    for number, name in enumerate(("real", "train", "made", "noise")):
        rng = np.random.default_rng(number)
        for place in range(8):
            label = ("low", "high")[place % 2]
            sound = rng.standard_normal(round(1.7 * RATE))
            if label == "low" and name != "noise":
                sound = np.convolve(sound, np.hanning(64), mode="same")
            sound *= rng.uniform(0.05, 0.2) / sound.std()
            path = root / name / f"{label}-{place}.wav"
            if name == "train":
                path = root / name / label / f"{place}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, sound, RATE)
    return root


def test_evaluate_judges_generated_audio(
    lacuna: Lacuna, tiny_path: Path, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("codec.evaluation.generated.frechet.BOOTSTRAPS", 5)
    (folders / "made" / "notes.wav").write_text("not audio")
    made, real, train = (folders / name for name in ("made", "real", "train"))
    options = ["--reference", real, "--train", train, "-m", tiny_path, "--out"]
    result = lacuna("evaluate", "--generated", made, *options, tmp_path / "a")
    (folders / "made" / "notes.wav").unlink()
    assert result.code == 0, result.stderr
    text = result.stdout.decode()
    assert (tmp_path / "a" / "generated.md").read_text(encoding="utf-8").strip() == text.strip()
    for line in ("| log_mel |", "| generated | 8 | 2 |", "| all files | 8 | 8 |", "notes.wav"):
        assert line in text
    stored = json.loads((tmp_path / "a" / "generated.json").read_text())
    assert stored["recognitions"]["held_out"]["top1"] == 1.0
    assert stored["recognitions"]["generated"]["top1"] == 1.0
    assert stored["memorisation"]["generated_pieces"] == 8

    assert lacuna("evaluate", "--generated", folders / "noise", *options, tmp_path / "b").code == 0
    noise = json.loads((tmp_path / "b" / "generated.json").read_text())
    assert noise["recognitions"]["generated"]["top1"] < 1.0
    # The kernel distance of eight files in the latents of an untrained network is all chance.
    for key in (("latents", "frechet"), ("log_mel", "frechet"), ("log_mel", "kernel")):
        ours, theirs = (r["distances"][key[0]][key[1]]["value"] for r in (stored, noise))
        assert theirs > ours


def test_bad_input_is_one_line(lacuna: Lacuna, tiny_path: Path, folders: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    real, made, out = folders / "real", folders / "made", ["--out", tmp_path / "r", "-m", tiny_path]
    both = ["evaluate", "--generated", made, "--reference"]
    assert "no audio file below" in lacuna.fails(*both, tmp_path / "empty", *out)
    assert "is not a folder" in lacuna.fails(*both, tmp_path / "missing", *out)
    assert "these labels: none" in lacuna.fails(*both, real, "--train", real, *out)
    assert "both and without" in lacuna.fails("evaluate", "--generated", made, *out)
    assert "both and without" in lacuna.fails(*both, real, real, *out)
    assert "nothing to evaluate" in lacuna.fails("evaluate", *out)
    assert "go with --generated" in lacuna.fails("evaluate", real, "--train", real, *out)
    assert "cannot read the manifest" in lacuna.fails(*both, real, "--manifest", "none.csv", *out)
    soundfile.write(tmp_path / "empty" / "one.wav", np.zeros(RATE), RATE)
    assert "has 1 usable audio files" in lacuna.fails(*both, tmp_path / "empty", *out)
    assert not (tmp_path / "r").exists()


def test_without_training_data_the_rest_is_still_told(
    tiny_codec: Codec, folders: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("codec.evaluation.generated.frechet.BOOTSTRAPS", 5)
    judgement = judge_folders(tiny_codec, folders / "made", folders / "real")
    assert judgement.recognitions is None
    assert judgement.memorisation is None
    assert [row.label for row in judgement.envelopes] == [None]
    clips, _ = embed_folder(tiny_codec, folders / "made", Labels([folders / "train"]))
    assert [row.label for row in judge(clips, clips, [], 125.0).envelopes] == [None, "high", "low"]
