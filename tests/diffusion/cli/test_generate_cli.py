"""The commands generate, vary, inpaint, extend, interpolate and blend, as a person types them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from generation_helpers import codec_file, save_both, tone
from safetensors.torch import load_file, save_file

import diffusion
from codec.audio import limited
from codec.model import checkpoint as codec_checkpoint
from diffusion.cli.mix import parse_terms

sys.path.append(str(Path(__file__).parents[2] / "codec"))
import codec_helpers
from codec_helpers import Lacuna


class Commands(Lacuna):
    """``lacuna`` with the diffusion stage's commands, the tiny models and few steps."""

    models: tuple[object, ...] = ()
    codec: tuple[object, ...] = ()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A diffusion checkpoint and its codec's."""
    return save_both(tmp_path_factory.mktemp("models"))


@pytest.fixture
def lacuna(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture, models: tuple[Path, Path]
) -> Commands:
    from diffusion.cli.program import main

    monkeypatch.setattr(codec_helpers, "main", main)
    commands = Commands(monkeypatch, capsysbinary)
    commands.codec = ("--codec", models[1])
    commands.models = ("--model", models[0], *commands.codec)
    return commands


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """One second of 44.1 kHz stereo."""
    return write(tmp_path / "in.wav", tone(1.0, 44100, 2))


def write(path: Path, sound: np.ndarray, sample_rate: int = 44100) -> Path:
    soundfile.write(path, sound.T, sample_rate, subtype="FLOAT")
    return path


def read(path: Path | io.BytesIO) -> np.ndarray:
    return soundfile.read(path, dtype="float32", always_2d=True)[0].T


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_generate_gives_what_the_function_gives(
    lacuna: Commands, models: tuple[Path, Path], tmp_path: Path
):
    out = tmp_path / "out.wav"
    options = ("--label", "piano", "--seconds", "0.4", "--seed", "3", "--bits", "float")
    result = lacuna("generate", out, *options, *lacuna.models)
    assert result.code == 0, result.stderr
    assert f"{out}: 0.40 s, 16000 Hz, 2 channels" in result.stderr
    model = diffusion.load(*models)
    sampling = diffusion.Sampling(label="piano", seed=3)
    sound = diffusion.generate(model, 0.4, sampling=sampling)
    waveform = diffusion.decode_waveform(model.codec, sound).numpy()
    expected, _ = limited(waveform, sound.sample_rate)
    assert np.array_equal(read(out), expected)


