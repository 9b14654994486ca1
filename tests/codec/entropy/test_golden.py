"""Files of all coders, and one with a waveform layer, kept as bytes: they hold the same symbols on
every machine.

tests/data/golden/symbols.json has what each file holds; golden_coder.py has the tables.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import by_the_book
import by_the_book_layer
import numpy as np
import pytest
from golden_coder import fixed_context, fixed_tables, fixed_token_tables

from codec.entropy import coefficient_tables as layer_tables
from codec.entropy.coder import SymbolCoder
from codec.entropy.coefficients import Layer
from codec.errors import FormatError
from codec.lac.header import LacHeader
from codec.lac.reader import LacReader, verify
from codec.lac.writer import LacWriter

FOLDER = Path(__file__).parents[2] / "data" / "golden"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "symbols.json").read_text(encoding="utf-8"))
TABLES, CONTEXT, TOKENS = fixed_tables(4), fixed_context(4), fixed_token_tables(4)
CODERS: dict[str, SymbolCoder] = {"static": TABLES, "context": CONTEXT, "tokens": TOKENS}


LAYER_TABLES = by_the_book_layer.Tables(
    layer_tables.WEIGHTS,
    layer_tables.THRESHOLDS.tolist(),
    layer_tables.FREQUENCIES.tolist(),
    layer_tables.SPLIT_FREQUENCIES.tolist(),
)


def hop_length(name: str) -> int:
    return 2048 if "layered" in name else 1024


def coder_of(name: str) -> SymbolCoder:
    return CODERS[name.split("_")[0]]


def read(name: str) -> bytes:
    return (FOLDER / f"{name}.lac").read_bytes()


def test_every_file_is_listed():
    assert sorted(path.stem for path in FOLDER.glob("*.lac")) == sorted(EXPECTED)
    assert {name.split("_")[0] for name in EXPECTED} == {"static", "context", "tokens"}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_file_holds_what_it_held(name: str):
    expected = EXPECTED[name]
    reader = LacReader(read(name))
    header = reader.header
    assert verify(read(name)).ok
    assert reader.samples == expected["samples"]
    assert header.context_coded == ("context" in name)
    assert header.tokens == ("tokens" in name)
    assert header.layered == ("layered" in name)
    assert (header.model, header.tags) == ("golden", {"title": "Lücke"})
    assert (header.sample_rate, header.model_sample_rate) == (44100, 44100)
    assert header.hop_length == hop_length(name)
    assert header.coding_id == bytes(range(8))
    blocks = list(reader.blocks(coder_of(name)))
    assert len(blocks) == len(expected["blocks"])
    for layer, facts in zip(reader.layers(), expected["blocks"], strict=True):
        assert (layer is not None) == ("layer" in facts)
        if layer is not None:
            assert layer.step_index == facts["layer"]["step_index"]
            assert layer.split.tolist() == facts["layer"]["split"]
            assert layer.symbols.tolist() == facts["layer"]["symbols"]
    for block, facts in zip(blocks, expected["blocks"], strict=True):
        assert block is not None
        assert block.silent.tolist() == facts["silent"]
        assert block.symbols.tolist() == facts["symbols"]
        if "tokens" in name:
            assert (block.latents == block.symbols).all()
            continue
        # The latents are those of the block's own step.
        step = TABLES.steps(facts["step_index"])[:, None]
        cells = np.where(block.silent[:, None, None], 0, block.symbols * step)
        inner = np.abs(block.symbols) < TABLES.at(facts["step_index"]).limit[:, None]
        assert (np.abs(block.latents - cells) <= 0.5001 * step)[inner].all()


@pytest.mark.parametrize("name", EXPECTED)
def test_the_page_alone_is_enough_to_read_it(name: str):
    fields, blocks = by_the_book.read_file(read(name))
    assert fields["version"] == 3
    kind = {"static": 0, "context": 1, "tokens": 2}[name.split("_")[0]]
    assert fields["flags"] == kind + 4 * ("layered" in name)
    assert fields["samples"] == EXPECTED[name]["samples"]
    assert fields["coding_id"].to_bytes(8, "little") == bytes(range(8))
    assert (fields["model_sample_rate"], fields["hop_length"]) == (44100, hop_length(name))
    for block, facts in zip(blocks, EXPECTED[name]["blocks"], strict=True):
        assert block.silent == facts["silent"]
        assert block.step_index == facts["step_index"]
        stored = [s for s, off in zip(facts["symbols"], block.silent, strict=True) if not off]
        if "context" in name:
            sigma_units = TABLES.sigma_units.tolist()
            decoder = by_the_book.ContextDecoder(
                CONTEXT.arrays, sigma_units, block.step_index, len(stored)
            )
            found = decoder.decode(block.payload, block.frames)
        elif "tokens" in name:
            shape = (len(stored), fields["latent_dim"], block.frames)
            frequencies = TOKENS.frequencies.tolist()
            found = by_the_book.decode_tokens(block.payload, shape, block.step_index, frequencies)
        else:
            shape = (len(stored), fields["latent_dim"], block.frames)
            found = by_the_book.decode_static(
                block.payload, shape, block.step_index, TABLES.to_arrays()
            )
        assert found == stored
        assert (block.layer is not None) == ("layer" in facts)
        if block.layer is not None:
            assert_same_layer(block, facts["layer"])


def assert_same_layer(block: by_the_book.BookBlock, facts: dict[str, Any]) -> None:
    assert block.layer is not None
    assert block.layer.step_index == facts["step_index"]
    heard = [s for s, off in zip(facts["symbols"], block.silent, strict=True) if not off]
    split, symbols = by_the_book_layer.decode_layer(
        block.layer.payload, len(heard), block.frames, block.layer.bins, LAYER_TABLES
    )
    assert (split, symbols) == (facts["split"], heard)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_writer_still_writes_these_bytes(name: str):
    blocks = EXPECTED[name]["blocks"]
    streams = len(blocks[0]["silent"])
    header = LacHeader(
        sample_rate=44100,
        channels=streams,
        coded_channels=streams,
        latent_dim=4,
        frames_per_block=24,
        model_sample_rate=44100,
        hop_length=hop_length(name),
        coding_id=bytes(range(8)),
        model="golden",
        tags={"title": "Lücke"},
        context_coded="context" in name,
        tokens="tokens" in name,
        layered="layered" in name,
    )
    output = io.BytesIO()
    writer = LacWriter(output, header, coder_of(name))
    for block in blocks:
        symbols = np.array(block["symbols"], np.int32)
        layer = None
        if "layer" in block:
            own = block["layer"]
            split, coefficients = np.array(own["split"]), np.array(own["symbols"], np.int16)
            layer = Layer(own["step_index"], split, coefficients)
        silent = np.array(block["silent"])
        writer.write_block(symbols, block["step_index"], silent, layer=layer)
    writer.close(EXPECTED[name]["samples"])
    assert output.getvalue() == read(name)


@pytest.mark.parametrize("name", ["static_stereo", "context_stereo", "tokens_stereo"])
def test_the_other_coder_does_not_open_it(name: str):
    other = TABLES if "context" in name else CONTEXT
    with pytest.raises(FormatError, match="do not decode"):
        list(LacReader(read(name)).blocks(other))
