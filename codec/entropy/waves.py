"""In which order a block's symbols are coded, and which earlier ones each of them sees.

A block of symbols (streams, latent_dim, frames) is taken as ``lanes = streams * latent_dim`` rows;
a stream is one coded channel (left, right, mid, side). The symbol of lane ``l`` and frame ``t``
belongs to wave ``t + l``. The symbols of a wave are coded together, in order of their lanes:

    lane 0   0 1 2 3 4 ...        Each symbol may use all of earlier waves. Channel d of stream s
    lane 1     1 2 3 4 5 ...      sees, at frame t,
    lane 2       2 3 4 5 6 ...      its own stream   frame t, channels < d;  frame t - 1, channels
    lane 3         3 4 5 6 7 ...      <= d;  frame t - 2, channels <= d + 1;  itself to t - 8
    frame    0 1 2 3 4              stream s - 1     frame t, all channels

What lies before a block's first frame counts as zero, so blocks are independent.

With more than ``ALL_CHANNELS`` latent channels "channels" means those up to ``SPAN`` away from the
symbol's own, and their magnitudes are given as well: neighbours along frequency, as MDCT
coefficients are (codec/network/mdct.py), share a magnitude and not a sign.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""float64 arrays that hold integers, so that products and sums are exact."""
Ints = NDArray[np.int64]

HISTORY = 8
"""Frames of its own lane that a symbol sees."""

EXTRAS = 11
"""Inputs beside the four frames; see ``Waves._inputs``."""

ALL_CHANNELS = 64
"""Latent channels of a model up to which a symbol sees all of them."""
SPAN = 8


def seen_channels(latent_dim: int) -> int:
    """How many channels a symbol sees of each of the four frames."""
    return latent_dim if latent_dim <= ALL_CHANNELS else 2 * SPAN + 1


def input_count(latent_dim: int) -> int:
    """Inputs of the network that predicts a symbol."""
    kinds = 1 if latent_dim <= ALL_CHANNELS else 2  # values, and magnitudes
    return kinds * 4 * seen_channels(latent_dim) + EXTRAS