def test_peaks_of_loud_sounds_are_limited(
    lacuna: Commands, models: tuple[Path, Path], tmp_path: Path
):
    loud = codec_checkpoint.load(models[1])
    head = loud.autoencoder.decoder.head
    with torch.no_grad():
        head.bias[: len(head.bias) // 3] += np.log(1000)  # the log-magnitudes
    codec_checkpoint.save(loud, tmp_path / "loud.safetensors")
    how = ("--seconds", "0.4", "--count", 2, "--bits", "float", "--model", models[0])
    result = lacuna("generate", tmp_path / "a.wav", *how, "--codec", tmp_path / "loud.safetensors")
    assert result.code == 0, result.stderr
    model = diffusion.load(models[0], tmp_path / "loud.safetensors")
    for number in (1, 2):
        written = read(tmp_path / f"a-{number}.wav")
        own = diffusion.generate(model, 0.4, sampling=diffusion.Sampling(seed=number - 1))
        exact = diffusion.decode_waveform(model.codec, own).numpy()
        expected, decibels = limited(exact, own.sample_rate)
        assert decibels > 1
        assert np.abs(written - expected).max() < 1e-2  # equal but for rounding
        told = f"peaks were turned down to -1 dBFS, the loudest by {decibels:.1f} dB"
        assert f"a-{number}.wav: {told}" in result.stderr


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_names_that_are_not_unicode(lacuna: Commands, tmp_path: Path):
    first, second = (
        os.fsdecode(os.fsencode(tmp_path) + name) for name in (b"/g\xe9.wav", b"/\xff.wav")
    )
    quick = ("--steps", "2", *lacuna.models)
    result = lacuna("generate", first, "--seconds", "0.2", *quick)
    assert result.code == 0, result.stderr
    assert f"{tmp_path}/g?.wav: 0.20 s" in result.stderr
    assert lacuna("vary", first, second, *quick).code == 0
    assert lacuna("vary", first, second, "--force", *quick).code == 0
    assert len(leftovers(tmp_path)) == 2


def test_several_files_and_one_of_them_alone(lacuna: Commands, tmp_path: Path):
    quick = ("--seconds", "0.2", "--steps", "2", "--channels", "1", *lacuna.models)
    assert lacuna("generate", tmp_path / "a.wav", "--count", 3, "--seed", 4, *quick).code == 0
    assert leftovers(tmp_path) == {"a-1.wav", "a-2.wav", "a-3.wav"}
    assert lacuna("generate", tmp_path / "third.wav", "--seed", 6, *quick).code == 0
    alone, together = read(tmp_path / "third.wav"), read(tmp_path / "a-3.wav")
    assert np.abs(alone - together).max() < 1e-3  # equal but for rounding
    assert (tmp_path / "a-1.wav").read_bytes() != (tmp_path / "a-2.wav").read_bytes()
    assert read(tmp_path / "a-1.wav").shape == (1, 3200)
    (tmp_path / "a-1.wav").unlink()
    error = lacuna.fails("generate", tmp_path / "a.wav", "--count", 3, *quick)
    assert "a-2.wav already exists" in error
    assert leftovers(tmp_path) == {"a-2.wav", "a-3.wav", "third.wav"}
    assert lacuna("generate", tmp_path / "a.wav", "--count", 3, "--force", *quick).code == 0


def test_samplers_and_prior(lacuna: Commands, tmp_path: Path):
    made = set()
    for options in (
        ("--sampler", "euler"),
        ("--sampler", "midpoint"),
        ("--sampler", "dpmpp_2m"),
        ("--prior",),
    ):
        out = tmp_path / "out.wav"
        quick = ("--seconds", "0.2", "--steps", "4", "--force", *lacuna.models)
        assert lacuna("generate", out, *options, *quick).code == 0
        made.add(out.read_bytes())
    assert len(made) == 4


def test_mixed_labels_and_a_file_to_be_like(lacuna: Commands, wav: Path, tmp_path: Path):
    quick = ("--seconds", "0.2", "--steps", "2", "--force", *lacuna.models)
    made = set()
    for wish in (("--label", "rain"), ("--label", "rain:0.5,bell"), ("--like", wav)):
        result = lacuna("generate", tmp_path / "out.wav", *wish, *quick)
        assert result.code == 0, result.stderr
        made.add((tmp_path / "out.wav").read_bytes())
    assert len(made) == 3
    mono = write(tmp_path / "mono.wav", tone(0.5, 16000, 1), 16000)
    assert lacuna("generate", tmp_path / "out.wav", "--like", mono, *quick).code == 0
    assert (
        lacuna("generate", tmp_path / "out.wav", "--channels", "1", "--like", wav, *quick).code == 0
    )
    error = lacuna.fails("generate", tmp_path / "out.wav", "--like", wav, "--prior", *quick)
    assert "leave --like or --prior out" in error
    assert "rain:x" not in lacuna.fails("generate", wav, "--like", wav, *quick)
    error = lacuna.fails("generate", tmp_path / "out.wav", "--label", "rain:x", *quick)
    assert "share 'x' of the label 'rain'" in error


def test_generate_to_standard_output(lacuna: Commands):
    result = lacuna("generate", "-", "--seconds", "0.2", "--steps", "1", *lacuna.models)
    assert result.code == 0
    assert read(io.BytesIO(result.stdout)).shape == (2, 3200)


@pytest.mark.parametrize(("sample_rate", "channels"), [(44100, 2), (16000, 1)])
@pytest.mark.parametrize(
    ("command", "seconds"),
    [
        (("vary", "--strength", "0.4"), 0.8),
        (("inpaint", "--from", "0.2", "--to", "0.3", "--from", "0.5", "--to", "0.6"), 0.8),
        (("inpaint", "--from", "0.2", "--to", "0.3", "--keep-original"), 0.8),
        (("extend", "--seconds", "0.5"), 1.3),
        (("extend", "--seconds", "0.5", "--keep-original"), 1.3),
    ],
)
def test_edits_keep_rate_and_channels(
    lacuna: Commands, tmp_path: Path, command, seconds, sample_rate, channels
):
    source = write(tmp_path / "a.wav", tone(0.8, sample_rate, channels), sample_rate)
    name, *options = command
    out = tmp_path / "out.flac"
    result = lacuna(name, source, out, *options, "--steps", "2", *lacuna.models)
    assert result.code == 0, result.stderr
    info = soundfile.info(out)
    assert (info.samplerate, info.channels) == (sample_rate, channels)
    assert info.frames == round(seconds * sample_rate)


def test_strength_zero_is_the_own_decode(lacuna: Commands, wav: Path, tmp_path: Path):
    latents, decoded, varied = (tmp_path / n for n in ("a.safetensors", "a.wav", "b.wav"))
    codec = lacuna.codec[1]
    assert lacuna("encode", wav, latents, "--model", codec).code == 0
    assert lacuna("decode", latents, decoded, "--model", codec).code == 0
    assert lacuna("vary", wav, varied, "--strength", "0", *lacuna.models).code == 0
    assert varied.read_bytes() == decoded.read_bytes()


def test_keep_original(lacuna: Commands, wav: Path, tmp_path: Path):
    region = ("--from", "0.4", "--to", "0.6", "--steps", "2", "--bits", "float", *lacuna.models)
    lacuna("inpaint", wav, tmp_path / "kept.wav", "--keep-original", *region)
    lacuna("inpaint", wav, tmp_path / "decoded.wav", *region)
    original, kept, decoded = (
        read(path) for path in (wav, tmp_path / "kept.wav", tmp_path / "decoded.wav")
    )
    outside = np.r_[0 : int(0.38 * 44100), int(0.62 * 44100) : 44100]
    assert np.array_equal(kept[:, outside], original[:, outside])
    inside = np.arange(int(0.4 * 44100) + 1, int(0.6 * 44100))
    assert np.array_equal(kept[:, inside], decoded[:, inside])
    assert not np.isclose(decoded[:, outside], original[:, outside]).all()


def test_editing_from_standard_input(lacuna: Commands, wav: Path, tmp_path: Path):
    options = ("--from", "0.4", "--to", "0.6", "--keep-original", "--steps", "1", *lacuna.models)
    assert lacuna("inpaint", wav, tmp_path / "a.wav", *options).code == 0
    piped = lacuna("inpaint", "-", "-", *options, stdin=wav.read_bytes())
    assert piped.code == 0
    assert piped.stdout == (tmp_path / "a.wav").read_bytes()


def test_interpolate(lacuna: Commands, wav: Path, tmp_path: Path):
    mono = write(tmp_path / "mono.wav", tone(0.5, 16000, 1, seed=1), 16000)
    for mode in ("spherical", "linear"):
        out = tmp_path / f"{mode}.wav"
        result = lacuna("interpolate", wav, mono, out, "--count", 2, "--mode", mode, *lacuna.codec)
        assert result.code == 0, result.stderr
    for name in ("spherical-1", "spherical-2", "linear-1", "linear-2"):
        info = soundfile.info(tmp_path / f"{name}.wav")
        assert (info.samplerate, info.channels, info.frames) == (44100, 2, 22050)
    assert not np.array_equal(read(tmp_path / "spherical-1.wav"), read(tmp_path / "linear-1.wav"))
    assert "'cubic'" in lacuna.fails(
        "interpolate", wav, mono, tmp_path / "b.wav", "--mode", "cubic", *lacuna.codec
    )


def test_blend(lacuna: Commands, wav: Path, tmp_path: Path):
    b = write(tmp_path / "b.wav", tone(1.0, 44100, 2, seed=1))
    plain, back = tmp_path / "plain.wav", tmp_path / "back.wav"
    assert lacuna("blend", wav, plain, *lacuna.codec).code == 0
    assert lacuna("blend", wav, "-", b, "+", b, back, *lacuna.codec).code == 0
    assert np.abs(read(plain) - read(back)).max() < 1e-3
    halves = ("0.5", wav, "+", "0.5", b)
    assert lacuna("blend", *halves, back, "--force", *lacuna.codec).code == 0
    middle = tmp_path / "middle.wav"
    assert lacuna("interpolate", wav, b, middle, "--mode", "linear", *lacuna.codec).code == 0
    assert np.abs(read(middle) - read(back)).max() < 1e-3
    assert lacuna("blend", "-", wav, "+", b, tmp_path / "c.wav", *lacuna.codec).code == 0


def test_reading_terms():
    assert parse_terms(["A", "-", "B", "+", "C"]) == [(1, "A"), (-1, "B"), (1, "C")]
    assert parse_terms(["-", "0.5", "A", "+", "2", "./5"]) == [(-0.5, "A"), (2, "./5")]
    assert parse_terms(["nan"]) == [(1, "nan")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["A", "B", "out.wav"], "expected + or - before 'B'"),
        (["A", "-", "out.wav"], "expected a file after 'A -'"),
        (["A", "-", "-", "B", "out.wav"], "expected a file after 'A -'"),
        (["A", "+", "0.5", "out.wav"], "expected a file after 'A + 0.5'"),
        (["out.wav"], "expected a file"),
    ],
)
def test_terms_that_do_not_read(lacuna: Commands, words: list[str], message: str):
    assert message in lacuna.fails("blend", *words)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate", "OUT", "--label", "dog"), "'dog'; expected one of: bell, piano, rain"),
        (("generate", "OUT", "--seconds", "0"), "at most 600"),
        (("generate", "OUT", "--seconds", "10000"), "10000 seconds to make"),
        (("generate", "OUT", "--steps", "0"), "expected 1 to 100"),
        (("generate", "OUT", "--count", "0"), "a count of 0"),
        (("generate", "OUT", "--sampler", "heun"), "'heun'"),
        (("generate", "OUT", "--guidance", "nan"), "guidance nan"),
        (("generate", "OUT", "--prior", "--label", "bell"), "--prior knows no labels"),
        (("generate", "OUT.xyz", "--seconds", "0.1"), ".xyz"),
        (("generate", "no/such/folder/out.wav"), "there is no folder"),
        (("generate", "-", "--count", "2"), "name a file"),
        (("generate", "OUT", "--device", "nonesuch"), "try --device cpu"),
        (("vary", "IN", "OUT", "--strength", "1.5"), "strength 1.5"),
        (("vary", "IN", "IN", "--force"), "is the input"),
        (("inpaint", "IN", "OUT", "--from", "0.5", "--to", "2"), "within the sound's 1 s"),
        (("inpaint", "IN", "OUT", "--from", "0.5", "--to", "0.5"), "from 0.5 s to 0.5 s"),
        (("inpaint", "IN", "OUT", "--from", "0", "--from", "1", "--to", "2"), "1 times --to"),
        (("extend", "IN", "OUT", "--seconds", "-1"), "-1 seconds"),
        (("extend", "TEXT", "OUT"), "not audio"),
        (("vary", "MISSING", "OUT"), "not found"),
    ],
)
def test_mistakes(lacuna: Commands, wav: Path, tmp_path: Path, arguments, message: str):
    (tmp_path / "text.wav").write_text("not a recording")
    places = {"IN": wav, "OUT": "out.wav", "TEXT": "text.wav", "MISSING": "missing.wav"}
    words = [places.get(word, word) for word in arguments]
    words = [
        tmp_path / w if str(w).endswith((".wav", ".xyz")) and "/" not in str(w) else w
        for w in words
    ]
    before = leftovers(tmp_path)
    assert message in lacuna.fails(*words, *lacuna.models)
    assert leftovers(tmp_path) == before


