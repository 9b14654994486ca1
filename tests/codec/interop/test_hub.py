"""A model by its name on the Hugging Face hub, with the hub played by the test."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from codec_helpers import Lacuna
from published import tools_weights, write_diffusers

from codec.api import load

hub = pytest.importorskip("huggingface_hub", reason="the extra 'hub' is not installed")
NAME = "someone/stable-audio"


def play(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str, str], str]) -> list[str]:
    """``hf_hub_download`` answers so; the list fills with what it is asked for."""
    asked: list[str] = []

    def download(name: str, path: str) -> str:
        asked.append(path)
        return answer(name, path)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    return asked


def error(kind: str, text: str = "no") -> Exception:
    """An error of the hub's client, whose constructors differ from release to release."""
    made: Exception = getattr(hub.errors, kind).__new__(getattr(hub.errors, kind))
    Exception.__init__(made, text)
    return made


def test_only_what_is_needed_is_fetched(
    lacuna: Lacuna, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_diffusers(tmp_path / "repository" / "vae", tools_weights())

    def answer(name: str, path: str) -> str:
        assert name == NAME
        if not (tmp_path / "repository" / path).exists():
            raise error("EntryNotFoundError")
        return str(tmp_path / "repository" / path)

    asked = play(monkeypatch, answer)
    result = lacuna("convert", NAME, tmp_path / "out.safetensors")
    assert result.code == 0, result.stderr
    assert load(tmp_path / "out.safetensors").latent_dim == 4
    assert asked == ["config.json", "vae/config.json", "vae/diffusion_pytorch_model.safetensors"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("LocalEntryNotFoundError", "hub cannot be reached"),
        ("OfflineModeIsEnabled", "hub cannot be reached"),
        ("GatedRepoError", "accepted its licence"),
        ("RepositoryNotFoundError", "no such repository"),
        ("HFValidationError", "no such repository"),
        ("HfHubHTTPError", "did not give config.json"),
        ("EntryNotFoundError", "has none of config.json, vae/config.json"),
    ],
)
def test_what_goes_wrong_is_a_sentence(
    kind: str, message: str, lacuna: Lacuna, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(name: str, path: str) -> str:
        raise error(kind, "500 Server Error\nfor url")

    play(monkeypatch, answer)
    result = lacuna("convert", NAME, tmp_path / "out.safetensors")
    assert result.code == 1
    assert message in result.stderr
    assert NAME in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_errors_of_the_transport(
    lacuna: Lacuna, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(name: str, path: str) -> str:
        raise RuntimeError

    play(monkeypatch, answer)
    result = lacuna("convert", NAME, tmp_path / "out.safetensors")
    assert result.code == 1
    assert "RuntimeError" in result.stderr


def test_offline_for_real(lacuna: Lacuna, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the client's own offline mode and an empty cache."""
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    result = lacuna("convert", NAME, tmp_path / "out.safetensors")
    assert result.code == 1
    assert "hub cannot be reached" in result.stderr


def test_without_the_package_the_remedy_is_named(
    lacuna: Lacuna, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    result = lacuna("convert", NAME, tmp_path / "out.safetensors")
    assert result.code == 1
    assert f"no folder '{NAME}' here" in result.stderr
    assert 'pip install ".[hub]"' in result.stderr


def test_a_folder_of_that_name_comes_first(
    lacuna: Lacuna, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(name: str, path: str) -> Any:
        raise AssertionError("the hub was asked")

    play(monkeypatch, answer)
    monkeypatch.chdir(tmp_path)
    write_diffusers(Path(NAME), tools_weights())
    assert lacuna("convert", NAME, "out.safetensors").code == 0
