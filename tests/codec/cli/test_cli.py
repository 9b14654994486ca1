"""The other commands, and what all have in common: help, interrupts, memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
import torch
from codec_helpers import Lacuna, default_signals, write_wav

from codec.api import Codec


def test_encode_then_decode(lacuna: Lacuna, wav: Path, tiny_path: Path, tmp_path: Path):
    result = lacuna("encode", wav, tmp_path / "z.safetensors", "-m", tiny_path)
    assert result.code == 0
    assert "latents (2, 4, 125) at 125.00 Hz" in result.stderr
    result = lacuna("decode", tmp_path / "z.safetensors", tmp_path / "z.wav", "-m", tiny_path)
    assert result.code == 0
    info = soundfile.info(tmp_path / "z.wav")
    assert (info.samplerate, info.channels, info.frames) == (44100, 2, 44100)


def test_models(lacuna: Lacuna, monkeypatch, tiny_path: Path, tiny_codec: Codec):
    monkeypatch.setattr("codec.model.shipped.WEIGHTS_DIR", tiny_path.parent)
    (row,) = json.loads(lacuna("models", "--json").stdout)
    assert row["name"] == "tiny"
    assert row["latent_id"] == tiny_codec.latent_id
    assert row["coding_id"] == tiny_codec.coding_id
    assert row["compression"] == 32
    assert row["waveform_layer"] is False
    text = lacuna("models").stdout.decode()
    assert "tiny: 16000 Hz, 32x, 4 latents at 125.0 Hz" in text
    monkeypatch.setattr("codec.model.shipped.WEIGHTS_DIR", tiny_path.parent / "nowhere")
    assert "no model is installed" in lacuna("models").stdout.decode()


def test_a_file_is_decoded_by_the_shipped_model_that_it_names(
    lacuna: Lacuna, monkeypatch, lac: Path, tiny_path: Path, tmp_path: Path
):
    monkeypatch.setattr("codec.model.shipped.WEIGHTS_DIR", tiny_path.parent)
    assert lacuna("decompress", lac, tmp_path / "a.wav").code == 0


def test_demo(lacuna: Lacuna, tiny_path: Path, tmp_path: Path):
    pytest.importorskip("matplotlib")
    result = lacuna("demo", "--model", tiny_path, "--out", tmp_path / "demo")
    assert result.code == 0, result
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert names == {"original.wav", "decoded.wav", "demo.lac", "spectrograms.png"}
    assert b"mel distance" in result.stdout


def test_threads_and_device_are_taken(lacuna: Lacuna, lac: Path, tiny_path: Path, tmp_path: Path):
    before = torch.get_num_threads()
    try:
        options = ("-m", tiny_path, "--threads", "1", "--device", "cpu")
        assert lacuna("decompress", lac, tmp_path / "a.wav", *options).code == 0
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_existing_output_needs_force(lacuna: Lacuna, wav: Path, lac: Path, tiny_path, tmp_path):
    for command, source, name in (
        ("compress", wav, "a.lac"),
        ("decompress", lac, "a.wav"),
        ("encode", wav, "a.safetensors"),
    ):
        target = tmp_path / name
        target.write_text("precious")
        error = lacuna.fails(command, source, target, "-m", tiny_path)
        assert "already exists; use --force" in error
        assert target.read_text() == "precious"
        assert lacuna(command, source, target, "-m", tiny_path, "--force").code == 0
        assert target.read_bytes() != b"precious"


COMMANDS = [
    ["compress"],
    ["decompress"],
    ["info"],
    ["verify"],
    ["trim"],
    ["encode"],
    ["decode"],
    ["score"],
    ["map"],
    ["models"],
    ["convert"],
    ["calibrate"],
    ["export"],
    ["evaluate"],
    ["demo"],
    ["train", "codec"],
    ["train", "context"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_shows_an_example(lacuna: Lacuna, command: list[str]):
    result = lacuna(*command, "--help")
    assert result.code == 0
    assert f"Example: lacuna {' '.join(command)}" in " ".join(result.stdout.decode().split())


def test_every_command_is_listed_here(lacuna: Lacuna):
    """So that a new command gets its tests."""
    from codec.cli.program import build_app

    app = build_app()
    words = [[name] for name in app] + [["train", name] for name in app["train"]]
    commands = [name for name in words if not name[-1].startswith("-") and name != ["train"]]
    assert sorted(commands) == sorted(COMMANDS)


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "codec", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=60, **options)  # type: ignore[call-overload]


def test_real_pipes(wav: Path, tiny_codec: Codec, tiny_path: Path):
    result = run("compress", "-", "-", "-m", tiny_path, input=wav.read_bytes())
    assert result.returncode == 0, result.stderr
    assert len(result.stderr.splitlines()) == 2  # the report, and that it is the finest setting
    decoded, rate = tiny_codec.decompress(result.stdout)
    assert (decoded.shape, rate) == ((2, 44100), 44100)


def test_a_real_failure_has_one_line_and_a_code(tmp_path: Path):
    result = run("info", tmp_path / "missing.lac")
    assert result.returncode == 1
    lines = result.stderr.decode().splitlines()
    assert lines == [f"lacuna: error: {tmp_path / 'missing.lac'} not found; check the path"]


INTERRUPTED = """
import sys, time
import codec.audio
from codec.cli.program import main