class Waves:
    """What is known of some blocks of one shape, and the neighbourhoods of their symbols.

    The blocks have nothing to do with each other; several at once only save time.
    """

    def __init__(
        self, blocks: int, shape: tuple[int, int, int], log2_step: Floats, one: int
    ) -> None:
        """``shape`` is (streams, latent_dim, frames). ``log2_step`` (lanes,) goes to the
        network as it is, and ``one`` stands for 1.0.
        """
        self.streams, self.latent_dim, self.frames = shape
        self.blocks, self.lanes = blocks, self.streams * self.latent_dim
        self.count = self.frames + self.lanes - 1 if self.frames and self.lanes else 0
        self.rows = np.arange(self.lanes)
        self._seen = seen_channels(self.latent_dim)
        self._margin = SPAN if self._seen < self.latent_dim else 0
        # One more stream of zeros in front, and zeros where nobody may see anything: before and
        # after the frames, since lanes of a stream are up to latent_dim of them ahead of and
        # behind each other, and beside the channels.
        self._start = HISTORY + self.latent_dim
        width = self.latent_dim + 2 * self._margin
        length = self._start + self.frames + self.latent_dim
        self._known = np.zeros((self.streams + 1, blocks, length, width))
        self._totals = np.zeros((self.streams + 1, blocks, length, 1))  # of magnitudes, in waves
        self._visible, self._ones = _visible(self.latent_dim), np.ones(self._seen)
        self._constant = np.zeros((self.latent_dim, self.streams, 1, 2))
        self._constant[:, 1:, :, 0] = one
        self._constant[:, :, 0, 1] = log2_step.reshape(self.streams, self.latent_dim).T

    def members(self, wave: int) -> slice:
        """The lanes of a wave; lane ``l`` is at frame ``wave - l``."""
        return slice(max(0, wave - self.frames + 1), min(self.lanes, wave + 1))

    def store(self, values: Floats) -> None:
        """Make the first block known, (lanes, frames)."""
        by_frame = values.reshape(self.streams, self.latent_dim, self.frames).swapaxes(1, 2)
        frames = slice(self._start, self._start + self.frames)
        channels = slice(self._margin, self._margin + self.latent_dim)
        self._known[1:, 0, frames, channels] = by_frame

    def store_wave(self, wave: int, values: Floats) -> None:
        """Make the values of a wave's members known, (members, blocks)."""
        lanes = self.rows[self.members(wave)]
        stream, channel = np.divmod(lanes, self.latent_dim)
        row = self._start + wave - lanes
        self._known[stream + 1, :, row, self._margin + channel] = values
        self._totals[stream + 1, :, row, 0] += np.abs(values)

    def inputs(self, first: int, last: int) -> Floats:
        """The inputs of the first block's frames: (latent_dim, streams, last - first, inputs)"""
        channels, streams = slice(0, self.latent_dim), slice(0, self.streams)
        return self._inputs(channels, streams, last - first, self._start + first, 0)

    def asked(self, lanes: slice) -> slice:
        """The lanes themselves where they are of one stream, or all lanes of their streams."""
        dim = self.latent_dim
        if lanes.start // dim == (lanes.stop - 1) // dim:
            return lanes
        return slice(lanes.start // dim * dim, -(-lanes.stop // dim) * dim)

    def wave_inputs(self, wave: int) -> Floats:
        """The inputs at a wave of the lanes that are ``asked`` for its members.

        Shape: (channels, streams, blocks, inputs)
        """
        lanes, dim = self.asked(self.members(wave)), self.latent_dim
        streams = slice(lanes.start // dim, -(-lanes.stop // dim))
        channels = slice(lanes.start % dim, (lanes.stop - 1) % dim + 1)
        row = self._start + wave - lanes.start
        return self._inputs(channels, streams, self.blocks, row, -1)

    def _inputs(
        self, channels: slice, streams: slice, count: int, row: int, row_step: int
    ) -> Floats:
        """Four frames of values as they are, then: lags 3 and 4 of the lane itself, its magnitude
        at lags 1 and 2, its mean magnitude over eight lags, the mean magnitude of each of the four
        frames, their magnitudes if there are more than ALL_CHANNELS, whether there is a stream
        before this one, and log2 of the step.

        The first lane is at a row of what is known, each further one ``row_step`` rows on.
        ``count`` are blocks, or without a step of rows frames of the first block.
        """
        seen, four = self._seen, 4 * self._seen
        shape = (channels.stop - channels.start, streams.stop - streams.start, count)

        def view(
            array: Floats, stream: int, row: int, first: int, rows: int, width: int, moves: bool
        ) -> Floats:
            """What every lane knows from a place on, row by row back in time; the place may move
            with the lane's channel."""
            of_stream, of_block, of_row, of_channel = array.strides
            per_lane = of_channel if moves else 0
            start = stream * of_stream + row * of_row + first * of_channel
            return np.ndarray(
                (*shape, rows, width),
                buffer=array,
                offset=start + channels.start * per_lane,
                strides=(
                    row_step * of_row + per_lane,
                    of_stream + row_step * self.latent_dim * of_row,
                    of_block if row_step else of_row,
                    -of_row,
                    of_channel,
                ),
            )

        out = np.empty((*shape, input_count(self.latent_dim)))
        out[..., -2:] = self._constant[channels, streams]
        frames = out[..., :four].reshape(*shape, 4, seen)
        own, before, moves = streams.start + 1, streams.start, self._margin > 0
        frames[..., :3, :] = view(self._known, own, row, 0, 3, seen, moves)
        frames[..., 3, :] = view(self._known, before, row, 0, 1, seen, moves)[..., 0, :]
        if not row_step:  # in a wave, what a lane must not see is not known yet
            frames[..., :3, :] *= self._visible
        history = view(self._known, own, row - 1, self._margin, HISTORY, 1, True)[..., 0]
        out[..., four : four + 2] = history[..., 2:4]
        history = np.abs(history)
        out[..., four + 2 : four + 4] = history[..., :2]
        out[..., four + 4] = history.sum(-1) / HISTORY
        if row_step and not self._margin:
            totals = out[..., four + 5 : four + 9]
            totals[..., :3] = view(self._totals, own, row, 0, 3, 1, False)[..., 0]
            totals[..., 3:] = view(self._totals, before, row, 0, 1, 1, False)[..., 0]
            totals /= seen
        else:
            magnitudes = np.abs(frames)
            out[..., four + 5 : four + 9] = magnitudes @ self._ones / seen
            if self._margin:
                out[..., four + 9 : -2] = magnitudes.reshape(*shape, four)
        means = out[..., four + 4 : four + 9]
        np.floor(means, out=means)
        return out


def coding_order(streams: int, latent_dim: int, frames: int) -> tuple[Ints, Ints]:
    """How a block's symbols are put in order.

    Indices into the flattened (streams, latent_dim, frames), in the order of coding; and for each
    place in that order the place after the last symbol of the same wave.
    """
    lanes = streams * latent_dim
    lane, frame = np.divmod(np.arange(lanes * frames), max(1, frames))
    wave = lane + frame
    order = np.lexsort((lane, wave))
    return order, np.cumsum(np.bincount(wave))[wave[order]]


@lru_cache(maxsize=4)
def _visible(latent_dim: int) -> Floats:
    """Which channels of its own stream's frame, and of the two before it, a lane sees; those of
    other lanes only if they were coded before: (latent_dim, 1, 1, 3, seen_channels)
    """
    width = seen_channels(latent_dim)
    own = np.arange(latent_dim)[:, None, None]
    channels = np.arange(width) + (0 if width == latent_dim else own - SPAN)
    return (channels < own + np.arange(3)[:, None])[:, None, None].astype(np.float64)
