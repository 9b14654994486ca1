"""Denoising files with any denoiser: its limits, who finds it, and what may switch it off."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from codec_helpers import BLOCK, music
from lac_helpers import TABLES, Pipe, make_file, make_header, make_symbols
from sound_helpers import BLOCK_SECONDS, block_ends, decompress

from codec.api import Codec, load
from codec.entropy.quantise import Rules
from codec.entropy.static_tables import EntropyTables
from codec.errors import LacunaError
from codec.lac import denoising
from codec.lac.denoising import Denoising, QuantisedBlock, choose_denoising
from codec.lac.reader import Block, LacReader
from codec.lac.writer import LacWriter
from codec.network import keyed_noise


def wild(block: QuantisedBlock, steps: int) -> np.ndarray:
    """Far beyond the cells, on both sides, by noise of their places."""
    _, dim, frames = block.latents.shape
    noise = keyed_noise.normal(block.first_frame, frames, block.channels, dim)
    return block.latents + 10 * steps * noise.transpose(1, 2).numpy()


def with_wild(codec: Codec, data: bytes, *span: float) -> np.ndarray:
    return codec.decompress(data, *span, steps=2, denoiser=wild)[0].numpy()


@pytest.mark.parametrize("streams", [1, 2, 3])
@pytest.mark.parametrize("rules", [Rules(), Rules(side_steps=144, midpoints=True)])
@pytest.mark.parametrize("index", [0, 200, 480, 1023])
def test_a_denoised_block_still_holds_its_symbols(rules: Rules, streams: int, index: int) -> None:
    tables = EntropyTables(TABLES.sigma_units, TABLES.histogram, rules)
    codec: Any = SimpleNamespace(tables=tables)
    latents = 4 * np.random.default_rng(index).standard_normal((streams, 4, 50)).astype(np.float32)
    symbols = tables.quantise(latents, index)
    silent = np.zeros(streams, bool)
    block = Block(symbols, tables.dequantise(symbols, index), silent, index)
    denoised = Denoising(wild, 1).latents(codec, block, 0)
    assert denoised.dtype == np.float32
    assert (tables.quantise(denoised, index) == symbols).all()
    moved = np.abs(denoised - block.latents) > 0.1 * tables.stream_steps(index, streams)[..., None]
    assert moved.mean() > 0.5


def test_a_denoiser_sees_what_is_stored_and_silence_stays(tiny_codec: Codec) -> None:
    seen: list[QuantisedBlock] = []

    def look(block: QuantisedBlock, steps: int) -> np.ndarray:
        seen.append(block)
        assert steps == 7
        return wild(block, steps)

    symbols = np.arange(24).reshape(2, 4, 3) % 3 - 1
    symbols[0] = 0
    latents = np.zeros(symbols.shape, np.float32)
    latents[1] = tiny_codec.tables.dequantise(symbols[1:], 300)[0]
    block = Block(symbols, latents, np.array([True, False]), 300)
    denoised = Denoising(look, 7).latents(tiny_codec, block, 3)
    assert not denoised[0].any()
    assert denoised[1].any()
    (given,) = seen
    assert np.array_equal(given.latents, latents[1:])
    assert (given.low < given.latents).all()
    assert (given.latents < given.high).all()
    assert (given.step_index, given.channels, given.first_frame) == (300, (1,), 3 * 256)
    assert np.array_equal(given.steps, tiny_codec.tables.stream_steps(300, 1))
    quiet = Block(symbols, latents, np.array([True, True]), 300)
    assert Denoising(look, 7).latents(tiny_codec, quiet, 0) is latents
    assert len(seen) == 1


def test_it_is_heard_and_a_span_equals_the_slice_of_the_whole(tiny_codec: Codec) -> None:
    data = tiny_codec.compress(music(7.0, 16000, 2), 16000)
    plain, whole = decompress(tiny_codec, data), with_wild(tiny_codec, data)
    assert not np.array_equal(plain, whole)
    assert np.array_equal(plain, tiny_codec.decompress(data, steps=0, denoiser=wild)[0].numpy())
    for start, duration in ((0.0, 0.5), (2.048, 2.048), (2.047, 0.002), (4.2, 1.3), (6.8, 0.1)):
        first, last = round(start * 16000), round(start * 16000) + round(duration * 16000)
        span = with_wild(tiny_codec, data, start, duration)
        assert np.array_equal(span, whole[:, first:last]), start


def test_damage_costs_a_block_and_not_its_neighbours(tiny_codec: Codec) -> None:
    data = tiny_codec.compress(music(4.5 * BLOCK_SECONDS, 16000, 2), 16000)
    whole, damaged = with_wild(tiny_codec, data), bytearray(data)
    ends = block_ends(data)
    damaged[(ends[2] + ends[3]) // 2] ^= 0x10
    with pytest.warns(UserWarning, match="damaged and silent"):
        decoded = with_wild(tiny_codec, bytes(damaged))
    reach = max(tiny_codec.autoencoder.decoder.receptive_frames * tiny_codec.hop_length, 160)
    assert not decoded[:, 2 * BLOCK : 3 * BLOCK].any()
    assert np.array_equal(decoded[:, : 2 * BLOCK - reach], whole[:, : 2 * BLOCK - reach])
    assert np.array_equal(decoded[:, 3 * BLOCK + reach :], whole[:, 3 * BLOCK + reach :])


def rewritten(codec: Codec, data: bytes, off: set[int]) -> bytes:
    """The same file with denoising switched off in some blocks."""
    reader, out = LacReader(data), io.BytesIO()
    writer = LacWriter(out, reader.header, codec.coder)
    for index, block in enumerate(reader.blocks(codec.coder)):
        assert block is not None
        writer.write_block(block.symbols, block.step_index, block.silent, index not in off)
    assert reader.samples is not None
    writer.close(reader.samples)
    return out.getvalue()


def test_an_encoder_may_switch_it_off_for_a_block(tiny_codec: Codec) -> None:
    data = tiny_codec.compress(music(3.5 * BLOCK_SECONDS, 16000, 2), 16000)
    assert rewritten(tiny_codec, data, set()) == data
    switched = rewritten(tiny_codec, data, {1})
    assert len(switched) == len(data)
    assert np.array_equal(decompress(tiny_codec, switched), decompress(tiny_codec, data))
    whole, plain = with_wild(tiny_codec, data), decompress(tiny_codec, data)
    decoded = with_wild(tiny_codec, switched)
    reach = tiny_codec.autoencoder.decoder.receptive_frames * tiny_codec.hop_length
    inside = slice(BLOCK + reach, 2 * BLOCK - reach)
    assert np.array_equal(decoded[:, inside], plain[:, inside])
    assert not np.array_equal(whole[:, inside], plain[:, inside])
    after = slice(2 * BLOCK + reach, None)
    assert np.array_equal(decoded[:, after], whole[:, after])
    assert LacReader(switched).block_steps == LacReader(data).block_steps
    every = with_wild(tiny_codec, rewritten(tiny_codec, data, {0, 1, 2, 3}))
    assert np.array_equal(every, plain)


def test_the_switch_is_the_highest_bit_of_the_step() -> None:
    header, out = make_header(), Pipe()
    writer = LacWriter(out, header, TABLES)
    writer.write_block(make_symbols(header)[0], 240, None, denoise=False)
    start = len(header.to_bytes())
    assert out.data[start + 6 : start + 8] == (240 | 0x8000).to_bytes(2, "little")
    assert all(
        block is not None and block.denoise for block in LacReader(make_file(header)).blocks(TABLES)
    )


# -- who does it -------------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``installed(name="module:attribute", ...)``: what packages offer."""

    def offer(**entries: str) -> None:
        points = [EntryPoint(name, value, denoising.GROUP) for name, value in entries.items()]
        monkeypatch.setattr(denoising, "entry_points", lambda group: points)

    return offer


