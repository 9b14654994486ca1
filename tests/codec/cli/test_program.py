"""What holds for every command: wrong options are one sentence and exit code 2, help is short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from codec_helpers import Lacuna, write_wav


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compress"], 'Command "compress" parameter IN requires an argument. See lacuna compress'),
        (["compress", "a", "b", "--kbsp", "3"], "Unknown option: --kbsp. Did you mean --kbps?"),
        (["compress", "a", "b", "--kbsp=3"], "Unknown option: --kbsp. Did you mean --kbps?"),
        (["compress", "--forced", "a", "b"], "Unknown option: --forced. Did you mean --force?"),
        (["compress", "-x", "b"], "Unknown option: -x."),
        (["compress", "a", "b", "--kbps", "six"], 'unable to convert "six" into float'),
        (["compress", "a", "b", "--kbps"], "--kbps requires an argument"),
        (["compress", "a", "b", "c"], "More than lacuna compress takes: c. See"),
        (["decompress", "a", "b", "--threads", "0"], 'Invalid value "0" for --threads. Must be'),
        (["evaluate", "--kbsp", "3", "--out", "x"], "Unknown option: --kbsp. Did you mean --kbps?"),
        (["demo", "extra"], "More than lacuna demo takes: extra. See"),
        (["compres"], 'Unknown command "compres". Did you mean "compress"?'),
        (["train", "code"], 'Unknown command "code". Did you mean "codec"?'),
        (["train", "codec", "tiny", "--out", "x"], '"train codec" parameter --data requires'),
        (["train", "codec", "tiny", "--data", "a", "--out", "x", "--device", "gpu"], "Choose from"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line(lacuna: Lacuna, words: list[str], message: str) -> None:
    error = lacuna.fails(*words, code=2)
    assert message in error
    assert re.search(r" See lacuna [a-z ]*--help$", error)


@pytest.mark.parametrize("words", [[], ["train"], ["--help"], ["-h"], ["compress", "-h"]])
def test_help_is_an_answer_and_no_mistake(lacuna: Lacuna, words: list[str]) -> None:
    result = lacuna(*words)
    assert result.code == 0
    assert b"Usage: lacuna" in result.stdout
    assert b"default: None" not in result.stdout
    assert b"default: False" not in result.stdout
    assert b"--no-" not in result.stdout


def test_version(lacuna: Lacuna) -> None:
    assert re.fullmatch(rb"\d+\.\d+\.\d+|not installed", lacuna("--version").stdout.strip())


def test_options_stand_anywhere_and_a_file_may_begin_with_a_dash(
    lacuna: Lacuna, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "-in.wav")
    for number, words in enumerate(
        (
            ["compress", "-m", tiny_path, "./-in.wav", "0.lac"],
            ["compress", "./-in.wav", "-m", tiny_path, "1.lac"],
            ["compress", "./-in.wav", "2.lac", f"--model={tiny_path}"],
        )
    ):
        assert lacuna(*words).code == 0
        assert (tmp_path / f"{number}.lac").read_bytes() == (tmp_path / "0.lac").read_bytes()
