"""Sinusoids that go on in phase, from the peaks of a map.

Peaks of neighboring frames are joined to tracks (McAulay and Quatieri 1986, "Speech analysis /
synthesis based on a sinusoidal representation", section III), whose frequency runs straight from
frame to frame and whose phase is its integral. The tracks are written into a short-time Fourier
transform directly, each as the main lobe of its window (Rodet and Depalle 1992, "Spectral
envelopes and inverse FFT synthesis"), which costs a tenth of a bank of oscillators.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.network.views import mean_of_neighbors

TURN = 2 * math.pi

WINDOW, HOP = 2048, 512
"""Samples: the short-time Fourier transform that sinusoids are written into, Hann."""

SURROUNDINGS = 21
"""Bins that a peak is compared with."""

LEAST_PROMINENCE = 0.7
"""Natural log of the power that a peak has over the mean of its surroundings."""

LOUDNESS_SHARE = 0.15
"""What log power counts beside prominence where there are more peaks than tracks."""

NEAR_HZ, NEAR_SHARE = 12.0, 0.03
"""A track goes on in a peak that is within so many Hz, or this share of its frequency."""

LOBE = 8
"""Bins of a main lobe and its neighborhood that are written; the rest is 50 dB down."""

ON_A_BIN = 2e-4
"""A sinusoid is written as if it were at least so far from a bin's middle."""

EASE = 24
"""Frames over which a track's phase is led to where it has to be at an anchor."""


@dataclass(frozen=True)
class Peaks:
    """Each (batch, frames, count), by rising frequency; amplitude is 0 where there is none."""

    frequency: Tensor
    """Hz"""
    amplitude: Tensor


def find_peaks(
    log_power: Tensor, offset: Tensor, window: int, sample_rate: int, count: int
) -> Peaks:
    """The most prominent local maxima of a map.

    Args:
        log_power: (batch, frames, bins), of bins 1, 2, ... of a Hann window, over that of white
            noise of unit variance.
        offset: of the same shape: where the partial is, in bins from the bin's middle.
    """
    edge = SURROUNDINGS // 2
    padded = F.pad(log_power, (edge, edge), mode="replicate")
    prominence = log_power - mean_of_neighbors(padded, SURROUNDINGS)[..., edge:-edge]
    around = F.max_pool1d(log_power.flatten(0, 1), 5, stride=1, padding=2).view(log_power.shape)
    higher_than_next = log_power > F.pad(log_power[..., 1:], (0, 1), value=-1e9)
    highest = (log_power == around) & higher_than_next  # the last one of equals
    score = prominence + LOUDNESS_SHARE * log_power
    score = score.masked_fill(~(highest & (prominence > LEAST_PROMINENCE)), -1e9)
    best, bins = score.topk(count, dim=-1)
    exists = best > -1e8
    place = offset.gather(-1, bins).clamp(-0.7, 0.7)
    frequency = (bins + 1 + place) * (sample_rate / window)
    # A sinusoid of amplitude a has the power a^2 window / 6 at the top of its lobe.
    top = (log_power.gather(-1, bins) / 2).exp() / _hann_lobe(place)
    amplitude = top * math.sqrt(6 / window) * exists
    frequency = frequency.masked_fill(~exists, 0.0)
    frequency, order = frequency.sort(dim=-1)
    return Peaks(frequency, amplitude.gather(-1, order))


def _hann_lobe(distance: Tensor) -> Tensor:
    """A Hann window's transform, 1 in the middle; ``distance`` in bins."""
    other = 1 - distance * distance
    near = other.abs() < 1e-3
    return torch.where(near, 0.5, torch.special.sinc(distance) / other.masked_fill(near, 1.0))


@dataclass(frozen=True)
class Tracks:
    """Sinusoids in the middle of every hop of HOP samples, each (batch, hops, count)."""

    frequency: Tensor
    """Hz"""
    amplitude: Tensor
    phase: Tensor
    """Radians"""


