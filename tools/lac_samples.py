"""Small valid ``.lac`` files, of both coders, made in memory from fixed seeds."""

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
from codec.entropy.context_model import ContextModel
from codec.entropy.context_network import array_shapes
from codec.entropy.context_rows import SHAPE_BITS, SHAPE_CELLS, SHAPE_PER_SCALE
from codec.entropy.static_tables import DENSITY_BITS, GRID_CELLS, GRID_PER_UNIT, EntropyTables
from codec.lac.decompress import coder_for
from codec.lac.header import LacHeader
from codec.lac.reader import Block, LacReader
from codec.lac.writer import LacWriter
from codec.model.blocks import FRAMES_PER_BLOCK
from codec.model.checkpoint import Checkpoint
from codec.model.statistics import LatentStatistics
from codec.model.useful_range import UsefulRange
from codec.network.autoencoder import Autoencoder
from codec.network.config import ModelConfig, SpectralConfig

LATENT_DIM, SMALL_FRAMES, HOP, RATE = 4, 6, 128, 16_000
CODING_ID = bytes(range(8))

FIXED_HEADER = 34
"""Bytes of a header before its name and tags."""
FIXED_BLOCK = 12
"""Bytes of a block before its silence mask."""


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
    rng = np.random.default_rng(0)
    histogram = np.tile(_counts(GRID_CELLS, GRID_PER_UNIT, DENSITY_BITS), (LATENT_DIM, 1))
    tables = EntropyTables(np.full(LATENT_DIM, 1 << 18, np.int32), histogram)
    arrays: dict[str, NDArray[Any]] = {
        name: rng.integers(-700, 700, shape).astype(dtype)
        for name, (dtype, shape) in array_shapes(LATENT_DIM).items()
    }
    arrays["shape"] = _counts(SHAPE_CELLS, SHAPE_PER_SCALE, SHAPE_BITS)
    network = SpectralConfig(
        n_fft=256,
        stft_hop=64,
        phase_bins=16,
        widths=(8, 8),
        encoder_depths=(1, 1),
        decoder_depths=(1, 1),
        kernel_size=3,
    )
    config = ModelConfig(name="fuzz", sample_rate=RATE, latent_dim=LATENT_DIM, network=network)
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
) -> Sample:
    """``coder_name`` is static or context; ``silent`` holds pairs (block, channel)."""
    codec = tiny_codec()
    rng = np.random.default_rng(seed)
    header = LacHeader(
        sample_rate=sample_rate,
        channels=channels,
        coded_channels=channels,
        latent_dim=LATENT_DIM,
        frames_per_block=frames_per_block,
        model_sample_rate=RATE,
        hop_length=HOP,
        coding_id=CODING_ID,
        model="fuzz",
        tags=tags or {},
        context_coded=coder_name == "context",
    )
    coder = coder_for(codec, header)
    blocks = []
    for number, length in enumerate(frames):
        mask = np.array([(number, c) in silent for c in range(channels)])
        symbols = np.rint(rng.laplace(0, 2, (channels, LATENT_DIM, length))).astype(np.int16)
        symbols = np.clip(symbols, -9, 9)
        if number == 1:  # far from what is expected: the context model's escapes
            symbols[0, 0, 0] = 60 if coder_name == "context" else 9
        symbols[mask] = 0
        step = 96 if number == 1 else 384 + 16 * (number % 2)
        latents = np.zeros(symbols.shape, np.float32)
        latents[~mask] = coder.dequantise(symbols[~mask], step)
        blocks.append(Block(symbols, latents, mask, step, denoise=number % 3 != 2))
    samples = max(1, sum(frames) * HOP * sample_rate // RATE - 50)
    file = BytesIO()
    writer = LacWriter(file, header, coder)
    for block in blocks:
        writer.write_block(block.symbols, block.step_index, block.silent, block.denoise)
    writer.close(samples)
    data = file.getvalue()
    start = int.from_bytes(data[6:8], "little")
    sizes = struct.unpack_from(f"<{len(frames)}I", data, len(data) - 24 - 4 * len(frames))
    ends = (start + np.cumsum(sizes)).tolist()
    spans = list(zip([start, *ends], ends, strict=False))
    sample = Sample(name, data, header, start, spans, blocks)
    assert LacReader(data).complete
    return sample


@cache
def small_samples() -> list[Sample]:
    return [
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
    ]
