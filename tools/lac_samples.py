"""Small valid ``.lac`` files, of both coders, with and without waveform layers, made in memory from
fixed seeds."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codec.api import Codec
from codec.entropy.coefficients import Layer
from codec.entropy.context_model import ContextModel
from codec.entropy.context_network import array_shapes
from codec.entropy.context_rows import SHAPE_BITS, SHAPE_CELLS, SHAPE_PER_SCALE
from codec.entropy.static_tables import DENSITY_BITS, GRID_CELLS, GRID_PER_UNIT, EntropyTables
from codec.lac.decompress import coder_for
from codec.lac.header import CRC_BYTES, LAYER_HOP, LacHeader
from codec.lac.reader import Block, LacReader
from codec.lac.writer import LacWriter
from codec.model.blocks import FRAMES_PER_BLOCK
from codec.model.checkpoint import Checkpoint, rules_for
from codec.model.statistics import LatentStatistics
from codec.model.useful_range import UsefulRange
from codec.network.autoencoder import Autoencoder
from codec.network.config import ModelConfig, SpectralConfig, SpectralMapConfig

LATENT_DIM, SMALL_FRAMES, HOP, RATE = 4, 6, 128, 16_000
CODING_ID = bytes(range(8))

FIXED_HEADER = 34
"""Bytes of a header before its name and tags."""
LAYER_RATE = 44_100
"""Sample rate of files with waveform layers, Hz."""


def _counts(cells: int, per_unit: int, bits: int) -> np.ndarray:
    """A logistic density over ``cells`` as counts of at least 1 that sum to 2^bits."""
    edges = (np.arange(cells + 1) - cells / 2) / per_unit
    below = 1 / (1 + np.exp(-edges))
    below = (below - below[0]) / (below[-1] - below[0])
    return (np.diff(np.rint(below * ((1 << bits) - cells))) + 1).astype(np.int32)


class _FixedIdCodec(Codec):
    """Its ``coding_id`` is a constant, not a hash, so that the mutants do not depend on torch's
    random numbers."""

    coding_id = CODING_ID.hex()


@cache
def tiny_codec() -> Codec:
    """An untrained codec of four latents."""
    network = SpectralConfig(
        n_fft=256,
        stft_hop=64,
        phase_bins=16,
        widths=(8, 8),
        encoder_depths=(1, 1),
        decoder_depths=(1, 1),
        kernel_size=3,
    )
    return _codec(RATE, network)


@cache
def layered_codec() -> Codec:
    """One whose files have waveform layers."""
    return _codec(
        LAYER_RATE, SpectralMapConfig(width=8, depth=1, renderer_width=8, renderer_depth=1)
    )


def codec_of(header: LacHeader) -> Codec:
    """The one that a file was made with."""
    return layered_codec() if header.layered else tiny_codec()


def _codec(sample_rate: int, network: SpectralConfig | SpectralMapConfig) -> Codec:
    config = ModelConfig(
        name="fuzz", sample_rate=sample_rate, latent_dim=LATENT_DIM, network=network
    )
    rng = np.random.default_rng(0)
    histogram = np.tile(_counts(GRID_CELLS, GRID_PER_UNIT, DENSITY_BITS), (LATENT_DIM, 1))
    sigma_units = np.full(LATENT_DIM, 1 << 18, np.int32)
    tables = EntropyTables(sigma_units, histogram, rules_for(config))
    arrays: dict[str, NDArray[Any]] = {
        name: rng.integers(-700, 700, shape).astype(dtype)
        for name, (dtype, shape) in array_shapes(LATENT_DIM).items()
    }
    arrays["shape"] = _counts(SHAPE_CELLS, SHAPE_PER_SCALE, SHAPE_BITS)
    one = torch.ones(LATENT_DIM)
    loaded = Checkpoint(
        config,
        Autoencoder(config).eval(),
        LatentStatistics(0 * one, one, one / 4),
        tables,
        UsefulRange(200, 600, 0.1, 1.0),
        context=ContextModel(arrays, tables),
    )
    return _FixedIdCodec(loaded).requires_grad_(False)


@dataclass(frozen=True)
class Sample:
    """A valid file, and what is in it."""

    name: str
    data: bytes
    header: LacHeader
    start: int
    """Length of the header in bytes."""
    spans: list[tuple[int, int]]
    """Begin and end of each block."""
    blocks: list[Block]

    def body(self, number: int) -> int:
        """Where the payload of a block's latents begins."""
        return self.spans[number][0] + self.header.fields_bytes + self.header.mask_bytes

    def base_end(self, number: int) -> int:
        """The end of a block without its waveform layer."""
        begin = self.spans[number][0]
        length = int.from_bytes(self.data[begin + 8 : begin + 12], "little")
        return self.body(number) + length + CRC_BYTES


