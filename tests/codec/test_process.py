"""What a command does to its process: closed streams, signals, threads."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from codec_helpers import Lacuna, write_wav

from codec import process
from codec.api import Codec
from codec.errors import ConfigError

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals and streams")


@pytest.fixture
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """A command line for sh, in which ``lacuna`` is this program, as people start it: output that
    is not buffered hides what is still to be written when a command ends.
    """
    lacuna = f"{shlex.quote(sys.executable)} -m codec"
    return subprocess.run(
        ["sh", "-c", line.replace("lacuna", lacuna)],
        capture_output=True,
        text=True,
        timeout=120,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )


@posix
def test_a_closed_standard_error_does_not_write_into_the_stream(
    tmp_path: Path, tiny_path: Path, tiny_codec: Codec
):
    source, lac = write_wav(tmp_path / "a.wav"), tmp_path / "a.lac"
    result = shell(f"lacuna compress {source} - -m {tiny_path} --threads 1 2>&- > {lac}")
    assert (result.returncode, result.stderr) == (0, "")
    assert tiny_codec.decompress(lac.read_bytes())[0].shape == (1, 16000)


@posix
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lacuna info - <&-", "standard input ('-') is closed"),
        ("lacuna decompress {lac} - -m {model} >&-", "standard output ('-') is closed"),
    ],
)
def test_a_closed_stream_that_is_needed_is_named(
    lac: Path, tiny_path: Path, line: str, message: str
):
    result = shell(line.format(lac=lac, model=tiny_path))
    assert result.returncode == 1
    assert result.stderr.startswith(f"lacuna: error: {message}")
    assert len(result.stderr.splitlines()) == 1


@posix
def test_closed_streams_that_are_not_needed(lac: Path, tmp_path: Path):
    assert shell(f"lacuna verify {lac} <&- >&- 2>&-").returncode == 0
    full = shell(f"lacuna info {lac} > /dev/full") if Path("/dev/full").exists() else None
    if full is not None:
        assert (full.returncode, len(full.stderr.splitlines())) == (1, 1)
        assert "No space left" in full.stderr


@posix
@pytest.mark.parametrize("line", ["info {lac} --json", "decompress {lac} - -m {model}"])
def test_output_that_nobody_reads_is_no_word_worth(lac: Path, tiny_path: Path, line: str):
    command = line.format(lac=lac, model=tiny_path)
    result = shell(f"{{ lacuna {command}; echo $? >&2; }} | true")
    assert result.stderr.splitlines()[-1] == str(128 + signal.SIGPIPE)
    assert "rror" not in result.stderr


@posix
@pytest.mark.usefixtures("_handlers")
def test_a_signal_that_is_ignored_stays_ignored():
    """As nohup and `&` in a script set it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process.prepare()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    with pytest.raises(SystemExit) as exit_:
        os.kill(os.getpid(), signal.SIGTERM)
    assert exit_.value.code == 128 + signal.SIGTERM


@pytest.mark.usefixtures("_handlers")
def test_waiting_threads_sleep_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    process.prepare()
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    process.prepare()
    assert os.environ["OMP_WAIT_POLICY"] == "active"


@pytest.mark.parametrize("program", ["codec", "diffusion"])
def test_that_is_said_before_torch_loads(program: str):
    code = f"import sys, {program}.cli.program as p; p.build_app(); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "False\n", result.stderr


@pytest.mark.parametrize("count", [0, -1, process.MOST_THREADS + 1, 40_000])
def test_counts_that_no_machine_can_use(count: int):
    with pytest.raises(ConfigError, match=f"--threads {count}, expected 1 to"):
        process.set_threads(count)


def test_commands_refuse_such_counts(lacuna: Lacuna, lac: Path, tiny_path: Path, tmp_path: Path):
    """40,000 threads ended in a segmentation fault."""
    out = tmp_path / "out"
    arguments = ("decompress", lac, out / "a.wav", "-m", tiny_path)
    assert "--threads 40000, expected 1 to" in lacuna.fails(*arguments, "--threads", 40000)
    folder = ("decompress", lac.parent, "--out-dir", out, "-m", tiny_path)
    assert "--workers 40000, expected 1 to" in lacuna.fails(*folder, "--workers", 40000)
    assert not out.exists()


@pytest.mark.parametrize(("end", "code"), [("0", 0), ("None", 0), ("3", 3), ("'wrong'", 1)])
def test_a_command_ends_with_its_code_and_all_that_was_to_be_done(
    tmp_path: Path, end: str, code: int
):
    program = (
        "import atexit, sys\n"
        "from pathlib import Path\n"
        "from codec.process import run\n"
        "def main():\n"
        f"    atexit.register(lambda: Path({str(tmp_path / 'tidied')!r}).touch())\n"
        "    print('said')\n"
        f"    sys.exit({end})\n"
        "run(main)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (code, "said\n")
    assert (tmp_path / "tidied").exists()


def test_a_command_waits_for_its_threads():
    program = (
        "import sys, threading, time\n"
        "from codec.process import run\n"
        "def work():\n"
        "    time.sleep(0.5)\n"
        "    print('done', flush=True)\n"
        "def main():\n"
        "    threading.Thread(target=work).start()\n"
        "    sys.exit(0)\n"
        "run(main)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "done\n")