blocks = codec.audio.AudioReader.blocks
def stuck(self, size):
    yield from blocks(self, size)
    print("reading", file=sys.stderr, flush=True)
    time.sleep(60)
codec.audio.AudioReader.blocks = stuck
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_command_leaves_nothing(signal_number, tmp_path: Path, tiny_path: Path):
    source = write_wav(tmp_path / "in.wav")
    out = tmp_path / "out"
    out.mkdir()
    arguments = ("compress", source, out / "a.lac", "-m", tiny_path)
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=default_signals,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "reading\n"
    assert list(out.iterdir()), "the command should be writing a temporary file by now"
    process.send_signal(signal_number)
    rest = process.stderr.read()
    assert process.wait(timeout=20) == 128 + signal_number
    assert "Traceback" not in rest
    assert list(out.iterdir()) == []


LONG_FILES = """
import sys
import numpy as np, soundfile
from codec.cli.program import main

folder, model = sys.argv[1:]
noise = 0.1 * np.random.default_rng(0).standard_normal(16_000 * 60)
for minutes in (1, 10):
    with soundfile.SoundFile(f"{folder}/in.wav", "w", 16_000, 1) as file:
        for _ in range(minutes):
            file.write(noise)
    for name, source, target in (
        ("compress", "in.wav", "a.lac"),
        ("decompress", "a.lac", "out.wav"),
    ):
        sys.argv = ["lacuna", name, f"{folder}/{source}", f"{folder}/{target}"]
        sys.argv += ["--model", model, "--threads", "1", "--force"]
        try:
            main()
        except SystemExit as exit_:
            assert not exit_.code, exit_.code
    assert soundfile.info(f"{folder}/out.wav").frames == minutes * 960_000
    (peak,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(peak.split()[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_length(tmp_path: Path, tiny_path: Path):
    # VmHWM and not getrusage, whose peak includes that of the process that started this one.
    result = subprocess.run(
        [sys.executable, "-c", LONG_FILES, str(tmp_path), str(tiny_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    one, ten = map(int, result.stdout.split())  # kB; the peak so far, so it cannot fall
    # 10 minutes are 38 MB as float32, and the latents another 1.2 MB.
    assert ten - one < 15_000, f"peak RSS grew from {one} to {ten} kB"


def test_help_is_quick_and_does_not_import_torch():
    code = (
        "import sys\n"
        "sys.argv = ['lacuna', '--help']\n"
        "from codec.cli.program import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as exit_:\n"
        "    assert not exit_.code\n"
        "heavy = {'torch', 'numpy', 'soundfile', 'soxr', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    seconds = []
    for _ in range(3):  # the best of three: other programs may be at work
        begin = time.perf_counter()
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        seconds.append(time.perf_counter() - begin)
        assert result.returncode == 0, result.stderr
        assert "compress" in result.stdout
        if seconds[-1] < 1.5:
            return
    raise AssertionError(f"lacuna --help took {seconds} s, expected less than 1.5")
