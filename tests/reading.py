"""The blocks of code in a page, and their lines of shell run as a reader types them."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import cyclopts
import pytest

from diffusion.cli.program import build_app

REPOSITORY = Path(__file__).parent.parent


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def shell_lines(page: Path) -> list[list[str]]:
    """The words of every command in the page's blocks of shell, comments left out."""
    commands = []
    for block in blocks(page, "sh"):
        for line in block.splitlines():
            commands += [shlex.split(part, comments=True) for part in line.split(" && ")]
    return [words for words in commands if words]


def understood(words: list[str]) -> bool:
    """Whether a command of this project takes these words; True for what is not one of them.

    Raises:
        CycloptsError: it does not.
    """
    if words[0] == "torchrun":
        words = ["lacuna", *words[words.index("-m") + 2 :]]
    if words[0] == "lacuna":
        command, _, _ = build_app().parse_args(words[1:])
        return command.__name__.removeprefix("train_").rstrip("_") in words
    if words[0] == "python" and words[1].startswith("tools/"):
        script = runpy.run_path(str(REPOSITORY / words[1]))
        cyclopts.App(default_command=script["main"]).parse_args(words[2:])
    return True


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run ``lacuna ...`` or ``python tools/...`` in this process and the working folder."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", words)
        if words[0] == "lacuna":
            app = build_app()
        else:
            script = runpy.run_path(str(REPOSITORY / words[1]))
            app = cyclopts.App(default_command=script["main"], result_action="return_value")
        app(words[1 if words[0] == "lacuna" else 2 :])
