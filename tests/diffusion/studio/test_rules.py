"""What the studio keeps to, browser or not: ports, the guard, files, sources, sentences."""

from __future__ import annotations

import errno
import importlib.util
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from generation_helpers import tone

from codec.errors import AudioError, LacunaError
from diffusion.cli import studio as command
from diffusion.generation import Sampling
from diffusion.studio import commands, server
from diffusion.studio.html import save_link, table, wrong

pytest.importorskip("gradio", reason="gradio is not installed")

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.testclient import TestClient

from diffusion.studio import sources
from diffusion.studio.guard import Guard, refusal
from diffusion.studio.jobs import Stopped, Watch
from diffusion.studio.sentences import sentence
from diffusion.studio.store import KEPT, Store


def test_without_gradio_the_message_says_how(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LacunaError, match=r'pip install "\.\[studio\]"'):
        command.studio()


def test_help_needs_no_gradio():
    code = (
        "import sys\nfrom diffusion.cli.program import main\n"
        "sys.argv = ['lacuna', 'studio', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'numpy', 'gradio', 'fastapi', 'uvicorn'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "--no-browser" in result.stdout


def test_ports():
    with server.bind(0) as first:
        port = first.getsockname()[1]
        assert first.getsockname()[0] == "127.0.0.1"
        with pytest.raises(LacunaError, match=rf"port {port} is in use; give another"):
            server.bind(port)
    with pytest.raises(LacunaError, match="--port 70000, expected"):
        server.bind(70000)
    with server.bind(None) as one, server.bind(None) as other:
        assert one.getsockname()[1] < other.getsockname()[1]


@pytest.mark.parametrize(
    ("path", "headers", "allowed"),
    [
        ("/", {"host": "127.0.0.1:7860"}, True),
        ("/", {"host": "localhost"}, True),
        ("/", {}, False),
        ("/", {"host": "evil.example:7860"}, False),
        ("/", {"host": "127.0.0.1.evil.example"}, False),
        ("/", {"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:7860"}, True),
        ("/", {"host": "127.0.0.1:7860", "origin": "http://evil.example"}, False),
        ("/", {"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:8000"}, False),
        ("/", {"host": "127.0.0.1:7860", "origin": "null"}, False),
        ("/gradio_api/file=https://evil.example/x", {"host": "127.0.0.1"}, False),
        ("/gradio_api/proxy=https://x.hf.space/", {"host": "127.0.0.1"}, False),
    ],
)
def test_who_is_answered(path: str, headers: dict[str, str], allowed: bool):
    assert (refusal(path, Headers(headers)) is None) is allowed


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 507, "The disk is full: make room"),
        (KeyError("x"), 500, "Unexpected KeyError"),
    ],
)
def test_an_upload_that_fails_is_told_in_a_sentence(error: Exception, status: int, text: str):
    async def upload(request: object) -> None:
        raise error

    app = Starlette(routes=[Route("/", upload, methods=["POST"])])
    answer = TestClient(Guard(app), base_url="http://127.0.0.1").post("/")
    assert answer.status_code == status
    assert answer.text.startswith(text)
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_the_store_gives_what_was_made_and_nothing_else(tmp_path: Path):
    (tmp_path / "made").mkdir()
    (tmp_path / "secret").write_text("secret")
    store = Store(tmp_path / "made")
    folder, url = store.new("a")
    (folder / "x.wav").write_text("sound")
    token = url.removeprefix("/made/")
    assert store.find(token, "x.wav") == folder / "x.wav"
    for name in ("y.wav", "", ".", "..", "../../secret", "/etc/passwd", "x.wav\0"):
        assert store.find(token, name) is None
    for wrong_token in ("", ".", "..", "../..", "0" * 32):
        assert store.find(wrong_token, "x.wav") is None
    other, _ = store.new("b")
    store.forget("a")
    assert store.find(token, "x.wav") is None
    assert not folder.exists()
    assert other.exists()


def test_the_oldest_results_go(tmp_path: Path):
    store = Store(tmp_path)
    folders = [store.new("a")[0] for _ in range(KEPT + 2)]
    assert [folder.exists() for folder in folders] == [False] * 2 + [True] * KEPT


