"""``lacuna decompress --steps``, as a person types it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import soundfile
from generation_helpers import codec_file, diffusion_file, offer_denoiser, save_both, tone

from codec.api import Codec
from diffusion.model import checkpoint

sys.path.append(str(Path(__file__).parents[2] / "codec"))
import codec_helpers
from codec_helpers import Lacuna


@pytest.fixture
def lacuna(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture) -> Lacuna:
    from diffusion.cli.program import main

    monkeypatch.setattr(codec_helpers, "main", main)
    offer_denoiser(monkeypatch)
    return Lacuna(monkeypatch, capsysbinary)


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    """A diffusion checkpoint and its codec's."""
    (tmp_path / "models").mkdir()
    return save_both(tmp_path / "models")


@pytest.fixture
def lac(lacuna: Lacuna, models: tuple[Path, Path], tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "in.wav", tone(1.0, 44100).T, 44100, subtype="FLOAT")
    path = tmp_path / "a.lac"
    assert lacuna("compress", tmp_path / "in.wav", path, "-m", models[1], "--kbps", 4).code == 0
    return path


def test_a_file_is_denoised(lacuna: Lacuna, lac: Path, models: tuple[Path, Path]) -> None:
    decoded: dict[str, bytes] = {}
    chosen = ("-m", models[1], "--denoiser", models[0])
    for name, steps in (
        ("plain", ()),
        ("off", (0,)),
        ("one", (1,)),
        ("again", (1,)),
        ("two", (2,)),
    ):
        out = lac.with_name(f"{name}.wav")
        given = ("--steps", *steps, *chosen) if steps else chosen[:2]
        assert lacuna("decompress", lac, out, *given).code == 0
        decoded[name] = out.read_bytes()
    assert decoded["plain"] == decoded["off"]
    assert decoded["one"] == decoded["again"]
    assert len({decoded[name] for name in ("plain", "one", "two")}) == 3


def test_a_file_is_made_for_denoising(lacuna: Lacuna, lac: Path, models: tuple[Path, Path]) -> None:
    """An untrained network is anywhere in the cells, and makes every block worse."""
    how, out = ("-m", models[1], "--denoiser", models[0]), lac.with_name("b.lac")
    source = lac.with_name("in.wav")
    done = lacuna("compress", source, out, *how, "--kbps", 4, "--for-denoising", 2)
    assert done.code == 0, done.stderr
    assert len(out.read_bytes()) == len(lac.read_bytes())
    plain, denoised = lac.with_name("plain.wav"), lac.with_name("denoised.wav")
    assert lacuna("decompress", lac, plain, *how[:2]).code == 0
    assert lacuna("decompress", out, denoised, *how, "--steps", 2).code == 0
    assert denoised.read_bytes() == plain.read_bytes()
    folder = ("--out-dir", lac.with_name("many"), *how, "--kbps", 4, "--for-denoising", 2)
    assert lacuna("compress", source, *folder, "--workers", 1).code == 0
    assert (lac.with_name("many") / "in.lac").read_bytes() == out.read_bytes()


def test_a_folder_is_denoised_as_its_files(
    lacuna: Lacuna, lac: Path, models: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "many").mkdir()
    for name in ("a", "b"):
        (tmp_path / "many" / f"{name}.lac").write_bytes(lac.read_bytes())
    how = ("-m", models[1], "--steps", 1, "--denoiser", models[0])
    assert lacuna("decompress", lac, tmp_path / "alone.wav", *how).code == 0
    done = lacuna(
        "decompress", tmp_path / "many", "--out-dir", tmp_path / "out", "--workers", 1, *how
    )
    assert done.code == 0
    alone = (tmp_path / "alone.wav").read_bytes()
    assert [path.read_bytes() for path in sorted((tmp_path / "out").iterdir())] == [alone, alone]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--steps", "-1"), "-1 steps of denoising, expected 0 (off) to 100"),
        (("--steps", "1000000"), "1000000 steps of denoising, expected 0 (off) to 100"),
        (("--steps", "4", "--denoiser", "nonesuch"), "no diffusion model 'nonesuch'"),
        (("--steps", "4"), "there is no denoiser for the latents of 'tiny'"),
        (("--steps", "4", "--denoiser", "models/other.safetensors"), "was trained on latents of"),
        (
            ("--steps", "4", "--denoiser", "models/codec.safetensors"),
            "is a checkpoint of the codec",
        ),
        (("--steps", "4", "--denoiser", "a.lac"), "not a safetensors file"),
    ],
)
def test_what_cannot_be(
    lacuna: Lacuna,
    lac: Path,
    models: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    given: tuple[str, ...],
    message: str,
) -> None:
    """One line, and nothing is written."""
    monkeypatch.chdir(lac.parent)
    other = diffusion_file(Codec(codec_file(seed=7)))
    checkpoint.save(other, lac.parent / "models" / "other.safetensors")
    before = {path.name for path in lac.parent.iterdir()}
    error = lacuna.fails("decompress", "a.lac", "out.wav", "-m", models[1], *given)
    assert message in error
    assert {path.name for path in lac.parent.iterdir()} == before
