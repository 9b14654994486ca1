"""The command line: every command's happy path, streams, exit codes, and what it leaves behind."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from codec_helpers import BLOCK, Lacuna, music, write_wav

from codec.api import Codec, load
from codec.lac.header import LacHeader
from codec.lac.reader import LacReader
from codec.lac.writer import LacWriter
from codec.model import checkpoint


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """One second of 44.1 kHz stereo, with tags."""
    path = tmp_path / "in.flac"
    with soundfile.SoundFile(path, "w", 44100, 2, format="FLAC") as file:
        file.title = "A chord"
        file.write(music(1.0, 44100, 2).T)
    return path


def test_compress_then_decompress(lacuna: Lacuna, wav: Path, tiny_path: Path, tmp_path: Path):
    result = lacuna("compress", wav, tmp_path / "a.lac", "--model", tiny_path, "--kbps", "3")
    assert result.code == 0
    size = (tmp_path / "a.lac").stat().st_size
    assert f"{size:,} bytes for 1.00 s" in result.stderr
    assert result.stdout == b""
    result = lacuna("decompress", tmp_path / "a.lac", tmp_path / "a.wav", "--model", tiny_path)
    assert result.code == 0
    assert "1.00 s, 44100 Hz, 2 channels" in result.stderr
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.samplerate, info.channels, info.frames) == (44100, 2, 44100)
    assert info.subtype == "PCM_16"


def test_above_the_range_it_says_so(lacuna: Lacuna, wav: Path, tiny_path: Path, tmp_path: Path):
    out = tmp_path / "a.lac"
    result = lacuna("compress", wav, out, "--model", tiny_path, "--kbps", "500")
    assert result.code == 0
    assert "finest useful" in result.stderr
    result = lacuna("compress", wav, out, "--model", tiny_path, "--kbps", "0.8", "--force")
    assert result.code == 0
    assert "finest useful" not in result.stderr


def test_files_and_arrays_give_the_same_bytes(
    lacuna: Lacuna, tiny_codec: Codec, tiny_path: Path, tmp_path: Path
):
    sound = music(2.5, 44100, 2)
    soundfile.write(tmp_path / "in.wav", sound.T, 44100, subtype="FLOAT")
    assert lacuna("compress", tmp_path / "in.wav", tmp_path / "a.lac", "-m", tiny_path).code == 0
    data = (tmp_path / "a.lac").read_bytes()
    assert data == tiny_codec.compress(sound, 44100)
    piped = lacuna("compress", "-", "-", "-m", tiny_path, stdin=(tmp_path / "in.wav").read_bytes())
    assert piped.stdout == data
    out = tmp_path / "a.wav"
    assert (
        lacuna("decompress", tmp_path / "a.lac", out, "-m", tiny_path, "--bits", "float").code == 0
    )
    decoded, _ = soundfile.read(out, dtype="float32")
    assert np.array_equal(decoded.T, tiny_codec.decompress(data)[0].numpy())


def test_standard_input_and_output(lacuna: Lacuna, lac: Path, tiny_path: Path, tmp_path: Path):
    to_file = lacuna("decompress", lac, tmp_path / "a.wav", "-m", tiny_path)
    piped = lacuna("decompress", "-", "-", "-m", tiny_path, stdin=lac.read_bytes())
    assert to_file.code == piped.code == 0
    assert piped.stdout == (tmp_path / "a.wav").read_bytes()
    assert lacuna("info", "-", stdin=lac.read_bytes()).code == 0
    assert lacuna("verify", "-", stdin=lac.read_bytes()).code == 0


def test_a_span(lacuna: Lacuna, lac: Path, tiny_path: Path, tmp_path: Path):
    lacuna("decompress", lac, tmp_path / "whole.wav", "-m", tiny_path)
    span = ("--start", "2.5", "--duration", "1.25")
    assert lacuna("decompress", lac, tmp_path / "span.wav", "-m", tiny_path, *span).code == 0
    whole, _ = soundfile.read(tmp_path / "whole.wav")
    part, _ = soundfile.read(tmp_path / "span.wav")
    assert np.array_equal(part, whole[40000:60000])


@pytest.mark.parametrize(
    ("bits", "suffix", "subtype"),
    [
        (None, ".wav", "PCM_16"),
        ("24", ".wav", "PCM_24"),
        ("float", ".wav", "FLOAT"),
        ("24", ".flac", "PCM_24"),
        (None, ".ogg", "VORBIS"),
    ],
)
def test_sample_formats(
    lacuna: Lacuna, lac: Path, tiny_path: Path, tmp_path: Path, bits, suffix: str, subtype: str
):
    out = tmp_path / f"a{suffix}"
    options = ("--bits", bits) if bits else ()
    assert lacuna("decompress", lac, out, "-m", tiny_path, *options).code == 0
    info = soundfile.info(out)
    assert info.subtype == subtype
    assert info.frames == round(3.5 * BLOCK)


def test_precision_of_the_sample_formats(lacuna: Lacuna, lac, tiny_codec, tiny_path, tmp_path):
    exact = tiny_codec.decompress(lac.read_bytes())[0].numpy()[0]
    for bits, step in (("16", 2**-15), ("24", 2**-23), ("float", 0)):
        out = tmp_path / f"{bits}.wav"
        lacuna("decompress", lac, out, "-m", tiny_path, "--bits", bits)
        decoded, _ = soundfile.read(out)
        assert np.abs(decoded - np.clip(exact, -1, 1 - step)).max() <= step / 2 + 1e-9


@pytest.fixture
def loud_path(tiny_path: Path, tmp_path: Path) -> Path:
    """The tiny model with a decoder that shouts: the same latent_id, 40 dB more."""
    loaded = checkpoint.load(tiny_path)
    head = loaded.autoencoder.decoder.head
    with torch.no_grad():
        head.bias[: len(head.bias) // 3] += np.log(100)  # the log-magnitudes
    checkpoint.save(loaded, tmp_path / "loud.safetensors")
    return tmp_path / "loud.safetensors"


def test_peaks_are_clipped_and_counted_not_wrapped(
    lacuna: Lacuna, lac: Path, loud_path: Path, tmp_path: Path
):
    exact = load(loud_path).decompress(lac.read_bytes())[0].numpy()[0]
    beyond = np.count_nonzero(np.abs(exact) > 1)
    assert beyond > 100
    result = lacuna("decompress", lac, tmp_path / "a.wav", "-m", loud_path)
    assert result.code == 0
    assert f"{beyond} samples exceeded full scale" in result.stderr
    decoded, _ = soundfile.read(tmp_path / "a.wav")
    assert np.abs(decoded - np.clip(exact, -1, 1)).max() <= 2**-15
    lacuna("decompress", lac, tmp_path / "f.wav", "-m", loud_path, "--bits", "float")
    kept, _ = soundfile.read(tmp_path / "f.wav", dtype="float32")
    assert np.array_equal(kept, exact)


def test_info(lacuna: Lacuna, wav: Path, tiny_codec: Codec, tiny_path: Path, tmp_path: Path):
    lacuna("compress", wav, tmp_path / "a.lac", "-m", tiny_path)
    facts = json.loads(lacuna("info", tmp_path / "a.lac", "--json").stdout)
    size = (tmp_path / "a.lac").stat().st_size
    assert facts["seconds"] == 1.0
    assert facts["samples"] == facts["sample_rate"] == 44100
    assert facts["channels"] == 2
    assert facts["bytes"] == size
    assert facts["kbps"] == pytest.approx(size * 8 / 1000)
    assert facts["model"] == "tiny"
    assert facts["latent_id"] == tiny_codec.latent_id
    assert facts["tags"] == {"title": "A chord"}
    assert facts["complete"]
    text = lacuna("info", tmp_path / "a.lac").stdout.decode()
    assert f"{'latent id':18} {tiny_codec.latent_id}" in text
    assert "  title: A chord" in text.splitlines()


def test_info_shows_where_the_bytes_are(lacuna: Lacuna, lac: Path, tiny_codec: Codec):
    facts = json.loads(lacuna("info", lac, "--json").stdout)
    rates, seconds = facts["kbps_per_block"], facts["seconds_per_block"]
    assert seconds == pytest.approx([2.048, 2.048, 2.048, 1.024])
    bits = sum(rate * 1000 * duration for rate, duration in zip(rates, seconds, strict=True))
    assert bits == pytest.approx(8 * sum(facts["bytes_per_block"]))
    header = len(LacReader(lac.read_bytes()).header.to_bytes())
    index_and_footer = 16 + 4 * 4 + 4 + 20  # docs/FORMAT.md
    assert header + sum(facts["bytes_per_block"]) + index_and_footer == facts["bytes"]
    assert facts["min_kbps"] == min(rates)
    assert facts["max_kbps"] == max(rates)
    assert facts["mean_kbps"] == pytest.approx(bits / 1000 / 7.168)
    assert min(rates) <= facts["mean_kbps"] <= max(rates)
    text = lacuna("info", lac).stdout.decode()
    assert f"{min(rates):.3f} to {max(rates):.3f}, mean {facts['mean_kbps']:.3f}" in text


def long_lac(codec: Codec, blocks: int, tags: dict[str, str]) -> bytes:
    """A file of silence in its first half and of any symbols in its second."""
    output = io.BytesIO()
    header = LacHeader(
        sample_rate=16000,
        channels=1,
        coded_channels=1,
        latent_dim=4,
        frames_per_block=256,
        context_coded=False,
        model_sample_rate=16000,
        hop_length=128,
        latent_id=bytes.fromhex(codec.latent_id),
        model="tiny",
        tags=tags,
    )
    writer = LacWriter(output, header, codec.tables)
    for index in range(blocks):
        silent = np.array([index < blocks // 2])
        writer.write_block(np.zeros((1, 4, 256), np.int64), codec.useful.finest_step, silent)
    writer.close(blocks * BLOCK)
    return output.getvalue()


@pytest.mark.parametrize("blocks", [1, 59, 61, 1200])
def test_the_line_of_bars(lacuna: Lacuna, tiny_codec: Codec, blocks: int):
    data = long_lac(tiny_codec, blocks, {})
    lines = lacuna("info", "-", stdin=data).stdout.decode().splitlines()
    (bars,) = (line[19:] for line in lines if line.startswith("kbps over time"))
    assert 0 < len(bars) <= 60
    assert len(bars) == -(-blocks // -(-blocks // 60))
    assert bars[-1] == "█"
    if blocks > 1:
        assert bars[0] < bars[-1]
        assert list(bars) == sorted(bars)


def test_info_of_a_damaged_file(lacuna: Lacuna, tiny_codec: Codec):
    data = bytearray(long_lac(tiny_codec, 5, {}))
    sizes = json.loads(lacuna("info", "-", "--json", stdin=bytes(data)).stdout)["bytes_per_block"]
    data[len(data) - 60 - sizes[4] - sizes[3] - 5] ^= 0xFF  # near the end of the third block
    facts = json.loads(lacuna("info", "-", "--json", stdin=bytes(data)).stdout)
    assert facts["damaged_blocks"] == [2]
    assert facts["bytes_per_block"] == [*sizes[:2], None, *sizes[3:]]
    assert [rate is None for rate in facts["kbps_per_block"]] == [i == 2 for i in range(5)]
    text = lacuna("info", "-", stdin=bytes(data)).stdout.decode()
    assert "?: lost" in text
    nothing = bytes(data[: len(LacReader(bytes(data)).header.to_bytes())])
    assert json.loads(lacuna("info", "-", "--json", stdin=nothing).stdout)["mean_kbps"] is None
    assert "none is whole" in lacuna("info", "-", stdin=nothing).stdout.decode()


def test_tags_stay_on_their_lines(lacuna: Lacuna, tiny_codec: Codec):
    tags = {"title": "日本 \x1b[2J", "comment": "one\ntwo"}
    lines = lacuna("info", "-", stdin=long_lac(tiny_codec, 1, tags)).stdout.decode().splitlines()
    assert lines[-3:] == ["tags", "  title: 日本 ?[2J", "  comment: one?two"]
    lines = lacuna("info", "-", stdin=long_lac(tiny_codec, 1, {})).stdout.decode().splitlines()
    assert lines[-1].split() == ["tags", "none"]


def test_verify(lacuna: Lacuna, lac: Path):
    result = lacuna("verify", lac, "--json")
    assert result.code == 0
    assert json.loads(result.stdout) == {
        "ok": True,
        "blocks": 4,
        "damaged_blocks": [],
        "complete": True,
        "samples": round(3.5 * BLOCK),
    }
    assert "ok                 True" in lacuna("verify", lac).stdout.decode()


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
    assert row["compression"] == 32
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
    ["encode"],
    ["decode"],
    ["models"],
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