def follow(
    peaks: Peaks, hop: int, sample_rate: int, births: Tensor, first_frame: int, anchor_every: int
) -> Tracks:
    """Join peaks to tracks.

    Args:
        peaks: in the middles of hops of ``hop`` samples, a multiple of HOP.
        births: (batch, frames, count) from 0 to 1: the phase, in turns, of a track that begins.
        first_frame: where the first of these frames stands in a recording.
        anchor_every: every track has its ``births`` phase at multiples of so many frames, whatever
            went before. So two decoders of which one ends and the other begins there agree on it.
            Tracks are led there over EASE frames, by less than a Hz.
    """
    # The outermost frames go on as they are for half a frame more on both sides.
    frequency, amplitude, births = (
        torch.cat([x[:, :1], x, x[:, -1:]], dim=1)
        for x in (peaks.frequency, peaks.amplitude, births)
    )
    previous, continues = _joined(frequency, amplitude)
    before = torch.where(continues, frequency[:, :-1].gather(-1, previous), frequency[:, 1:])
    cycle = hop / sample_rate
    advance = _nearest_turn(cycle * (before + frequency[:, 1:]) / 2)
    place = torch.arange(births.shape[1], device=births.device) + (first_frame - 1)
    phase = _phases(births, previous, continues, advance, place, anchor_every)

    # Every track between two frames, seen from its end; beginning ones fade in.
    start = torch.where(continues, amplitude[:, :-1].gather(-1, previous), 0.0)
    start_phase = torch.where(continues, phase[:, :-1].gather(-1, previous), phase[:, 1:] - advance)
    bend = _nearest_turn(phase[:, 1:] - start_phase - advance)
    # And those that end, which fade out.
    goes_on = torch.zeros_like(amplitude[:, 1:]).scatter_add(-1, previous, continues.float()) > 0
    ending = amplitude[:, :-1].masked_fill(goes_on, 0.0)

    steps = hop // HOP
    share = (torch.arange(steps, device=frequency.device) + 0.5)[:, None] / steps
    change = (frequency[:, 1:] - before)[:, :, None]
    turned = before[:, :, None] * share + change * share * share / 2
    last = frequency[:, :-1, None]
    half = slice(steps // 2, -(steps // 2))

    def beside(going: Tensor, dying: Tensor) -> Tensor:
        return torch.cat([going, dying.expand(-1, -1, steps, -1)], -1).flatten(1, 2)[:, half]

    going_phase = start_phase[:, :, None] + cycle * turned + bend[:, :, None] * share
    turns = beside(going_phase, phase[:, :-1, None] + cycle * last * share)
    return Tracks(
        beside(before[:, :, None] + change * share, last),
        beside(
            start[:, :, None] + (amplitude[:, 1:] - start)[:, :, None] * share,
            ending[:, :, None] * (1 - share),
        ),
        _nearest_turn(turns) * TURN,
    )


def _nearest_turn(turns: Tensor) -> Tensor:
    """The same phase, from -1/2 to 1/2."""
    return turns - turns.round()


def _joined(frequency: Tensor, amplitude: Tensor) -> tuple[Tensor, Tensor]:
    """For every peak after the first frame: the peak before it that it continues, and whether.

    Both (batch, frames - 1, count). Two peaks are joined if each is the other's nearest.
    """
    distance = (frequency[:, 1:, :, None] - frequency[:, :-1, None, :]).abs()
    nearest, previous = distance.min(-1)
    mutual = nearest == distance.amin(-2).gather(-1, previous)
    near = nearest < (NEAR_SHARE * frequency[:, 1:]).clamp(min=NEAR_HZ)
    exist = (amplitude[:, 1:] > 0) & (amplitude[:, :-1].gather(-1, previous) > 0)
    return previous, near & exist & mutual


def _phases(
    births: Tensor,
    previous: Tensor,
    continues: Tensor,
    advance: Tensor,
    place: Tensor,
    anchor_every: int,
) -> Tensor:
    """The phase of every peak in turns, (batch, frames, count).

    Of all frames at once, by pointer jumping (Wyllie 1979, "The complexity of parallel
    computations"): every peak points at the one that it continues, then at the one that that
    points at, and so on. The way doubles each time, up to the peak that its track began with.
    """
    batch, frames, count = births.shape
    own = torch.arange(frames * count, device=births.device).view(1, frames, count)
    last = (own[:, :-1, :1] + previous).flatten(1)
    anchors = (place % anchor_every == 0)[1:, None]
    linked = continues & ~anchors
    origin = torch.where(linked, last.view_as(linked), own[:, 1:])
    origin = torch.cat([own[:, :1].expand(batch, -1, -1), origin], dim=1).flatten(1)
    turns = F.pad(advance * linked, (0, 0, 1, 0)).flatten(1)
    for _ in range(anchor_every.bit_length()):
        turns = _nearest_turn(turns + turns.gather(1, origin))
        origin = origin.gather(1, origin)
    phase = births.flatten(1).gather(1, origin) + turns

    # What every track lacks where an anchor is next is given to it on the way there.
    lacking = _nearest_turn(births[:, 1:].flatten(1) - phase.gather(1, last) - advance.flatten(1))
    lacking = lacking * (continues & anchors).flatten(1)
    lacking = torch.zeros_like(phase).scatter_add(1, origin.gather(1, last), lacking)
    to_anchor = anchor_every - place % anchor_every
    share = (1 - to_anchor / EASE).clamp(min=0)[:, None]
    return phase.view(births.shape) + share * lacking.gather(1, origin).view(births.shape)


def write_spectrum(tracks: Tracks, sample_rate: int, bins: int) -> Tensor:
    """The lowest ``bins`` of the sinusoids' transform: complex (batch, hops, bins)."""
    batch, hops, count = tracks.frequency.shape
    if tracks.amplitude.is_meta:  # which has no values to look at
        return tracks.amplitude.new_empty(batch, hops, bins, dtype=torch.complex64)
    heard = tracks.amplitude.flatten().nonzero()[:, 0]  # four in five are not
    frequency, amplitude, phase = (
        x.flatten()[heard] for x in (tracks.frequency, tracks.amplitude, tracks.phase)
    )
    position = frequency * (WINDOW / sample_rate)
    lowest = position.floor()
    beyond = (position - lowest).clamp(ON_A_BIN, 1 - ON_A_BIN)
    # A lobe and the sign of every other bin are this sine over what the distance to a bin says.
    size = (beyond * math.pi).sin() * (1 - 2 * (lowest % 2)) * (WINDOW / 4 / math.pi)
    reach = torch.arange(1 - LOBE // 2, LOBE // 2 + 1, device=position.device)
    away = beyond[:, None] - reach
    lobe = (amplitude * size)[:, None] / (away * (1 - away * away))
    wide = bins + 2 * LOBE  # what lies outside goes beside
    bin_below = lowest.clamp(-LOBE // 2, bins + LOBE // 2 - 1).long() + LOBE
    index = ((heard // count * wide + bin_below)[:, None] + reach).flatten()
    real, imaginary = (
        lobe.new_zeros(batch * hops * wide).scatter_add(0, index, (lobe * part[:, None]).flatten())
        for part in (phase.cos(), phase.sin())
    )
    return torch.complex(real, imaginary).view(batch, hops, wide)[..., LOBE:-LOBE]