def of_any(codec: Codec, weights: str | None) -> Any:
    """A factory: a denoiser of any latents."""
    return wild


def of_none(codec: Codec, weights: str | None) -> Any:
    """A factory that knows none."""
    return None


HERE = f"{__name__}:"


@pytest.fixture(scope="module")
def data(tiny_codec: Codec) -> bytes:
    return tiny_codec.compress(music(1.0, 16000, 1), 16000)


def test_an_installed_denoiser_is_used(
    tiny_codec: Codec, data: bytes, installed: Callable[..., None]
) -> None:
    installed(a=HERE + "of_none", b=HERE + "of_any")
    found = tiny_codec.decompress(data, steps=2)[0].numpy()
    assert np.array_equal(found, with_wild(tiny_codec, data))


def test_without_a_denoiser_files_decode(
    tiny_codec: Codec, data: bytes, installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the default is; only who asks for steps is told that there are none."""
    plain = decompress(tiny_codec, data)
    monkeypatch.setattr(denoising, "DEFAULT_STEPS", 4)
    installed()
    assert np.array_equal(decompress(tiny_codec, data), plain)
    with pytest.raises(LacunaError, match=r"no denoiser.*no installed package.*with 0 steps"):
        tiny_codec.decompress(data, steps=4)
    installed(some=HERE + "of_none")
    assert np.array_equal(decompress(tiny_codec, data), plain)
    told = rf"no denoiser.*{tiny_codec.latent_id}.*\('some'\) are of other latents.*with 0 steps"
    with pytest.raises(LacunaError, match=told):
        tiny_codec.decompress(data, steps=4)
    installed(some=HERE + "of_any")
    assert not np.array_equal(decompress(tiny_codec, data), plain)
    assert np.array_equal(tiny_codec.decompress(data, steps=0)[0].numpy(), plain)


@pytest.mark.parametrize("value", ["nonesuch_package:denoiser", HERE + "nonesuch"])
def test_a_broken_package_is_named(
    tiny_codec: Codec, data: bytes, installed: Callable[..., None], value: str
) -> None:
    installed(some=value)
    with pytest.raises(LacunaError, match=r"'some'.*cannot be imported.*nonesuch.*with 0 steps"):
        tiny_codec.decompress(data, steps=1)


@pytest.mark.parametrize("steps", [-1, 101, 10**9])
def test_a_number_of_steps_that_makes_no_sense(tiny_codec: Codec, data: bytes, steps: int) -> None:
    with pytest.raises(LacunaError, match=rf"{steps} steps.*expected 0 \(off\) to 100"):
        tiny_codec.decompress(data, steps=steps, denoiser=wild)


def test_a_denoiser_makes_the_default_number_of_steps(tiny_codec: Codec, data: bytes) -> None:
    asked = tiny_codec.decompress(data, steps=denoising.DEFAULT_STEPS, denoiser=wild)[0]
    assert torch.equal(tiny_codec.decompress(data, denoiser=wild)[0], asked)
    assert not torch.equal(tiny_codec.decompress(data, steps=0)[0], asked)


def test_files_with_a_waveform_layer_are_not_denoised(installed: Callable[..., None]) -> None:
    """Nor is anything loaded that could."""
    installed(some="nonesuch_package:denoiser")
    codec = load("small")
    sound = 0.3 * np.random.default_rng(0).standard_normal((1, 20_000)).astype(np.float32)
    data = codec.compress(sound, codec.sample_rate, kbps=12)
    assert LacReader(data).header.layered
    assert torch.equal(codec.decompress(data)[0], codec.decompress(data, steps=0)[0])


def test_tokens_are_not_denoised(tiny_codec: Codec) -> None:
    config = SimpleNamespace(tokens=object(), name="some")
    codec: Any = SimpleNamespace(config=config, latent_id=tiny_codec.latent_id)
    assert choose_denoising(codec, 0, None) is None
    with pytest.raises(LacunaError, match="its files hold tokens"):
        choose_denoising(codec, 1, wild)


@pytest.mark.parametrize("change", [lambda z: z * np.nan, lambda z: z[..., :-1]])
def test_a_denoiser_that_fails_says_so(
    tiny_codec: Codec, data: bytes, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    with pytest.raises(LacunaError, match=r"values that are not finite.*with 0 steps"):
        tiny_codec.decompress(data, steps=1, denoiser=lambda block, steps: change(block.latents))