def test_sources_are_kept_with_their_bytes(tmp_path: Path):
    path = tmp_path / "upload.flac"
    soundfile.write(path, tone(0.5, 44100).T, 44100, subtype="PCM_24")
    store = Store(tmp_path / "made")
    store.root.mkdir()
    source, problems = sources.take(store, "a", path, "song.flac")
    assert str(source) == "song.flac: 0.50 s, 44100 Hz, stereo"
    assert source.path.read_bytes() == path.read_bytes()
    assert problems == []
    assert {file.name for file in source.path.parent.iterdir()} == {
        "file.flac", "source.wav", "source-partials.png", "source-full.png"
    }  # fmt: skip


def write(path: Path, seconds: float, sample_rate: int, channels: int) -> Path:
    sound = np.zeros((round(seconds * sample_rate), channels), np.float32)
    soundfile.write(path, sound, sample_rate)
    return path


def test_recordings_that_cannot_be_taken(tmp_path: Path):
    text = tmp_path / "upload0.wav"
    text.write_text("no sound")
    bad = {
        text: "song.wav is not audio",
        write(tmp_path / "empty.wav", 0, 8000, 1): "song.wav holds 0 samples",
        write(tmp_path / "hour.wav", 3600, 1000, 1): "song.wav is 60 minutes long or longer",
        write(tmp_path / "many.wav", 0.1, 8000, 9): "9 channels, expected at most 8",
    }
    for path, message in bad.items():
        with pytest.raises(AudioError, match=message) as caught:
            sources.read(path, "song.wav")
        assert str(tmp_path) not in str(caught.value)


def test_six_channels_and_a_file_cut_short(tmp_path: Path):
    assert len(sources.read(write(tmp_path / "six.wav", 0.1, 8000, 6), "six.wav").waveform) == 6
    whole = write(tmp_path / "whole.wav", 1.0, 8000, 1)
    (tmp_path / "cut.wav").write_bytes(whole.read_bytes()[:9000])
    recording = sources.read(tmp_path / "cut.wav", "song.wav")
    (problem,) = recording.problems
    assert problem.startswith("song.wav is cut short or damaged")


def test_errors_are_sentences():
    assert sentence(LacunaError("what and how")) == "what and how"
    full = sentence(OSError(errno.ENOSPC, "No space left on device", "/tmp/x"))
    assert full.startswith("The disk is full: make room")
    assert "Permission denied" in sentence(PermissionError(errno.EACCES, "Permission denied"))
    assert sentence(KeyError("x")).startswith("Unexpected KeyError")


def test_work_ends_at_its_next_step_when_asked_to():
    stop, shown = threading.Event(), []
    watch = Watch(lambda share, what: shown.append((share, what)), stop)
    watch("making", 1, 4)
    watch("reading", 3, None)
    watch("making", 5, 4)
    assert shown == [(0.25, "making"), (0.0, "reading"), (1.0, "making")]
    stop.set()
    with pytest.raises(Stopped):
        watch("making", 2, 4)


def test_command_lines():
    options = {"strength": 0.1 + 0.2, **commands.of_sampling(Sampling("bell", 3))}
    line = commands.line("vary", "a b.wav", "c.wav", keep_original=False, **options)
    assert shlex.split(line) == [
        *("lacuna", "vary", "a b.wav", "c.wav", "--strength", "0.3", "--label", "bell"),
        *("--seed", "3", "--steps", str(Sampling().steps), "--guidance", "2"),
    ]
    assert "guidance" not in commands.of_sampling(Sampling()) or "--guidance" not in commands.line(
        "generate", "a.wav", **commands.of_sampling(Sampling())
    )
    assert commands.line("inpaint", keep_original=True).endswith("--keep-original")


def test_names_reach_the_page_as_text():
    name = '<img src=x onerror="alert(1)">'
    for html in (save_link(name, "/made/x/y"), table([name], [[name]]), wrong(name)):
        assert "<img" not in html
        assert '"alert' not in html