def test_models_that_do_not_fit(lacuna: Commands, models: tuple[Path, Path], tmp_path: Path):
    model, codec = models
    out = tmp_path / "out.wav"
    other = tmp_path / "other.safetensors"
    codec_checkpoint.save(codec_file(seed=1), other)
    error = lacuna.fails("generate", out, "--model", model, "--codec", other)
    for path in (codec, other):
        assert codec_checkpoint.load(path).latent_id in error
    assert "give its checkpoint with --codec" in lacuna.fails("generate", out, "--model", model)
    error = lacuna.fails("generate", out, "--model", codec, "--codec", codec)
    assert "is a checkpoint of the codec" in error
    assert "is a diffusion model" in lacuna.fails(
        "generate", out, "--model", model, "--codec", model
    )
    assert not out.exists()


def test_weights_that_are_not_finite(lacuna: Commands, models: tuple[Path, Path], tmp_path: Path):
    from safetensors import safe_open

    with safe_open(models[0], framework="pt") as file:
        metadata = file.metadata()
    weights = load_file(models[0])
    weights["head.weight"] = torch.full_like(weights["head.weight"], float("nan"))
    save_file(weights, tmp_path / "nan.safetensors", metadata)
    arguments = ("generate", tmp_path / "out.wav", "--model", tmp_path / "nan.safetensors")
    assert "'head.weight'" in lacuna.fails(*arguments, *lacuna.codec)


def test_help_is_quick():
    code = (
        "import sys\nfrom diffusion.cli.program import main\n"
        "sys.argv = ['lacuna', 'generate', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'numpy', 'soundfile'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Example: lacuna generate" in result.stdout
