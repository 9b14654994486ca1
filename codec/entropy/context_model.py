"""Context model: the probability of a symbol, given the symbols that are decoded already.

A static table (static_tables.py) knows how often a value occurs. Its neighbours tell much more:
the same channel a moment ago, the other channels of this frame, the other side of a stereo pair
(waves.py says which). For each latent channel a small network turns them into a mean and a scale
(context_network.py), which select one row of a table of frequencies (context_rows.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from constriction import stream
from numpy.typing import NDArray

from codec.entropy.context_network import ONE, ContextNetwork, Prediction, StepUnits, network_inputs
from codec.entropy.context_rows import COLUMNS, WINDOW, frequency_rows
from codec.entropy.quantise import symbol_limits
from codec.entropy.static_tables import (
    FREQUENCY_BITS,
    EntropyTables,
    check_symbols,
    not_ours,
    range_decoder,
)
from codec.entropy.waves import Ints, Waves, coding_order
from codec.errors import FormatError

ESCAPE_BITS = 13

_THREE = stream.model.Categorical(perfect=False)
_ROW = stream.model.Categorical(perfect=False)
_ESCAPE = stream.model.Uniform(1 << ESCAPE_BITS)


class ContextModel:
    """Codes the symbols of blocks by what its network predicts of them."""

    def __init__(self, arrays: dict[str, NDArray[Any]], tables: EntropyTables) -> None:
        """``tables`` have the quantiser's steps.

        Raises:
            CheckpointError: the arrays are not those of ``array_shapes``.
        """
        self.latent_dim = tables.latent_dim
        self.network = ContextNetwork(arrays, self.latent_dim)
        self.arrays = arrays
        self._tables = tables
        self.frequencies, self.offsets = frequency_rows(arrays["shape"].astype(np.int64))
        self._below = np.cumsum(self.frequencies, axis=-1) - self.frequencies
        # Less one, since constriction adds one to every frequency: see static_tables.py.
        self._rows = (self.frequencies - 1).astype(np.float64)

    def stream_steps(self, step_index: int, streams: int) -> NDArray[np.float64]:
        """The quantiser step of every latent of a block, (streams, latent_dim)."""
        return self._tables.stream_steps(step_index, streams)

    def quantise(self, latents: NDArray[Any], step_index: int) -> NDArray[np.int16]:
        """Symbols of a block's latents (streams, latent_dim, frames) in standard units."""
        return self._tables.quantise(latents, step_index)

    def predict(self, symbols: NDArray[np.integer], step_index: int) -> Prediction:
        """The prediction of every symbol of a block (streams, latent_dim, frames)."""
        steps = self.stream_steps(step_index, len(symbols))
        at = StepUnits(steps)
        parts = [
            self.network.predict(inputs, at, slice(0, steps.size))
            for inputs in network_inputs(symbols, steps)
        ]
        return Prediction(
            *(
                np.concatenate([getattr(part, name) for part in parts], 1).reshape(symbols.shape)
                for name in ("nearest", "phase", "scale")
            )
        )

    def encode(self, symbols: NDArray[np.integer], step_index: int) -> bytes:
        """The bytes of a block's symbols (streams, latent_dim, frames), a multiple of 4.

        Raises:
            ValueError: the shape does not fit, or a symbol exceeds its channel's limit.
        """
        below, size = self._intervals(symbols, step_index)
        encoder = stream.queue.RangeEncoder()
        if size.size:
            # To a range coder a symbol is the mass below it and its own: three columns suffice.
            rows = np.stack([below, size, (1 << FREQUENCY_BITS) - below - size], axis=1) - 1
            encoder.encode(np.ones(len(rows), np.int32), _THREE, rows.astype(np.float64))
        return encoder.get_compressed().astype("<u4").tobytes()

    def cost_bits(self, symbols: NDArray[np.integer], step_index: int) -> float:
        """The information in a block's symbols in bits, within about 33 bits of ``encode``."""
        _, size = self._intervals(symbols, step_index)
        return float((FREQUENCY_BITS - np.log2(size)).sum())

    def decode(
        self,
        payloads: list[bytes],
        shapes: list[tuple[int, int, int]],
        step_index: int,
    ) -> list[NDArray[np.int16]]:
        """The symbols of blocks of one step and these shapes (streams, latent_dim, frames), of
        which only ``frames`` may differ.

        Several blocks at once take much less time than one by one, and give the same symbols.

        Raises:
            FormatError: the bytes cannot come from this model, step and shapes.
        """
        decoders = [range_decoder(data) for data in payloads]
        longest = max(shapes, key=lambda shape: shape[2])
        steps = self.stream_steps(step_index, longest[0])
        at = StepUnits(steps)
        waves = Waves(len(payloads), longest, at.log2_inputs, ONE)
        symbols = np.zeros((waves.lanes, longest[2], len(payloads)), np.int64)
        for wave in range(waves.count):
            lanes = waves.members(wave)  # lane l is at frame wave - l
            asked = waves.asked(lanes)  # of the network
            predicted = self.network.predict(waves.wave_inputs(wave), at, asked)
            decoded = np.zeros((lanes.stop - lanes.start, len(payloads)), np.int64)
            for block, (decoder, shape) in enumerate(zip(decoders, shapes, strict=True)):
                first = max(lanes.start, wave + 1 - shape[2])
                if first >= lanes.stop:  # a short block has ended
                    continue
                own = slice(first - asked.start, lanes.stop - asked.start), block
                away = _decode_away(decoder, self._rows[predicted.scale[own], predicted.phase[own]])
                if away is None:
                    raise FormatError(not_ours(payloads, shapes))
                decoded[first - lanes.start :, block] = predicted.nearest[own] + away
            rows_of = waves.rows[lanes]
            symbols[rows_of, wave - rows_of] = decoded
            waves.store_wave(wave, at.values(decoded, lanes))
        unread = not all(decoder.maybe_exhausted() for decoder in decoders)
        beyond = np.abs(symbols) > symbol_limits(steps).reshape(-1, 1, 1)
        if unread or beyond.any():
            raise FormatError(not_ours(payloads, shapes))
        return [
            symbols[:, : shape[2], block].reshape(shape).astype(np.int16)
            for block, shape in enumerate(shapes)
        ]

    def dequantise(self, symbols: NDArray[np.integer], step_index: int) -> NDArray[np.float32]:
        """Each symbol's latent in standard units: the mean of its predicted density in its cell, or
        its middle, as the rules of the tables say."""
        if symbols.size == 0 or self._tables.rules.midpoints:
            return self._tables.dequantise(symbols, step_index)
        predicted = self.predict(symbols, step_index)
        column = np.clip(symbols - predicted.nearest + WINDOW + 2, 0, COLUMNS - 1)
        offset = self.offsets[predicted.scale, predicted.phase, column]
        steps = self.stream_steps(step_index, len(symbols))
        return ((symbols + offset) * steps[..., None]).astype(np.float32)

    def _intervals(self, symbols: NDArray[np.integer], step_index: int) -> tuple[Ints, Ints]:
        """Mass below and of each thing to code, in order: the symbols of a wave, and then how far
        those lie that took an escape.
        """
        check_symbols(symbols, symbol_limits(self.stream_steps(step_index, len(symbols))))
        if symbols.size == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        predicted = self.predict(symbols, step_index)
        order, wave_ends = coding_order(*symbols.shape)
        away = (symbols.astype(np.int64) - predicted.nearest).ravel()[order]
        scale, phase = predicted.scale.ravel()[order], predicted.phase.ravel()[order]
        column = np.clip(away, -WINDOW - 1, WINDOW + 1) + WINDOW + 2
        below, size = (x[scale, phase, column] for x in (self._below, self.frequencies))
        escapes = np.flatnonzero(np.abs(away) > WINDOW)
        escape_size = 1 << (FREQUENCY_BITS - ESCAPE_BITS)
        # One more than the distance from the escape's own symbol, so that something lies below.
        further = (np.abs(away[escapes]) - WINDOW) * escape_size
        after = wave_ends[escapes]
        return np.insert(below, after, further), np.insert(size, after, escape_size)


def _decode_away(decoder: stream.queue.RangeDecoder, rows: NDArray[np.float64]) -> Ints | None:
    """How far the symbols of a wave lie from the predicted ones; None if no encoder wrote that."""
    try:
        away = decoder.decode(_ROW, rows) - (WINDOW + 2)
        for i in np.flatnonzero(np.abs(away) > WINDOW):  # they took an escape
            further = int(decoder.decode(_ESCAPE)) - 1
            if further < 0 or abs(away[i]) > WINDOW + 1:  # which is never coded
                return None
            away[i] += further if away[i] > 0 else -further
    except AssertionError:  # constriction's way of saying "no such bytes"
        return None
    return away