def _sample(
    name: str,
    seed: int,
    coder_name: str,
    frames: list[int],
    frames_per_block: int = SMALL_FRAMES,
    channels: int = 1,
    sample_rate: int = RATE,
    silent: tuple[tuple[int, int], ...] = (),
    tags: dict[str, str] | None = None,
    bins: int | None = None,
) -> Sample:
    """``coder_name`` is static or context; ``silent`` holds pairs (block, channel); with ``bins``
    there is a waveform layer of so many coefficients."""
    rng = np.random.default_rng(seed)
    layered = bins is not None
    model_rate, hop = (LAYER_RATE, LAYER_HOP) if layered else (RATE, HOP)
    header = LacHeader(
        sample_rate=sample_rate,
        channels=channels,
        coded_channels=channels,
        latent_dim=LATENT_DIM,
        frames_per_block=frames_per_block,
        model_sample_rate=model_rate,
        hop_length=hop,
        coding_id=CODING_ID,
        model="fuzz",
        tags=tags or {},
        context_coded=coder_name == "context",
        layered=layered,
    )
    coder = coder_for(codec_of(header), header)
    blocks = []
    for number, length in enumerate(frames):
        mask = np.array([(number, c) in silent for c in range(channels)])
        symbols = np.rint(rng.laplace(0, 2, (channels, LATENT_DIM, length))).astype(np.int16)
        symbols = np.clip(symbols, -9, 9)
        if number == 1:  # far from what is expected: the context model's escapes
            symbols[0, 0, 0] = 60 if coder_name == "context" else 9
        symbols[mask] = 0
        # Of a layered file's two streams the second has coarser steps.
        step = 96 if number == 1 else (240 if layered else 384) + 16 * (number % 2)
        latents = np.zeros(symbols.shape, np.float32)
        latents[~mask] = coder.dequantise(symbols[~mask], step)
        layer = None if bins is None else _layer(rng, mask, length, bins)
        denoise = layer is None and number % 3 != 2
        blocks.append(Block(symbols, latents, mask, step, denoise, layer))
    samples = max(1, sum(frames) * hop * sample_rate // model_rate - 50)
    file = BytesIO()
    writer = LacWriter(file, header, coder)
    for block in blocks:
        writer.write_block(
            block.symbols, block.step_index, block.silent, block.denoise, block.layer
        )
    writer.close(samples)
    data = file.getvalue()
    start = int.from_bytes(data[6:8], "little")
    sizes = struct.unpack_from(f"<{len(frames)}I", data, len(data) - 24 - 4 * len(frames))
    ends = (start + np.cumsum(sizes)).tolist()
    spans = list(zip([start, *ends], ends, strict=False))
    sample = Sample(name, data, header, start, spans, blocks)
    assert LacReader(data).complete
    return sample


def _layer(rng: np.random.Generator, silent: np.ndarray, frames: int, bins: int) -> Layer:
    """Coefficients with an escape among them."""
    symbols = np.rint(rng.laplace(0, 0.8, (len(silent), frames, bins))).astype(np.int16)
    if bins:
        symbols[0, 0, 1] = -40
    symbols[silent] = 0
    split = rng.integers(0, 4, frames).astype(np.uint8)
    return Layer(int(rng.integers(300, 800)), split, symbols)


@cache
def layered_samples() -> list[Sample]:
    stereo: dict[str, Any] = {"channels": 2, "sample_rate": LAYER_RATE}
    return [
        _sample("layer mono", 21, "context", [6, 6, 6, 2], sample_rate=22_050, bins=32),
        _sample("layer stereo", 22, "context", [6, 6, 1], **stereo, silent=((1, 1),), bins=64),
        _sample("layer stereo, static", 23, "static", [6, 3], **stereo, bins=16),
        _sample("layer 3 channels", 24, "context", [2], channels=3, bins=48),
        _sample(
            *("layer silence, empty", 25, "context", [6, 4]),
            **stereo,
            silent=((0, 0), (0, 1)),
            bins=0,
        ),
    ]


@cache
def small_samples() -> list[Sample]:
    return [
        *layered_samples(),
        _sample("static mono", 2, "static", [6] * 6, sample_rate=44_100),
        _sample("static stereo, tags", 3, "static", [6, 6, 3], channels=2, tags={"title": "Lücke"}),
        _sample("context mono", 4, "context", [6, 6, 6, 6, 6, 3]),
        _sample(
            *("context stereo, tags", 5, "context", [6, 6, 6, 4]),
            channels=2,
            tags={"artist": "", "title": "x" * 60},
            silent=((2, 1), (3, 0)),
        ),
        _sample("context 6 channels", 6, "context", [6, 6], channels=6, silent=((1, 3),)),
        _sample("context one frame", 7, "context", [1]),
        _sample("context silence", 8, "context", [6] * 4, silent=tuple((i, 0) for i in range(4))),
    ]


@cache
def network_samples() -> list[Sample]:
    long = FRAMES_PER_BLOCK
    return [
        _sample("static stereo, 256", 11, "static", [long, 9], long, 2, 44_100, ((0, 1),)),
        _sample("context mono, 256", 12, "context", [long, long, 3], long, 1, 8_000),
        _sample("context stereo, 256", 13, "context", [20], long, 2, 22_050),
        _sample("layer stereo, 256", 14, "context", [9], long, 2, 44_100, bins=32),
    ]
