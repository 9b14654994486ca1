"""Crops: which files they come from, what is done to them, and that an index fixes them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from codec.audio import to_mid_side
from codec.errors import AudioError, LacunaError
from codec.network.config import ModelConfig
from codec.training.config import DataConfig
from codec.training.data import AudioSource, find_audio, open_source, split_files

RATE = 16_000
PLAIN = DataConfig(crop_seconds=0.1, gain_db=(0.0, 0.0), side_share=0.0)
STEP_16_BIT = 1 / 32767


def write(path: Path, sound: np.ndarray, rate: int = RATE) -> Path:
    """(channels, time) to a file that keeps float32 exactly, FLAC apart."""
    subtype = "PCM_16" if path.suffix == ".flac" else "FLOAT"
    soundfile.write(path, sound.T, rate, subtype=subtype)
    return path


def noise(channels: int, samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal((channels, samples))).astype("f4")


def tones(channels: int, seconds: float, rate: int) -> np.ndarray:
    """Low tones, the same sound at every sample rate."""
    time = np.arange(round(seconds * rate)) / rate
    return np.stack([0.3 * np.sin(2 * np.pi * (150 + 40 * c) * time) for c in range(channels)])


@pytest.fixture
def source(tiny_model: ModelConfig) -> Callable[..., AudioSource]:
    def make(paths: list[Path], config: DataConfig = PLAIN, **options: object) -> AudioSource:
        arguments = {"model": tiny_model, "seed": 0, "device": torch.device("cpu"), **options}
        return open_source(paths, config=config, **arguments)  # type: ignore[arg-type]

    return make


def magnitude(waveform: Tensor) -> Tensor:
    """Crops are inverted at random; up to that they are compared."""
    return waveform * torch.sign(waveform.flatten(1).gather(1, _peaks(waveform)))[:, :, None]


def _peaks(waveform: Tensor) -> Tensor:
    return waveform.flatten(1).abs().argmax(dim=1, keepdim=True)


def test_unusable_files_are_skipped_and_named_once(
    tmp_path: Path, source: Callable[..., AudioSource]
) -> None:
    good = write(tmp_path / "good.wav", noise(1, RATE))
    write(tmp_path / "silent.wav", np.zeros((2, RATE)))
    write(tmp_path / "short.wav", noise(1, RATE // 20))
    (tmp_path / "broken.flac").write_bytes(b"this is not audio")
    (tmp_path / "empty.mp3").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no audio suffix, not even looked at")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        opened = source(find_audio(tmp_path))
        opened.batch(range(20))

    assert [file.path for file in opened.files] == [good]
    (warning,) = caught
    message = str(warning.message)
    assert "skipped 4 files" in message
    for name in ("silent.wav", "short.wav", "broken.flac", "empty.mp3"):
        assert message.count(name) == 1
    assert "notes" not in message
    assert "good" not in message


def test_nothing_usable(tmp_path: Path, source: Callable[..., AudioSource]) -> None:
    with pytest.raises(AudioError, match="no audio file"):
        find_audio(tmp_path)
    with pytest.raises(AudioError, match="is not a folder"):
        find_audio(tmp_path / "nowhere")
    silent = write(tmp_path / "silent.wav", np.zeros((1, RATE)))
    with pytest.warns(UserWarning, match="silent"), pytest.raises(AudioError, match="no usable"):
        source([silent])


def test_manifest_selects_and_labels(tmp_path: Path, source: Callable[..., AudioSource]) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.wav", "b.wav", "deep/c.wav"):
        write(tmp_path / name, noise(1, RATE))
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("label,path\nbell,a.wav\npiano,deep/c.wav\n", encoding="utf-8-sig")

    opened = source(find_audio(tmp_path), manifest=manifest)

    assert {f.path.name: f.labels for f in opened.files} == {
        "a.wav": {"label": "bell"},
        "c.wav": {"label": "piano"},
    }


def test_bad_manifests(tmp_path: Path, source: Callable[..., AudioSource]) -> None:
    paths = [write(tmp_path / "a.wav", noise(1, RATE))]
    manifest = tmp_path / "manifest.csv"
    with pytest.raises(LacunaError, match="cannot read the manifest"):
        source(paths, manifest=manifest)
    manifest.write_bytes(b"path\n\xff\xfe.wav\n")
    with pytest.raises(LacunaError, match="cannot read the manifest"):
        source(paths, manifest=manifest)
    manifest.write_text("file,label\na.wav,x\n")
    with pytest.raises(LacunaError, match="'path' column"):
        source(paths, manifest=manifest)
    manifest.write_text("path\nother.wav\n")
    with pytest.raises(AudioError, match="manifest names none"):
        source(paths, manifest=manifest)


def test_side_signal_of_a_mono_part_is_silence(
    tmp_path: Path, source: Callable[..., AudioSource]
) -> None:
    partly_mono = noise(2, 2 * RATE)
    partly_mono[1, : RATE + RATE // 2] = partly_mono[0, : RATE + RATE // 2]
    path = write(tmp_path / "partly_mono.wav", partly_mono)
    batch = source([path], DataConfig(crop_seconds=0.2, side_share=0.5)).batch(range(40))
    assert batch.waveform.abs().amax(dim=(1, 2)).min() == 0.0


def test_file_that_was_cut_short_is_used_as_far_as_it_goes(
    tmp_path: Path, source: Callable[..., AudioSource]
) -> None:
    """A crop that needs its last sample: soundfile alone fails on reading that of a FLAC."""
    sound = noise(1, 4 * RATE)
    path = write(tmp_path / "cut.flac", sound)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    config = DataConfig(crop_seconds=2.5, gain_db=(0.0, 0.0))

    opened = source([path], config)

    samples = opened.files[0].samples
    assert RATE < samples < 2.5 * RATE
    crop = opened.batch([0]).waveform
    expected = torch.zeros_like(crop)
    expected[0, 0, :samples] = torch.from_numpy(sound[0, :samples])
    torch.testing.assert_close(magnitude(crop), magnitude(expected), rtol=0, atol=STEP_16_BIT)


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_other_sample_rates(rate: int, tmp_path: Path, source: Callable[..., AudioSource]) -> None:
    expected = source([write(tmp_path / "16k.wav", tones(1, 2.0, RATE))])
    other = source([write(tmp_path / "other.wav", tones(1, 2.0, rate), rate)])

    assert other.files[0].samples == 2 * RATE
    difference = expected.batch(range(8)).waveform - other.batch(range(8)).waveform
    assert difference[..., 200:-200].abs().max() < 1e-3


def test_index_fixes_the_crop(audio_folder: Path, source: Callable[..., AudioSource]) -> None:
    opened = source(find_audio(audio_folder), DataConfig(crop_seconds=0.1))
    batch = opened.batch([5, 900, 7])
    again = opened.batch([7, 5, 900])

    assert batch.index.tolist() == [5, 900, 7]
    torch.testing.assert_close(batch.waveform[[2, 0, 1]], again.waveform, rtol=0, atol=0)
    assert len({opened.crop(i).start for i in range(50)}) > 40
    other_seed = source(find_audio(audio_folder), DataConfig(crop_seconds=0.1), seed=1)
    assert not torch.equal(other_seed.batch([5]).waveform, opened.batch([5]).waveform)


def test_every_second_is_equally_likely(tmp_path: Path, source: Callable[..., AudioSource]) -> None:
    paths = [
        write(tmp_path / "long.wav", noise(1, 9 * RATE)),
        write(tmp_path / "short.wav", noise(1, RATE)),
    ]
    opened = source(paths)
    files = [opened.crop(i).file for i in range(1000)]
    assert 0.85 < files.count(0) / 1000 < 0.95


def test_gain_and_polarity(tmp_path: Path, source: Callable[..., AudioSource]) -> None:
    config = DataConfig(gain_db=(-6.0, 3.0))
    opened = source([write(tmp_path / "a.wav", noise(1, RATE))], config)
    gains = np.array([opened.crop(i).gain for i in range(500)])
    assert 10 ** (-6 / 20) <= np.abs(gains).min() < 0.55
    assert 1.35 < np.abs(gains).max() <= 10 ** (3 / 20)
    assert 200 < (gains < 0).sum() < 300


def test_speed_moves_the_pitch_and_keeps_the_length(
    tmp_path: Path, source: Callable[..., AudioSource]
) -> None:
    """A tone of 1000 Hz at 80, 100 and 125 %: in every crop one of its three pitches."""
    tone = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(4 * RATE) / RATE)[None]
    config = DataConfig(crop_seconds=0.5, gain_db=(0.0, 0.0), speeds=(80, 100, 125))
    opened = source([write(tmp_path / "a.wav", tone)], config)
    crops = opened.batch(range(60)).waveform
    assert crops.shape == (60, 1, opened.crop_samples)
    spectra = torch.fft.rfft(crops[:, 0] * torch.hann_window(opened.crop_samples)).abs()
    hz = spectra.argmax(dim=1) * RATE / opened.crop_samples
    speeds = torch.tensor([opened.crop(index).speed for index in range(60)])
    assert set(speeds.tolist()) == {80, 100, 125}
    torch.testing.assert_close(hz, 10.0 * speeds, rtol=0, atol=RATE / opened.crop_samples)
    assert crops[:, 0, -1000:].abs().amax(dim=1).min() > 0.25  # sound up to the end


def test_one_speed_changes_no_choice(tmp_path: Path, source: Callable[..., AudioSource]) -> None:
    paths = [write(tmp_path / "a.wav", noise(1, 4 * RATE))]
    plain, half = (source(paths, DataConfig(crop_seconds=0.1, speeds=s)) for s in ((100,), (50,)))
    assert [plain.crop(i).gain for i in range(9)] == [half.crop(i).gain for i in range(9)]


@pytest.mark.parametrize(("side_share", "row"), [(0.0, 0), (1.0, 1)])
def test_one_channel_network_gets_mid_or_side(
    side_share: float, row: int, tmp_path: Path, source: Callable[..., AudioSource]
) -> None:
    stereo = noise(2, RATE // 5)
    config = DataConfig(crop_seconds=0.2, gain_db=(0.0, 0.0), side_share=side_share)
    crop = source([write(tmp_path / "a.wav", stereo)], config).batch([0]).waveform
    expected = to_mid_side(torch.from_numpy(stereo))[None, row : row + 1, : crop.shape[-1]]
    torch.testing.assert_close(magnitude(crop), magnitude(expected), rtol=0, atol=STEP_16_BIT)


def test_six_channels_give_their_first_two(
    tmp_path: Path, source: Callable[..., AudioSource]
) -> None:
    six = noise(6, RATE)
    two = source([write(tmp_path / "two.wav", six[:2])])
    opened = source([write(tmp_path / "six.wav", six)])
    assert opened.files[0].channels == 2
    torch.testing.assert_close(opened.batch(range(4)).waveform, two.batch(range(4)).waveform)


def test_two_channel_network(
    tmp_path: Path, tiny_model: ModelConfig, source: Callable[..., AudioSource]
) -> None:
    """It gets left and right as they are, and a mono file on both."""
    model = tiny_model.model_copy(update={"channels": 2})
    config = DataConfig(crop_seconds=0.2, gain_db=(0.0, 0.0))
    stereo, mono = noise(2, RATE // 5), noise(1, RATE // 5, 1)
    for name, sound in (("stereo.wav", stereo), ("mono.wav", mono)):
        opened = source([write(tmp_path / name, sound)], config, model=model)
        crop = opened.batch(range(8)).waveform
        expected = torch.from_numpy(np.broadcast_to(sound, (2, RATE // 5)).copy())
        signed = crop[0] if torch.sign(crop[0, 0, 0]) == torch.sign(expected[0, 0]) else -crop[0]
        samples = crop.shape[-1]
        torch.testing.assert_close(
            signed, expected[:, :samples], rtol=0, atol=STEP_16_BIT, msg=name
        )


def test_short_files_are_padded(tmp_path: Path, source: Callable[..., AudioSource]) -> None:
    sound = noise(1, RATE // 4)
    config = DataConfig(crop_seconds=0.5, gain_db=(0.0, 0.0))
    opened = source([write(tmp_path / "a.wav", sound)], config)
    crop = opened.batch([0]).waveform
    assert crop.shape == (1, 1, opened.crop_samples)
    assert crop.shape[-1] % 128 == 0  # whole latent frames
    assert crop[0, 0, : RATE // 4].abs().max() > 0.1
    assert not crop[0, 0, RATE // 4 :].any()


def test_split_holds_out_every_20th(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i:02d}.wav" for i in range(41)]
    for path in paths:
        path.touch()
    training, held_out = split_files(tmp_path, None)
    assert held_out == [paths[0], paths[20], paths[40]]
    assert sorted(training + held_out) == paths


def test_split_with_a_folder_to_validate_on(tmp_path: Path) -> None:
    for name in ("training", "valid"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.flac").touch()
    training, held_out = split_files(tmp_path / "training", tmp_path / "valid")
    assert training == [tmp_path / "training" / "a.flac"]
    assert held_out == [tmp_path / "valid" / "a.flac"]
    with pytest.raises(AudioError, match="--valid"):
        split_files(tmp_path / "training", None)
