"""info and verify: what stands in a file, whole or damaged."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from codec_helpers import BLOCK, Lacuna

from codec.api import Codec
from codec.errors import FormatError
from codec.lac.header import LacHeader
from codec.lac.reader import LacReader
from codec.lac.writer import LacWriter


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
    assert facts["coding_id"] == tiny_codec.coding_id
    assert facts["tags"] == {"title": "A chord"}
    assert facts["complete"]
    text = lacuna("info", tmp_path / "a.lac").stdout.decode()
    assert f"{'coding id':18} {tiny_codec.coding_id}" in text
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
        coding_id=bytes.fromhex(codec.coding_id),
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
        "damaged_layers": [],
        "complete": True,
        "samples": round(3.5 * BLOCK),
    }
    assert "ok                 True" in lacuna("verify", lac).stdout.decode()


def test_a_forged_file_claims_no_more_than_its_bytes_show(
    lacuna: Lacuna, lac: Path, tiny_codec: Codec, tiny_path: Path, tmp_path: Path
):
    """105 bytes claimed 65,000 blocks, and `decompress` began to write 68 GB of silence."""
    header = LacReader(lac.read_bytes()).header.to_bytes()
    whole = tmp_path / "forged.lac"
    for body in (
        b"\0" * 30,
        lac.read_bytes()[len(header) :][: LacReader(lac.read_bytes()).block_bytes[0]],
    ):
        numbers = struct.pack("<QI", 65_000 * BLOCK, 65_000)
        footer = numbers + struct.pack("<I", zlib.crc32(numbers)) + b"LEND"
        whole.write_bytes(header + body + footer)
        most = 2 * ((len(body) + len(footer)) // 17) + 1
        facts = json.loads(lacuna("info", whole, "--json").stdout)
        assert facts["seconds"] is None
        assert facts["blocks"] <= most
        report = lacuna("verify", whole, "--json")
        assert report.code == 3
        assert json.loads(report.stdout)["blocks"] <= most
        arguments = ("decompress", whole, tmp_path / "out.wav", "--force", "-m", tiny_path)
        assert lacuna(*arguments).code == 3
        if body[:1] == b"\0":
            assert not (tmp_path / "out.wav").exists()
            with pytest.raises(FormatError, match=r"none of the file's|holds no sound"):
                tiny_codec.decompress(whole.read_bytes())
        else:
            with pytest.warns(UserWarning, match="damaged"):
                waveform, _ = tiny_codec.decompress(whole.read_bytes())
            assert BLOCK <= waveform.shape[1] <= most * BLOCK
