"""Resampling whose result does not depend on where it starts.

soxr carries a state through a stream: its sums run in another order, and end in other bits, when
it starts elsewhere. So a signal is cut on a fixed grid into pieces, and each piece is resampled
by a soxr of its own that starts a margin earlier, longer than the filter reaches back:

    input      |======= piece 0 =======|======= piece 1 =======|== piece 2 ==...
    soxr 0     [------ piece 0 ---------->
    soxr 1                      [margin|------ piece 1 ---------->
    soxr 2                                              [margin|-- piece 2 --...

What soxr gives out for the margin is dropped; it reads on beyond the end of its piece until it has
given out all of it. Pieces and margins begin on instants that both rates have in common. soxr is
fed in units of one size, because how much it gets at once can change its bits as well.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import soxr

from codec.audio.waveform import FloatArray, Waveform, check_floating, checked_rate
from codec.errors import AudioError

# VHQ rather than HQ: measured, 48 kHz -> 44.1 kHz -> 48 kHz returns a 5 kHz tone at 153 dB SNR
# against 130 dB (24 bits are 144 dB) for a quarter more time, 8 ms per second of stereo.
_QUALITY = "VHQ"

# In samples at the lower rate. Measured for ratios from 44101:44100 to 100:1 on white noise: with
# 150 samples before it, what soxr gives out is within 6e-8 of what it gives with all of them.
_MARGIN = 200
_PIECE = 65_536  # 1.5 s at 44.1 kHz: long beside what a soxr costs (3 ms), short to start over

_UNIT = 4_096  # samples at the higher rate; more where the rates meet less often


def resampled_length(samples: int, from_rate: int, to_rate: int) -> int:
    """Samples after resampling: ceil(samples * to_rate / from_rate).

    Rounding up means that resampling there and back never loses the end of a recording.
    """
    return -(-samples * to_rate // from_rate)


def input_start(first: int, from_rate: int, to_rate: int) -> int:
    """The input sample from which ``resampled`` can give out sample ``first`` and those after it.

    Raises:
        AudioError: a rate that is not positive.
    """
    _check_rates(from_rate, to_rate)
    if from_rate == to_rate:
        return first
    grid = _Grid.of(from_rate, to_rate)
    return grid.begin(first // grid.piece_out) * grid.unit_in


def resampled(
    chunks: Iterable[FloatArray], from_rate: int, to_rate: int, channels: int, first: int = 0
) -> Iterator[FloatArray]:
    """A stream of (channels, any length) chunks at another sample rate, in constant memory.

    Sample n of the output lies at n / to_rate seconds, and of a signal of ``samples`` it has
    ``resampled_length(samples, from_rate, to_rate)``. Its bits do not depend on how the input was
    cut into chunks, nor on ``first``. Where the rates hardly ever meet (44100 and 44101 Hz) up to a
    second of input waits to be resampled. Equal rates pass the chunks through as they are.

    Args:
        chunks: the input, from sample ``input_start(first, from_rate, to_rate)`` on; no more of
            them are taken than the output asked for needs.
        from_rate, to_rate: Hz, as integers.
        channels: channels of every chunk.
        first: the output begins with this sample of the whole.

    Raises:
        AudioError: a rate that is not positive, or a chunk with another number of channels.
    """
    _check_rates(from_rate, to_rate)
    if from_rate == to_rate:
        yield from chunks
    else:
        yield from _in_pieces(chunks, from_rate, to_rate, channels, first)


def resample(waveform: Waveform, from_rate: int, to_rate: int) -> Waveform:
    """Resample a numpy array or torch tensor (..., time); same type, dtype and device.

    The same bits as ``resampled`` gives, hence computed in float32 on the CPU, and not
    differentiable. The length is ``resampled_length(time, from_rate, to_rate)``.

    Raises:
        AudioError: not floating point, a tensor that requires grad, or a rate that is no whole
            number from 1,000 to 768,000 Hz.
    """
    from_rate, to_rate = checked_rate(from_rate), checked_rate(to_rate)
    if isinstance(waveform, np.ndarray):
        check_floating(waveform.dtype, np.issubdtype(waveform.dtype, np.floating))
        _check_rates(from_rate, to_rate)
        *others, samples = waveform.shape
        rows = waveform.reshape(math.prod(others), samples)
        length = resampled_length(samples, from_rate, to_rate)
        out = np.empty((len(rows), length), waveform.dtype)
        at = 0
        for part in resampled([rows], from_rate, to_rate, len(rows)) if rows.size else ():
            out[:, at : at + part.shape[1]] = part
            at += part.shape[1]
        return out.reshape(*others, length)
    import torch

    check_floating(waveform.dtype, waveform.is_floating_point())
    if waveform.requires_grad:
        raise AudioError(
            "resample is not differentiable, and this tensor requires grad; "
            "resample the data beforehand, or call waveform.detach()"
        )
    array = waveform.to("cpu", torch.float32).numpy()
    return torch.from_numpy(resample(array, from_rate, to_rate)).to(waveform)


def _check_rates(from_rate: int, to_rate: int) -> None:
    if from_rate <= 0 or to_rate <= 0:
        raise AudioError(
            f"cannot resample from {from_rate} Hz to {to_rate} Hz; expected positive rates"
        )


@dataclass(frozen=True)
class _Grid:
    """Where the pieces lie. A unit begins and ends on instants that both rates have in common."""

    unit_in: int
    """Input samples of a unit."""
    unit_out: int
    """Output samples of a unit."""
    piece: int
    """Units of a piece."""
    margin: int
    """Units before a piece that its soxr starts with."""

    @classmethod
    def of(cls, from_rate: int, to_rate: int) -> _Grid:
        common = math.gcd(from_rate, to_rate)
        step_in, step_out = from_rate // common, to_rate // common
        steps = max(1, _UNIT // max(step_in, step_out))
        unit_at_lower = steps * min(step_in, step_out)
        margin = -(-_MARGIN // unit_at_lower)
        piece = max(4 * margin, -(-_PIECE // unit_at_lower))
        return cls(steps * step_in, steps * step_out, piece, margin)

    @property
    def piece_out(self) -> int:
        """Output samples of a piece."""
        return self.piece * self.unit_out

    def begin(self, number: int) -> int:
        """The first unit that the soxr of a piece gets."""
        return max(0, number * self.piece - self.margin)


class _Piece:
    """A soxr that resamples one piece.

    Args:
        stream: fresh.
        dropped: samples that it gives out before those that are wanted.
        wanted: how many are wanted.
    """

    def __init__(self, stream: soxr.ResampleStream, dropped: int, wanted: int) -> None:
        self._stream = stream
        self._dropped = dropped
        self._wanted = wanted
        self._ready: list[FloatArray] = []

    def feed(self, unit: FloatArray, last: bool) -> None:
        """Take the next unit, (n, channels); after the last one everything comes out."""
        out = self._stream.resample_chunk(unit, last=last)
        kept = out[self._dropped :][: self._wanted]
        self._dropped = max(0, self._dropped - len(out))
        self._wanted -= len(kept)
        self._ready.append(kept.T)

    def take(self) -> tuple[list[FloatArray], bool]:
        """What came out since the last call, and whether that was all of it."""
        ready, self._ready = self._ready, []
        return ready, self._wanted == 0


def _in_pieces(
    chunks: Iterable[FloatArray], from_rate: int, to_rate: int, channels: int, first: int
) -> Iterator[FloatArray]:
    grid = _Grid.of(from_rate, to_rate)
    number = first // grid.piece_out  # of the piece to start next
    at = grid.begin(number)  # units
    samples_in, samples_out = at * grid.unit_in, first
    pieces: deque[_Piece] = deque()
    for unit, real, last in _units(chunks, grid.unit_in, channels):
        if at == grid.begin(number):
            begin = number * grid.piece_out
            stream = soxr.ResampleStream(from_rate, to_rate, channels, quality=_QUALITY)
            skipped = max(0, first - begin)
            margin = begin - at * grid.unit_out
            pieces.append(_Piece(stream, margin + skipped, grid.piece_out - skipped))
            number += 1
        at += 1
        samples_in += real
        for piece in pieces:
            piece.feed(unit, last)
        # Of the silence that fills up the last unit nothing is given out; soxr lags behind, so
        # nothing has been given out before that lies beyond the end.
        end = resampled_length(samples_in, from_rate, to_rate) if last else math.inf
        complete = True
        while complete and pieces:
            ready, complete = pieces[0].take()
            for out in ready:
                kept = out[:, : int(min(out.shape[1], max(0, end - samples_out)))]
                samples_out += kept.shape[1]
                if kept.shape[1]:
                    yield kept
            if complete:
                pieces.popleft()


def _units(
    chunks: Iterable[FloatArray], size: int, channels: int
) -> Iterator[tuple[FloatArray, int, bool]]:
    """Chunks (channels, any length) cut anew: arrays (size, channels) for soxr.

    With each the number of its samples that are real, and whether it is the last. Silence fills
    the last one up; it may be nothing but silence.
    """
    waiting = np.zeros((channels, 0), np.float32)
    for chunk in chunks:
        if chunk.ndim != 2 or chunk.shape[0] != channels:
            raise AudioError(f"got a chunk of shape {chunk.shape}, expected ({channels}, time)")
        waiting = np.concatenate([waiting, chunk], axis=1, dtype=np.float32)
        whole = waiting.shape[1] // size * size
        for begin in range(0, whole, size):
            yield np.ascontiguousarray(waiting[:, begin : begin + size].T), size, False
        waiting = waiting[:, whole:].copy()
    real = waiting.shape[1]
    yield np.pad(waiting.T, ((0, size - real), (0, 0))), real, True
