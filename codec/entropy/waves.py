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
        streams, latent_dim, frames = shape
        self.lanes = streams * latent_dim
        self.latent_dim = latent_dim
        self.frames = frames
        self.count = frames + self.lanes - 1 if frames and self.lanes else 0
        self._index, self._length = _neighbours(streams, latent_dim, frames)
        # One more stream of zeros in front: what nobody may see is looked up there.
        self._known = np.zeros((blocks, (streams + 1) * latent_dim, self._length))
        self._flat = self._known.reshape(blocks, -1)
        self.rows = np.arange(self.lanes)
        self._start = HISTORY + latent_dim
        self._places = (self.rows + latent_dim) * self._length + self._start - self.rows
        self._constant = np.zeros((self.lanes, 1, input_count(latent_dim)))
        self._constant[latent_dim:, 0, -2] = one
        self._constant[..., -1] = log2_step[:, None]

    def members(self, wave: int) -> slice:
        """The lanes of a wave; lane ``l`` is at frame ``wave - l``."""
        return slice(max(0, wave - self.frames + 1), min(self.lanes, wave + 1))

    def store(self, values: Floats) -> None:
        """Make the first block known, (lanes, frames)."""
        frames = slice(self._start, self._start + self.frames)
        self._known[0, self.latent_dim :, frames] = values

    def store_wave(self, wave: int, values: Floats) -> None:
        """Make the values of a wave's members known, (members, blocks)."""
        self._flat[:, self._places[self.members(wave)] + wave] = values.T

    def inputs(self, first: int, last: int) -> Floats:
        """The inputs of the first block's frames, (lanes, last - first, input_count)."""
        waves = np.arange(first, last)[:, None] + self.rows[:, None, None]
        return self._inputs(self._flat[0, self._index[:, None] + waves])

    def streams_of(self, lanes: slice) -> slice:
        """All lanes of the streams that some are in."""
        dim = self.latent_dim
        return slice(lanes.start // dim * dim, -(-lanes.stop // dim) * dim)

    def wave_inputs(self, wave: int) -> Floats:
        """The inputs at a wave of all lanes of its members' streams, members or not.

        Shape: (lanes, blocks, input_count)
        """
        lanes = self.streams_of(self.members(wave))
        return self._inputs(self._flat[:, self._index[lanes] + wave].swapaxes(0, 1), lanes)

    def _inputs(self, neighbours: Floats, lanes: slice = slice(None)) -> Floats:
        """Four frames of values as they are, then: lags 3 and 4 of the lane itself, its magnitude
        at lags 1 and 2, its mean magnitude over eight lags, the mean magnitude of each of the four
        frames, their magnitudes if there are more than ALL_CHANNELS, whether there is a stream
        before this one, and log2 of the step.
        """
        channels = seen_channels(self.latent_dim)
        four = 4 * channels
        out = np.empty((*neighbours.shape[:2], self._constant.shape[-1]))
        out[:] = self._constant[lanes]
        out[..., :four] = neighbours[..., :four]
        out[..., four : four + 2] = neighbours[..., four + 2 : four + 4]
        np.abs(neighbours, out=neighbours)
        out[..., four + 2 : four + 4] = neighbours[..., four : four + 2]
        out[..., four + 4] = neighbours[..., four:].sum(-1) / HISTORY
        frames = neighbours[..., :four].reshape(*neighbours.shape[:2], 4, -1)
        out[..., four + 5 : four + 9] = frames.sum(-1) / channels
        if self.latent_dim > ALL_CHANNELS:
            out[..., four + 9 : -2] = neighbours[..., :four]
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
def _neighbours(streams: int, latent_dim: int, frames: int) -> tuple[Ints, int]:
    """Places of what each lane sees at wave 0, (lanes, 4 * seen_channels + 8), and a row's length.

    The places at wave ``w`` are ``w`` further, for a lane and all that it sees move together.
    """
    lanes = streams * latent_dim
    # Lanes of one stream are up to latent_dim frames ahead of and behind each other.
    length = HISTORY + latent_dim + frames + latent_dim
    width = seen_channels(latent_dim)
    index = np.empty((lanes, 4 * width + HISTORY), np.int64)
    for lane in range(lanes):
        stream, channel = divmod(lane, latent_dim)
        place = HISTORY + latent_dim - lane
        channels = np.arange(width) + (0 if width == latent_dim else channel - SPAN)
        exists = (channels >= 0) & (channels < latent_dim)

        def row(
            stream: int,
            lag: int,
            last: int,
            place: int = place,
            channels: Ints = channels,
            exists: NDArray[np.bool_] = exists,
        ) -> Ints:
            """A frame of a stream, up to channel ``last``; zeros beyond. Row 0 is all zeros."""
            visible = exists & (channels <= last)
            rows = np.where(visible, (stream + 1) * latent_dim + channels, 0)
            return rows * length + place - lag

        index[lane] = np.concatenate(
            [
                row(stream, 0, channel - 1),
                row(stream, 1, channel),
                row(stream, 2, channel + 1),
                row(stream - 1, 0, latent_dim),
                (latent_dim + lane) * length + place - np.arange(1, HISTORY + 1),
            ]
        )
    return index, length
