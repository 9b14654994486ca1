"""Several processes: one that dies, and an interrupt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from codec_helpers import Lacuna, default_signals, write_wav
from folder_helpers import GOOD, files, json_lines, lacs

import codec.batch.work
from codec.api import Codec
from codec.batch.folders import Job
from codec.batch.work import Outcome, compress_file
from codec.files import output_file
from codec.lac.reader import LacReader


def compress_or_die(models: Any, job: Job, bar: Any = None, **options: Any) -> Outcome:
    """Takes the place of compress_file in the workers, which import it from here."""
    if "bad" in job.source:
        raise RuntimeError("a bug")
    if "killed" in job.source:
        os.kill(os.getpid(), signal.SIGKILL)
    return compress_file(models, job, **options)


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_a_worker_that_dies_costs_one_file(
    lacuna: Lacuna, folder: Path, tiny_path: Path, tiny_codec: Codec, tmp_path: Path, monkeypatch
):
    out = tmp_path / "out"
    for name in ("bad.wav", "killed.wav", "last.wav"):
        write_wav(folder / name)
    monkeypatch.setattr(codec.batch.work, "compress_file", compress_or_die)
    options = ("-m", tiny_path, "--workers", "2")
    result = lacuna("compress", folder, "--out-dir", out, "--json", *options)
    assert result.code == 1
    rows, summary = json_lines(result)
    assert (summary["done"], summary["failed"]) == (4, 3)
    assert "killed by SIGKILL" in rows["killed.wav"]["problems"][0]
    assert "RuntimeError: a bug" in rows["bad.wav"]["problems"][0]
    assert "not audio" in rows["text.wav"]["problems"][0]
    assert files(out) == lacs([*GOOD, "last.wav"])
    reader = LacReader((out / "last.lac").read_bytes())
    assert reader.header.coding_id.hex() == tiny_codec.coding_id
    assert reader.complete
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"lacuna: error: {folder}") for line in lines)


def write_forever(load: Any, job: Job, bar: Any = None, **options: Any) -> Outcome:
    try:
        with output_file(job.target, force=False):
            os.write(2, b"writing\n")  # at once: two processes print here
            time.sleep(60)
    finally:
        os.write(2, b"asked to stop\n")
    raise AssertionError("not interrupted")


INTERRUPTED = """
import codec.batch.work
import test_workers
from codec.cli.program import main

codec.batch.work.compress_file = test_workers.write_forever
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_an_interrupt_ends_all_workers(folder: Path, tiny_path: Path, tmp_path: Path):
    out = tmp_path / "out"
    arguments = ("compress", folder, "--out-dir", out, "-m", tiny_path, "--workers", "2")
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=default_signals,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
    )
    assert process.stderr is not None
    try:
        assert [process.stderr.readline() for _ in range(2)] == ["writing\n"] * 2
        assert len(files(out)) == 2, "temporary files"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        rest = process.stderr.read()  # ends when the last process has
        assert process.wait(timeout=20) == 128 + signal.SIGINT
    finally:
        process.kill()
    assert rest.count("asked to stop\n") == 2, "they were killed"
    assert "Traceback" not in rest
    assert files(out) == set()
