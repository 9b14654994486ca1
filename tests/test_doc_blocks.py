"""The short blocks of code in docs/ run, and their lines of shell are understood."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import soundfile
import torch
from reading import REPOSITORY, blocks, shell_lines, understood

import codec

DOCS = sorted((REPOSITORY / "docs").rglob("*.md"))
NOT_RUN = {
    "encode_tokens": "tests/codec/training/test_token_files.py",
    "model.classify": "tests/codec/training/test_labels.py",
    "stable-audio-open-1.0": "tests/test_readme.py, as commands",
    "steps=4": "tests/codec/lac/test_denoising.py",
    "diffusion.load(adapter": "tests/diffusion/training/",
}
"""What is in a block of Python that needs a trained model which does not ship, and its test."""


def _runs(block: str) -> bool:
    return not any(text in block for text in NOT_RUN)


@pytest.mark.parametrize(
    ("page", "block"),
    [
        pytest.param(page, block, id=f"{page.name}-{number}")
        for page in DOCS
        for number, block in enumerate(blocks(page, "python"))
        if _runs(block)
    ],
)
def test_blocks_of_python_run(
    page: Path, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the names that the page speaks of: a model, and four seconds of audio."""
    array, sample_rate = codec.read(REPOSITORY / "codec" / "examples" / "plucked.ogg")
    array = array[:, : 4 * sample_rate]
    model = codec.load()
    waveform = torch.from_numpy(codec.resample(array, sample_rate, model.sample_rate))[None]
    soundfile.write(tmp_path / "long.flac", array.T, sample_rate)
    monkeypatch.chdir(tmp_path)
    names = {"codec": codec, "model": model, "waveform": waveform, "n": waveform.shape[-1]}
    exec(block, {**names, "array": array, "sample_rate": sample_rate})


@pytest.mark.parametrize(
    "words",
    [words for page in DOCS for words in shell_lines(page) if words[0] in ("lacuna", "torchrun")],
    ids=shlex.join,
)
def test_lines_of_shell_are_understood(words: list[str]) -> None:
    assert understood(words)
